# SPDX-License-Identifier: Apache-2.0
"""Depth of one view, as another one has it."""
import numpy as np

from igs_ros.core.jit import njit


def warm_up() -> None:
    """Have numba compile, or load, the kernel."""
    K, pose = np.eye(3), np.eye(4)
    K.flags.writeable = pose.flags.writeable = False  # as a camera has them: another kernel
    splat(np.zeros((1, 3)), K, pose, np.full((2, 2), np.inf, np.float32))


@njit(cache=True, nogil=True, error_model='numpy')
def splat(points: np.ndarray, K: np.ndarray, camera_from_world: np.ndarray, surface: np.ndarray
          ) -> None:
    """Fold points into the nearest depth of each pixel: of the four about each of them.

    Args:
        points: [P, 3] float64, world.
        K: [3, 3] float64, pixel centers at +0.5.
        camera_from_world: [4, 4] float64.
        surface: [h, w] float32, world units, inf = nothing yet; changed.
    """
    height, width = surface.shape
    for index in range(len(points)):
        x, y, z = points[index]
        depth = (camera_from_world[2, 0] * x + camera_from_world[2, 1] * y
                 + camera_from_world[2, 2] * z + camera_from_world[2, 3])
        if depth <= 0:
            continue
        u = K[0, 0] / depth * (camera_from_world[0, 0] * x + camera_from_world[0, 1] * y
                               + camera_from_world[0, 2] * z + camera_from_world[0, 3]) + K[0, 2]
        v = K[1, 1] / depth * (camera_from_world[1, 0] * x + camera_from_world[1, 1] * y
                               + camera_from_world[1, 2] * z + camera_from_world[1, 3]) + K[1, 2]
        left, top = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
        for row in range(max(top, 0), min(top + 2, height)):
            for column in range(max(left, 0), min(left + 2, width)):
                if depth < surface[row, column]:
                    surface[row, column] = depth
