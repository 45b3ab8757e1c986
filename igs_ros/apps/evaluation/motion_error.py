# SPDX-License-Identifier: Apache-2.0
"""How well a scene moves in 3-D, against the true motion of the surfaces that a camera sees."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.core.snapshot import Snapshot
from igs_ros.io.recordings.motion_truth import MotionTruth, motion_files, read_motion
from igs_ros.render.rasterizer import Rasterizer

_OPAQUE = 0.5  # least alpha at which the scene has a surface


@dataclass(frozen=True)
class MotionError:
    """Errors of the displacements of moving surface points; None where there are no points."""

    points: int
    median_m: float | None = None
    p90_m: float | None = None


class MotionScorer:
    """Errors of motion in a run, wherever its recording has the truth and one key lasts.

    Args:
        data: folder of the recording.
        cameras: working cameras by name; those count whose pictures have the size of the truth.
        rasterizer: draws the motion.
    """

    def __init__(self, data: Path, cameras: Mapping[str, Camera], rasterizer: Rasterizer):
        self._files = motion_files(data)
        self._cameras = dict(cameras)
        self._rasterizer = rasterizer
        self._before: tuple[int, Snapshot] | None = None
        self._errors: list[np.ndarray] = []

    def add(self, index: int, snapshot: Snapshot) -> None:
        """Frame `index` shows `snapshot`.

        Raises:
            InputError: the truth cannot be read.
        """
        before, self._before = self._before, (index, snapshot)
        if before is None or before[0] != index - 1 or index - 1 not in self._files:
            return
        then = before[1]
        if (then.scene_id, then.key_sequence) != (snapshot.scene_id, snapshot.key_sequence):
            return  # a new key has other rows
        for path in self._files[index - 1]:
            truth = read_motion(path)
            camera = self._cameras.get(truth.camera)
            if camera is not None and (camera.height, camera.width) == truth.moving.shape:
                self._errors.append(displacement_errors(self._rasterizer, then.scene,
                                                        snapshot.scene, camera, truth))

    def summary(self) -> MotionError:
        """Of all frames so far."""
        return summarized(self._errors)


def displacement_errors(rasterizer: Rasterizer, before: GaussianScene, after: GaussianScene,
                        camera: Camera, truth: MotionTruth) -> np.ndarray:
    """[M] float64 m: |rendered - true displacement| of the pixels whose surface moves.

    The displacement of a pixel is that of the Gaussians drawn there, each by its share of the
    pixel; where the scene has nothing (alpha < 0.5) it is 0.

    Args:
        rasterizer: draws the motion.
        before: the scene at `truth.frame`.
        after: the same Gaussians, row by row, at the frame behind it.
        camera: that of the truth, undistorted and of its size.
        truth: which pixels move, and where to.
    """
    expected = (camera.height, camera.width)
    assert truth.moving.shape == expected, (truth.moving.shape, expected)
    counted = truth.moving & np.isfinite(truth.motion).all(2)
    shown = rendered_motion(rasterizer, before, after, camera)
    return np.linalg.norm(shown[counted] - truth.motion[counted].astype(np.float64), axis=1)


@torch.no_grad()
def rendered_motion(rasterizer: Rasterizer, before: GaussianScene, after: GaussianScene,
                    camera: Camera) -> np.ndarray:
    """[H, W, 3] float64 m, world: displacement between two scenes of the surface that is seen.

    The Gaussians of `before` are drawn with their displacements for colors.

    Args:
        rasterizer: draws them.
        before: the scene that `camera` sees.
        after: the same Gaussians, row by row, where they are later.
        camera: without distortion.
    """
    shifts = after.means - before.means
    largest = float(shifts.abs().max()) if len(shifts) else 0.0
    if largest == 0:
        return np.zeros((camera.height, camera.width, 3))
    # colors are 0.5 + SH and not below 0: half of the largest shift to each side fits
    colored = before.replaced(sh=shifts[:, None] * (0.5 / largest / SH_C0))
    drawn = rasterizer.render(colored, camera)
    alpha = drawn.alpha.double().cpu().numpy()[..., None]
    colors = drawn.rgb.double().cpu().numpy() / np.maximum(alpha, _OPAQUE)
    return np.where(alpha < _OPAQUE, 0.0, (colors - 0.5) * (2 * largest))


def summarized(errors: list[np.ndarray]) -> MotionError:
    """Median and 90th percentile (interpolated) of all `errors` [M] m together."""
    together = np.concatenate([np.zeros(0), *errors])
    if not len(together):
        return MotionError(0)
    median, p90 = np.percentile(together, (50, 90))
    return MotionError(len(together), float(median), float(p90))
