# SPDX-License-Identifier: Apache-2.0
"""Ways to make a right rig wrong."""
from dataclasses import replace

import cv2
import numpy as np

OPENGL = np.diag([1.0, -1, -1, 1])


def turned(camera, degrees, axis):
    """A camera that looks elsewhere from where it is, by an angle about one of its axes."""
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.radians(degrees) * np.asarray(axis, float))[0]
    return camera.placed(pose @ camera.camera_from_world)


def moved(camera, way):
    """A camera that looks into the same direction from elsewhere in the world, m."""
    pose = camera.camera_from_world.copy()
    pose[:3, 3] -= pose[:3, :3] @ np.asarray(way, float)
    return camera.placed(pose)


def inverted(camera):
    """Camera-to-world where world-to-camera is expected."""
    return camera.placed(camera.world_from_camera)


def opengl(camera):
    """World-to-camera of axes that point up and back."""
    return camera.placed(OPENGL @ camera.camera_from_world)


def with_K(camera, scale=1.0, focal=1.0, shift=0.0):
    """All of K as for pictures of another size, the focal length alone, a shifted middle."""
    K = camera.K.copy()
    K[:2] *= scale
    K[[0, 1], [0, 1]] *= focal
    K[:2, 2] += shift
    return replace(camera, K=K)


def angle_between(camera, other):
    """Degrees."""
    rotation = camera.camera_from_world[:3, :3] @ other.camera_from_world[:3, :3].T
    return float(np.degrees(np.linalg.norm(cv2.Rodrigues(rotation)[0])))


def wall_pictures(cameras, texture, meters):
    """What cameras see of a wall in the plane z = 0 of the world, `meters` wide.

    Args:
        cameras: by name, without distortion.
        texture: [H, W, 3] uint8.
        meters: width of the texture; its middle is the origin.
    """
    size = texture.shape[1]
    world = np.array([[meters / size, 0, -meters / 2], [0, meters / size,
                     -meters / 2 * texture.shape[0] / size], [0, 0, 1.0]])
    pictures = {}
    for name, camera in cameras.items():
        plane = camera.camera_from_world[:3][:, [0, 1, 3]]
        homography = camera.opencv_K @ plane @ world
        pictures[name] = cv2.warpPerspective(texture, homography, (camera.width, camera.height),
                                             borderMode=cv2.BORDER_REFLECT)
    return pictures
