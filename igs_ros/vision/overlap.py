# SPDX-License-Identifier: Apache-2.0
"""Which cameras of a rig see the same things, and how far away those can be.

Nothing here knows a scene's size: every length follows from the cameras' positions or from
given points, so meters and the arbitrary units of structure from motion both work.
"""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.visibility import in_picture

_GRID = (12, 9)  # px columns and rows that stand for a picture
_MIN_POINTS = 20  # fewer points in a picture say nothing about its depth range
_MIN_OVERLAP = 0.2  # share of a picture that a useful neighbor sees
MIN_ANGLE, _LARGEST_ANGLE = np.radians(0.5), np.radians(60.0)  # between two rays to one point


def depth_range(name: str, cameras: Mapping[str, Camera],
                points: np.ndarray | None = None) -> tuple[float, float] | None:
    """Nearest and farthest depth (world units along the optical axis) worth searching.

    None where no other camera shares enough of the picture.

    Args:
        name: of the camera that searches.
        cameras: of the rig, by name.
        points: [P, 3] world points of the scene, or None. Where at least 20 lie in the picture,
            the range is theirs with a margin, for they may miss whole objects. Else it follows
            from the rig: from where a fifth of the picture is shared with another camera to where
            moving on changes no pixel.
    """
    camera = cameras[name]
    if points is not None and len(points):
        pixels, depth = camera.project(points)
        inside = in_picture(pixels, depth, camera)
        if inside.sum() >= _MIN_POINTS:
            near, far = np.percentile(depth[inside], [1, 99])
            return 0.6 * near, 1.5 * far
    return _range_of_rig(camera, [c for other, c in cameras.items() if other != name])


def _range_of_rig(camera: Camera, others: list[Camera]) -> tuple[float, float] | None:
    others = [other for other in others if np.any(other.center != camera.center)]
    if not others:
        return None
    baselines = [np.linalg.norm(other.center - camera.center) for other in others]
    # beyond this depth the longest baseline moves a pixel by less than one
    far = max(baselines) * camera.K[0, 0]
    depths = np.geomspace(min(baselines) / 4, far, 60)
    shared = np.max([seen_share(camera, other, depths) for other in others], axis=0)
    good = depths[shared >= _MIN_OVERLAP]
    return (float(good[0]), float(good[-1])) if len(good) > 1 else None


def source_cameras(name: str, cameras: Mapping[str, Camera], depths: tuple[float, float],
                   count: int) -> list[str]:
    """The cameras to match a camera with, by name, the nearest first.

    At some depth of the range a source sees at least a fifth of the picture, from a direction 0.5
    to 60 degrees away: less tells no depth, and beyond surfaces look too different.

    Args:
        name: of the camera to match.
        cameras: of the rig, by name.
        depths: nearest and farthest (`depth_range`), world units.
        count: of sources, at most.
    """
    camera = cameras[name]
    inverse = np.linspace(1 / depths[0], 1 / depths[1], 7)
    found = []
    for other_name, other in cameras.items():
        if other_name == name:
            continue
        angle = _ray_angles(camera, other, 1 / inverse)
        useful = (angle >= MIN_ANGLE) & (angle <= _LARGEST_ANGLE) \
            & (seen_share(camera, other, 1 / inverse) >= _MIN_OVERLAP)
        if useful.any():
            found.append((float(np.linalg.norm(other.center - camera.center)), other_name))
    return [other_name for _, other_name in sorted(found)[:count]]


def seen_share(camera: Camera, other: Camera, depths: np.ndarray) -> np.ndarray:
    """[D] share of a picture, 0..1, that another camera sees.

    Args:
        camera: whose picture it is.
        other: who sees its content.
        depths: [D] world units along the optical axis, at which the content is taken to be.
    """
    columns, rows = _GRID
    x = (np.arange(columns) + 0.5) * camera.width / columns
    y = (np.arange(rows) + 0.5) * camera.height / rows
    pixels = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    shares = []
    for depth in depths:
        seen, other_depth = other.project(camera.unproject(pixels, np.full(len(pixels), depth)))
        shares.append(np.mean(in_picture(seen, other_depth, other)))
    return np.array(shares)


def _ray_angles(camera: Camera, other: Camera, depths: np.ndarray) -> np.ndarray:
    """[D] radians between the rays of both cameras to points on the middle ray of `camera`."""
    middle = np.array([[camera.width / 2, camera.height / 2]])
    points = camera.unproject(np.repeat(middle, len(depths), 0), depths)
    a, b = points - camera.center, points - other.center
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.arccos(np.clip((a * b).sum(1) / np.maximum(lengths, 1e-300), -1, 1))
