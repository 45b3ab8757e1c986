# SPDX-License-Identifier: Apache-2.0
"""Reconstruct a recording, score each frame on the camera that is held out, keep the last scene.

    python examples/01_reconstruct.py recordings/workbench --out scene.ply

A 3DGS viewer (SuperSplat, say) opens the PLY. `igs run` does the same and much more.
"""
from pathlib import Path
from typing import Annotated

import tyro

import igs_ros

# no public names: they may change from release to release
from igs_ros.vision.metrics import psnr
from igs_ros.vision.preparer import Preparer


def main(data: Annotated[Path, tyro.conf.Positional], out: Path = Path('scene.ply'),
         frames: int = 6, width: int = 240, iterations: int = 400) -> None:
    """Reconstruct a recording and score it.

    Args:
        data: folder of the recording (docs/recordings.md).
        out: where the last scene goes.
        frames: how many to reconstruct.
        width: of the pictures, px.
        iterations: of the first scene.
    """
    recording = igs_ros.open_recording(data)
    config = igs_ros.Config.of({'width': width, 'bootstrap.iterations': iterations,
                                'key_interval': 3})
    unseen = recording.held_out[0]
    preparer = Preparer({unseen: recording.cameras[unseen]}, width)  # undistorts and resizes

    truths = recording.frame_sets(0, frames, cameras=[unseen])
    steps = igs_ros.reconstruct(recording, config, last=frames)
    for number, (step, truth) in enumerate(zip(steps, truths, strict=True)):
        scene = step.snapshot.scene
        view = igs_ros.render_scene(scene, preparer.cameras[unseen])
        score = psnr(preparer.prepare(truth).images[unseen], view.rgb)
        print(f'frame {number}: {step.kind:9} {score:.2f} dB, {len(scene)} Gaussians, '
              f'{len(step.snapshot.moved_rows)} moved')
        igs_ros.save_ply(scene, out)  # complete at any time: it takes the place of the last one
    print(f'{out}: {len(igs_ros.load_ply(out))} Gaussians')


if __name__ == '__main__':
    tyro.cli(main)
