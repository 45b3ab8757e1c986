# SPDX-License-Identifier: Apache-2.0
"""A motion model of one's own: what lies on a conveyor belt moves as its encoder says.

    python examples/05_motion_model.py

On the workbench a cube slides along the table at a known velocity, for six frames. The model
moves it, without a look at the pictures, and is compared with `static`, which moves nothing.
"""
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

import igs_ros
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.stages.motion.choose import register
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.vision.metrics import psnr

LOW, HIGH = torch.tensor([-0.25, 0.0, 0.755]), torch.tensor([-0.07, 0.2, 0.96])  # m, at first
VELOCITY = torch.tensor([1.36, 0.40, 0.0])  # m/s


class BeltFollower:
    """Moves one key scene: what lay in the box when the first pictures were taken."""

    def __init__(self, scene: GaussianScene, frame_set: FrameSet) -> None:
        self.scene, self.frame_set = scene, frame_set
        shift = VELOCITY * frame_set.stamp_ns * 1e-9  # stamps of a recording begin at 0
        inside = (scene.means > LOW + shift) & (scene.means < HIGH + shift)
        self._rows = torch.nonzero(inside.all(1)).flatten()

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to a newer frame set: the same rows, and which of them moved."""
        seconds = (frame_set.stamp_ns - self.frame_set.stamp_ns) * 1e-9
        means, velocities = self.scene.means.clone(), torch.zeros_like(self.scene.means)
        means[self._rows] += VELOCITY * seconds
        velocities[self._rows] = VELOCITY
        return Moved(self.scene.replaced(means=means, velocities=velocities),
                     self._rows.numpy().astype(np.uint32), frame_set.stamp_ns)


@dataclass(eq=False)
class BeltMotion:
    """Makes a follower of every key scene; see `igs_ros.stages.motion.models.MotionModel`."""

    name: str = 'belt'
    counts: dict[str, int] = field(default_factory=dict)

    def set_effort(self, effort: MotionEffort) -> None:
        """Nothing could be cheaper."""

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
        """Nothing to remember of the pictures."""

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> BeltFollower:
        """A follower of the key `scene`, which shows `frame_set`."""
        return BeltFollower(scene, frame_set)


def main(data: Path = Path('recordings/workbench'), width: int = 240, iterations: int = 300,
         frames: int = 6) -> None:
    """Compare the model with no motion at all, on the camera that is held out.

    Args:
        data: folder of the workbench recording.
        width: of the pictures, px.
        iterations: of the first scene.
        frames: how many to reconstruct.
    """
    register('belt', lambda cameras, rasterizer, config, threads: BeltMotion())
    recording = igs_ros.open_recording(data)
    camera = recording.cameras['cam02']
    for motion in ('static', 'belt'):
        # without keys and without adjusting, to see what the model alone does
        config = igs_ros.Config.of({
            'motion': motion, 'device': 'cpu', 'width': width, 'key_interval': 0,
            'bootstrap.iterations': iterations, 'motion_model.adjust_iterations': 0})
        *_, last = igs_ros.reconstruct(recording, config, last=frames)
        view = igs_ros.render_scene(last.snapshot.scene, camera, device='cpu')
        truth = next(recording.frame_sets(frames - 1, frames, cameras=['cam02']))
        pixels = np.zeros((camera.height, camera.width), bool)
        pixels[220:290, 150:320] = True  # the table, where the cube slides
        score = psnr(truth.pictures['cam02'].decode(), view.rgb, pixels)
        print(f'{motion}: {len(last.snapshot.moved_rows)} Gaussians moved, {score:.2f} dB')


if __name__ == '__main__':
    tyro.cli(main)
