# SPDX-License-Identifier: Apache-2.0
"""What a rig's check tells beside its verdict: spacing, overlap, exposure, confirmed depth.

Nothing here says that a rig is wrong; much of it says that views between its cameras will be.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import RawFrameSet
from igs_ros.vision.epipolar import depths
from igs_ros.vision.overlap import depth_range, seen_share
from igs_ros.vision.preparer import Preparer
from igs_ros.vision.rig_pairs import Pair, Verdict, relative
from igs_ros.vision.stereo import StereoSettings, find_depth

_STEREO = StereoSettings(pixels=160 * 120, rounds=2)  # a quick look: a share, no scene
_STEREO_WIDTH = 320  # px of the pictures that it gets
_PATCH = 5  # px, whose mean is compared at a match
_FAR = 20.0  # degrees: views between cameras farther apart are invented
_CONFIRMED_LITTLE = 0.35  # share of a picture
_GAIN = 1.25  # of exposures that differ by much
_WIDE, _NARROW = 150.0, 15.0  # degrees across a picture that few cameras have
_OFF_CENTER = 0.15  # of a side, by which few principal points are off


@dataclass(frozen=True)
class CameraFacts:
    """Of one camera; NaN where it cannot be told."""

    view_deg: float  # across its picture
    nearest: str  # the camera from which it sees things at the smallest angle; '' if none
    nearest_deg: float
    nearest_distance: float  # world units
    overlap: float  # share of its picture that some other camera sees, 0..1
    confirmed: float  # share of its picture whose stereo depth another camera confirms, 0..1
    gain: float  # brightness of the same things, relative to the mean camera


def rig_facts(images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera],
              pairs: Sequence[Pair], stereo: bool = True) -> dict[str, CameraFacts]:
    """What can be told of each camera, by name.

    Args:
        images: uint8 RGB [H, W, 3] of one instant, as the cameras took them.
        cameras: by name.
        pairs: judged.
        stereo: whether depth is looked for, too, which is most of the work.
    """
    good = [pair for pair in pairs if pair.verdict is Verdict.GOOD]
    confirmed = confirmed_shares(images, cameras) if stereo else {}
    gains, found = _gains(images, good), {}
    angles, points = _angles(good, cameras)
    for name, camera in cameras.items():
        near = _nearest(name, cameras, angles)
        found[name] = CameraFacts(
            float(2 * np.degrees(np.arctan(camera.width / 2 / camera.K[0, 0]))), *near,
            _overlap(name, cameras, points), confirmed.get(name, np.nan), gains.get(name, np.nan))
    return found


def confirmed_shares(images: Mapping[str, np.ndarray], cameras: Mapping[str, Camera]
                     ) -> dict[str, float]:
    """Share of each picture whose depth by stereo another camera confirms, 0..1, by camera."""
    preparer = Preparer(cameras, _STEREO_WIDTH)
    frame_set = preparer.prepare(RawFrameSet.of(0, images))
    maps = find_depth(frame_set.images, preparer.cameras, settings=_STEREO)
    return {name: found.confirmed_share for name, found in maps.items()}


def _angles(pairs: Sequence[Pair], cameras) -> tuple[dict[tuple[str, str], float], np.ndarray]:
    """The angle in degrees at which each pair sees things, and some of those, [P, 3] world."""
    angles, points = {}, [np.zeros((0, 3))]
    for pair in pairs:
        one, other = (cameras[name] for name in pair.names)
        chosen = pair.matches.only(pair.fitting)
        rays = one.rays(chosen.pixels)
        near, _, angle = depths(rays, other.rays(chosen.other_pixels), relative(one, other))
        angles[pair.names] = float(np.degrees(np.median(angle)))
        ahead = near > 0
        local = np.concatenate([rays, np.ones((len(rays), 1))], 1)[ahead] * near[ahead, None]
        points.append((local - one.camera_from_world[:3, 3]) @ one.camera_from_world[:3, :3])
    return angles, np.concatenate(points)


def _nearest(name: str, cameras, angles) -> tuple[str, float, float]:
    own = {next(n for n in names if n != name): angle for names, angle in angles.items()
           if name in names}
    if not own:
        return '', np.nan, np.nan
    nearest = min(own, key=lambda other: own[other])
    return nearest, own[nearest], float(np.linalg.norm(cameras[nearest].center
                                                       - cameras[name].center))


def _overlap(name: str, cameras, points: np.ndarray) -> float:
    limits = depth_range(name, cameras, points)
    if limits is None:
        return 0.0
    middle = np.array([2 / (1 / limits[0] + 1 / limits[1])])
    return max((float(seen_share(cameras[name], other, middle)[0])
                for key, other in cameras.items() if key != name), default=0.0)


def _gains(images: Mapping[str, np.ndarray], pairs: Sequence[Pair]) -> dict[str, float]:
    """Brightness of cameras relative to their mean, by least squares over the pairs' medians."""
    blurred = {name: cv2.blur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_PATCH, _PATCH))
               for name, image in images.items()}
    names = [name for name in images if any(name in pair.names for pair in pairs)]
    rows, values = [], []
    for pair in pairs:
        one, other = pair.names
        chosen = pair.matches.only(pair.fitting & (pair.matches.rows[:, 0] == 0))
        if not len(chosen) or not {one, other} <= set(images):
            continue
        levels = [blurred[name][at[:, 1].astype(int), at[:, 0].astype(int)].astype(float)
                  for name, at in ((one, chosen.pixels), (other, chosen.other_pixels))]
        usable = (np.minimum(*levels) > 8) & (np.maximum(*levels) < 247)
        if usable.sum() > 5:
            row = np.zeros(len(names))
            row[names.index(one)], row[names.index(other)] = 1, -1
            rows.append(row)
            values.append(np.median(np.log(levels[0][usable] / levels[1][usable])))
    if not rows:
        return {}
    logs = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    told = np.abs(np.array(rows)).sum(0) > 0
    return {name: float(np.exp(value)) for name, value, known in zip(names, logs, told,
                                                                     strict=True) if known}


