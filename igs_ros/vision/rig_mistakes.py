# SPDX-License-Identifier: Apache-2.0
"""The usual mistakes in a rig file, recognized by trying them on the matches.

A mistake is named only if, with it taken back, most pairs fit that did not before.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.vision.epipolar import depths as triangulated
from igs_ros.vision.rig_pairs import Pair, Verdict, errors_of, limit_px, relative

_SAMPLE = 80  # matches of a pair that are tried
_MOST = 0.6  # of the pairs must fit then; others may be of things that are there twice
_GAIN = 3.0  # how much smaller the error of a pair has to get
_NEARLY, _FAR_GAIN = 4.0, 10.0  # limits and gain of pairs that were far off
_FRONT = 0.8  # of the matches have to lie before both cameras
_ALL_ORDERS = 5  # cameras up to which every order is tried
_HALF_FLOOR = 1.5  # of what the features allow: so well half a pixel has to fit
_LEAST_DEPTHS = 20  # matches whose depth was measured
_MIN_ANGLE = np.radians(1.0)  # between the rays of those
_SAME_SCALE = 0.06  # log10: 15 %
_UNITS = {1000.0: 'millimeters for meters', 100.0: 'centimeters for meters',
          0.001: 'kilometers for meters', 39.37: 'inches for meters', 3.281: 'feet for meters'}
_AXES = {
    'OpenGL axes (y up, z back)': np.diag([1.0, -1, -1, 1]),
    'ROS body axes (x forward, y left, z up)': np.array(
        [[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
    'LLFF axes (x down, y right, z back)': np.array(
        [[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])}
_RATIOS = (1 / 4, 1 / 3, 3 / 8, 0.4, 0.5, 9 / 16, 2 / 3, 0.75, 0.8, 5 / 6,
           1.2, 1.25, 4 / 3, 1.5, 16 / 9, 2.0, 2.5, 8 / 3, 3.0, 4.0)


@dataclass(frozen=True, eq=False)
class Mistake:
    """What is wrong, in words, and the rig without it."""

    text: str
    cameras: Mapping[str, Camera]
    who: tuple[str, ...]  # whose calibration it is about
    before_px: float
    after_px: float
    scale: float = 1.0  # of lengths, where depth cameras tell it


@dataclass(frozen=True, eq=False)
class _Trial:
    text: str
    cameras: Mapping[str, Camera]
    who: tuple[str, ...]


def named_mistake(pairs: Sequence[Pair], cameras: Mapping[str, Camera], guilty: Sequence[str]
                  ) -> Mistake | None:
    """The mistake that explains the pairs that do not fit; None if there is no such one.

    Args:
        pairs: judged.
        cameras: as given.
        guilty: those that pairs speak against; a mistake of one camera is looked for there.
    """
    samples = [_Sample.of(pair) for pair in pairs if pair.verdict is not Verdict.UNKNOWN]
    wrong = [pair for pair in pairs if pair.verdict is Verdict.WRONG]
    if wrong:
        best = _best(_trials(cameras, guilty), samples, cameras)
        if best is not None:
            return best
    return _half_pixel(samples, cameras)


def wrong_scale(pairs: Sequence[Pair], cameras: Mapping[str, Camera],
                depths: Mapping[str, np.ndarray]) -> Mistake | None:
    """Whether the rig's lengths are those of its depth pictures; None if so, or not known.

    Args:
        pairs: judged; those that fit count.
        cameras: as given.
        depths: float32 [H, W] m of the first frame, by camera.
    """
    ratios = [np.zeros(0)]
    for pair in pairs:
        for names in pair.names, pair.names[::-1]:
            if pair.verdict is Verdict.GOOD and names[0] in depths:
                ratios.append(_depth_ratios(pair, names, cameras, depths[names[0]]))
    logs = np.log10(np.concatenate(ratios))
    if len(logs) < _LEAST_DEPTHS or np.subtract(*np.percentile(logs, [75, 25])) > _SAME_SCALE:
        return None
    scale = float(10 ** np.median(logs))
    if abs(np.log10(scale)) < _SAME_SCALE:
        return None
    unit = next((name for factor, name in _UNITS.items()
                 if abs(np.log10(scale / factor)) < _SAME_SCALE), '')
    text = f'the lengths of the rig are {scale:.4g} times those of its depth pictures' \
        + (f': {unit}' if unit else '') + ' (or the scale of the depth pictures is wrong)'
    scaled = {}
    for name, camera in cameras.items():
        pose = camera.camera_from_world.copy()
        pose[:3, 3] /= scale
        scaled[name] = camera.placed(pose)
    return Mistake(text, scaled, tuple(cameras), np.nan, np.nan, scale)


def _depth_ratios(pair: Pair, names: tuple[str, ...], cameras, depth: np.ndarray) -> np.ndarray:
    """[N] depth by the rig / depth by the depth camera, of matches of the first frame."""
    first = pair.matches.rows[:, 0] == 0
    chosen = pair.matches.only(pair.fitting & first)
    pixels = {pair.names[0]: chosen.pixels, pair.names[1]: chosen.other_pixels}
    one, other = (cameras[name] for name in names)
    near, _, angle = triangulated(one.rays(pixels[names[0]]), other.rays(pixels[names[1]]),
                                  relative(one, other))
    at = pixels[names[0]].astype(int)
    measured = depth[np.clip(at[:, 1], 0, depth.shape[0] - 1),
                     np.clip(at[:, 0], 0, depth.shape[1] - 1)]
    with np.errstate(invalid='ignore'):
        good = (near > 0) & (angle > _MIN_ANGLE) & (measured > 0)
    return near[good] / measured[good]


@dataclass(frozen=True, eq=False)
class _Sample:
    """Some of the matches of a pair."""

    names: tuple[str, str]
    pixels: tuple[np.ndarray, np.ndarray]  # [N, 2] each
    floor_px: float
    good: bool

    @classmethod
    def of(cls, pair: Pair) -> _Sample:
        rows = np.flatnonzero(pair.fitting)
        rows = rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)]
        return cls(pair.names, (pair.matches.pixels[rows], pair.matches.other_pixels[rows]),
                   pair.floor_px, pair.verdict is Verdict.GOOD)

    def error(self, cameras: Mapping[str, Camera], front: bool = True) -> float:
        """Median in px; infinite where they lie behind the cameras."""
        one, other = (cameras[name] for name in self.names)
        rays = one.rays(self.pixels[0]), other.rays(self.pixels[1])
        if not np.any(one.center != other.center):
            return np.inf
        errors, back = errors_of(one, other, *rays)
        if front and back.mean() > 1 - _FRONT:
            return np.inf
        return float(np.nanmedian(errors))


def _best(trials: Iterator[_Trial], samples: list[_Sample], cameras) -> Mistake | None:
    before = np.array([sample.error(cameras) for sample in samples])
    limits = np.array([limit_px(*(cameras[name] for name in s.names)) for s in samples])
    found: list[tuple[float, float, _Trial]] = []
    for trial in trials:
        touched = np.array([any(trial.cameras[name] is not cameras[name] for name in s.names)
                            for s in samples])
        if not touched.any():
            continue
        errors = before.copy()
        for row in np.flatnonzero(touched):
            errors[row] = samples[row].error(trial.cameras)
        # a rig that was mixed up may have been a little off before
        fits = (errors <= limits) | (errors <= np.minimum(_NEARLY * limits, before / _FAR_GAIN))
        mended = touched & fits & (errors * _GAIN < before)
        lost = touched & ~fits & (before <= limits)
        if fits.mean() >= _MOST and mended.sum() > 2 * lost.sum() \
                and mended.sum() >= _MOST * (touched & (before > limits)).sum():
            found.append((float(-fits.mean().round(1)), float(np.median(errors[mended])), trial))
    if not found:
        return None
    _, after, trial = min(found, key=lambda one: one[:2])
    bad = before[before > limits]
    bad = bad[np.isfinite(bad)]
    return Mistake(trial.text, trial.cameras, trial.who,
                   float(np.median(bad)) if len(bad) else np.inf, after)


def _trials(cameras: Mapping[str, Camera], guilty: Sequence[str]) -> Iterator[_Trial]:
    everybody = tuple(cameras)
    yield from _conventions(cameras, everybody, 'the poses are')
    yield from _orders(cameras)
    yield from _focals(cameras, everybody, 'the intrinsics are')
    for name in guilty:
        yield from _conventions(cameras, (name,), f'the pose of {name} is')
        yield from _focals(cameras, (name,), f'the intrinsics of {name} are')


def _conventions(cameras, who: tuple[str, ...], subject: str) -> Iterator[_Trial]:
    inverse = 'camera-to-world, expected world-to-camera'
    yield _posed(cameras, who, f'{subject} {inverse}', np.eye(4), True)
    for axes, opencv_from_axes in _AXES.items():
        wanted = 'expected OpenCV axes (x right, y down, z forward)'
        yield _posed(cameras, who, f'{subject} for {axes}, {wanted}', opencv_from_axes, False)
        yield _posed(cameras, who, f'{subject} camera-to-world for {axes}, expected '
                     f'world-to-camera for OpenCV axes', opencv_from_axes, True)


def _posed(cameras, who, text: str, opencv_from_axes: np.ndarray, inverted: bool) -> _Trial:
    def right(camera: Camera) -> Camera:
        given = camera.world_from_camera if inverted else camera.camera_from_world
        return camera.placed(opencv_from_axes @ given)
    return _Trial(text, {name: right(camera) if name in who else camera
                         for name, camera in cameras.items()}, who)


def _orders(cameras: Mapping[str, Camera]) -> Iterator[_Trial]:
    """Pictures, or poses, that belong to other cameras."""
    names = list(cameras)
    if len(names) <= _ALL_ORDERS:
        orders = [order for order in permutations(names) if list(order) != names]
    else:
        orders = [[b if n == a else a if n == b else n for n in names]
                  for a, b in combinations(names, 2)]
    sizes = {(camera.width, camera.height) for camera in cameras.values()}
    for order in orders:
        who = tuple(n for n, other in zip(names, order, strict=True) if n != other)
        if len(who) == 2:
            what = f'{who[0]} and {who[1]} are swapped'
        else:
            what = 'the cameras are mixed up: ' + ', '.join(
                f'{n} is calibrated as {other}' for n, other in zip(names, order, strict=True)
                if n != other)
        yield _Trial(f'{what} (their poses)', {
            n: cameras[n].placed(cameras[other].camera_from_world) if n != other else cameras[n]
            for n, other in zip(names, order, strict=True)}, who)
        if len(sizes) == 1 and len({camera.K.tobytes() + camera.distortion.tobytes()
                                    for camera in cameras.values()}) > 1:
            yield _Trial(f'{what} (their pictures)', {
                n: replace(cameras[other], name=n) if n != other else cameras[n]
                for n, other in zip(names, order, strict=True)}, who)


def _focals(cameras, who: tuple[str, ...], subject: str) -> Iterator[_Trial]:
    first = cameras[who[0]]
    for ratio in _RATIOS:
        for whole in (True, False):
            scale = np.array([[ratio], [ratio], [1.0]])
            try:
                changed = {name: replace(cameras[name], K=cameras[name].K * scale if whole
                                         else _focal_times(cameras[name].K, ratio))
                           for name in who}
            except InputError:  # a principal point outside: not that one
                continue
            of = f'{first.width / ratio:.0f}x{first.height / ratio:.0f}'
            what = 'all of K' if whole else 'the focal length'
            yield _Trial(f'{subject} of another resolution: {what} is of pictures of {of} px, and '
                         f'these have {first.width}x{first.height}', {**cameras, **changed}, who)


def _focal_times(K: np.ndarray, ratio: float) -> np.ndarray:
    changed = K.copy()
    changed[[0, 1], [0, 1]] *= ratio
    return changed


def _half_pixel(samples: list[_Sample], cameras) -> Mistake | None:
    """Half a pixel shows only where the matches are better than that, by far."""
    found = []
    for who in [tuple(cameras), *((name,) for name in cameras)]:
        own = [s for s in samples if set(who) & set(s.names) and s.good]
        if not own:
            continue
        before = np.array([sample.error(cameras) for sample in own])
        for shift in (0.5, -0.5):
            try:
                changed = {name: _shifted(cameras[name], shift) for name in who}
            except InputError:
                continue
            after = np.array([sample.error({**cameras, **changed}) for sample in own])
            floor = np.array([max(sample.floor_px, 0.02) for sample in own])
            if (after < _HALF_FLOOR * floor).all() and np.median(after) * 2 < np.median(before):
                found.append((float(np.median(after)), float(np.median(before)), who, shift,
                              changed))
    if not found:
        return None
    after, before, who, shift, changed = min(found, key=lambda one: one[0])
    whose = 'all cameras' if len(who) == len(cameras) else who[0]
    text = f'the principal point of {whose} is half a pixel too ' + (
        'small: it counts from the middle of the first pixel (pixel_center 0), and 0.5 is said'
        if shift > 0 else 'large: pixel_center 0 is said where it is 0.5, or half a pixel is '
        'added twice')
    return Mistake(text, {**cameras, **changed}, who, before, after)


def _shifted(camera: Camera, shift: float) -> Camera:
    K = camera.K.copy()
    K[:2, 2] += shift
    return replace(camera, K=K)