def remarks(facts: Mapping[str, CameraFacts], cameras: Mapping[str, Camera]) -> list[str]:
    """What is unusual, or will show in the scene, in words."""
    lines = []
    for name, camera in cameras.items():
        fact = facts[name]
        off = np.abs(camera.K[:2, 2] / (camera.width, camera.height) - 0.5).max()
        if not _NARROW <= fact.view_deg <= _WIDE:
            lines.append(f'{name}: sees {fact.view_deg:.0f} degrees across by its focal length, '
                         'which few cameras do: is K of these pictures?')
        if off > _OFF_CENTER:
            lines.append(f'{name}: its principal point is {100 * off:.0f} % of a side off the '
                         'middle: is K of these pictures, or are they cut out of larger ones?')
        twin = next((other for other in cameras if other > name and camera.is_at(
            cameras[other].camera_from_world)), None)
        if twin:
            lines.append(f'{name} and {twin} have the same pose')
        if fact.gain == fact.gain and not 1 / _GAIN <= fact.gain <= _GAIN:
            lines.append(f'{name}: shows the same things {fact.gain:.2f} times as bright as the '
                         'mean camera')
    far = [name for name, fact in facts.items() if fact.nearest_deg > _FAR]
    if far:
        lines.append(f'{", ".join(far)}: {_FAR:.0f} degrees and more from the nearest camera: '
                     'views in between will be poor')
    little = [name for name, fact in facts.items() if fact.confirmed < _CONFIRMED_LITTLE]
    if little:
        lines.append(f'{", ".join(little)}: less than {100 * _CONFIRMED_LITTLE:.0f} % of the '
                     'picture has a depth that another camera confirms: views away from the '
                     'cameras will be wrong there')
    return lines
