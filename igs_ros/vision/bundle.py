# SPDX-License-Identifier: Apache-2.0
"""Poses (and focal lengths) that fit the matches: one camera alone, or all of them together.

Bundle adjustment with the points kept by inverse depth in the camera that saw them first: so far
things stay well conditioned. The given rig holds what the matches leave open (its scale, a camera
that only one other shares a view with) by a weak prior; place and scale of the whole are then
those with which the most cameras stay where they were.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix

from igs_ros.core.camera import Camera
from igs_ros.vision.epipolar import depths, essential, sampson
from igs_ros.vision.rig_pairs import Pair, errors_of, focal, relative
from igs_ros.vision.tracks import tracks_of

_ROBUST_PX = 0.5  # from where an error counts by its size, not by its square
_PRIOR = np.array([np.radians(1.0)] * 3 + [0.03] * 3 + [0.02])
# steps that cost as much as a match that is a pixel off: turn, move / extent, log of the focal
_SAME_TURN, _SAME_MOVE = np.radians(0.05), 2e-3  # up to here a camera stays as it was
_TRACKS = 3000  # at most
_SAMPLE = 150  # matches of a pair for a quick look
_OUTLIER = 4.0  # median errors, beyond which the second pass leaves a point out
_SOON_PX = 0.25  # from where an error hardly counts any more in the second pass
_ROUNDS = 60
_LEAST_DEPTH = 0.05  # of the rig's extent, where matches under a wrong rig start nearer


@dataclass(frozen=True, eq=False)
class _Tracks:
    """Points seen by two and more cameras."""

    anchor: np.ndarray  # [T] index of the camera that each is kept in
    start: np.ndarray  # [T, 3] ray there, and inverse depth times the rig's extent
    track: np.ndarray  # [O] of each observation
    camera: np.ndarray  # [O]
    ray: np.ndarray  # [O, 2]


def extent(cameras: Mapping[str, Camera]) -> float:
    """The largest distance between two cameras, world units; 1 where all are at one place."""
    centers = np.array([camera.center for camera in cameras.values()])
    return float(np.linalg.norm(centers[:, None] - centers, axis=2).max()) or 1.0


def adjusted(pairs: Sequence[Pair], cameras: Mapping[str, Camera], fixed: str,
             focals: bool = False) -> dict[str, Camera]:
    """The cameras that fit the matches of `pairs` best; those without any stay as they are.

    Args:
        pairs: whose `fitting` matches count.
        cameras: as given; the adjustment starts there.
        fixed: the camera that stays where it is.
        focals: whether focal lengths are adjusted, too.
    """
    names = sorted({name for pair in pairs for name in pair.names}, key=list(cameras).index)
    size = extent(cameras)
    given = cameras
    if not focals:  # closer, from where the points are not behind the cameras
        cameras, _ = refitted(pairs, cameras, [name for name in names if name != fixed])
    moving = [number for number, name in enumerate(names) if name != fixed]
    width = 7 if focals else 6  # turn, move / extent, log of the focal length
    tracks = _tracks(pairs, cameras, names)
    values = np.zeros(width * len(moving))
    for robust in _robust, _redescending:
        problem = _Problem(tracks, [cameras[name] for name in names], moving, width, size, robust)
        start = np.concatenate([values, tracks.start.ravel()])
        solved = least_squares(problem.residuals, start, jac_sparsity=problem.sparsity(),
                               x_scale='jac', max_nfev=_ROUNDS, ftol=1e-6, xtol=1e-9).x
        values = solved[:values.size]
        tracks = _without_outliers(tracks, problem.errors(solved), solved[values.size:])
    found = dict(cameras)
    for number, step in zip(moving, values.reshape(-1, width), strict=True):
        found[names[number]] = _stepped(cameras[names[number]], step, size)
    return _placed_like(given, found, names, size)


def _placed_like(given: Mapping[str, Camera], found: Mapping[str, Camera], names: list[str],
                 size: float) -> dict[str, Camera]:
    """`found` where, and as large, as most cameras of `given` say: matches do not tell either.

    One camera is put exactly where it was, and the scale is that of one distance: those with
    which the fewest others move. Means would have all others pay for one that was wrong.
    """
    scales = [1.0]
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            old, new = (np.linalg.norm(rig[names[a]].center - rig[names[b]].center)
                        for rig in (given, found))
            if min(old, new) > 1e-3 * size:
                scales.append(float(old / new))
    best: tuple[float, dict[str, Camera]] = (np.inf, dict(found))
    for name in names:
        for scale in scales:
            moved = {other: _carried(found[other], found[name], given[name], scale)
                     for other in names}
            cost = sum(_change_cost(moved[other], given[other], size) for other in names)
            if cost < best[0] - 1e-9:
                best = cost, moved
    return {**found, **best[1]}


def _carried(camera: Camera, pivot: Camera, target: Camera, scale: float) -> Camera:
    """`camera`, as `pivot` is brought to `target` and all distances to it are stretched."""
    motion = relative(pivot, camera)
    motion[:3, 3] *= scale
    return camera.placed(motion @ target.camera_from_world)


def _change_cost(camera: Camera, given: Camera, size: float) -> float:
    moved = np.linalg.norm(camera.center - given.center) / (_SAME_MOVE * size)
    return float(np.log1p(moved ** 2) + np.log1p((turned(camera, given) / _SAME_TURN) ** 2))


def turned(camera: Camera, given: Camera) -> float:
    """The angle between two orientations, rad."""
    rotation = camera.camera_from_world[:3, :3] @ given.camera_from_world[:3, :3].T
    return float(np.linalg.norm(cv2.Rodrigues(rotation)[0]))


def _stepped(camera: Camera, step: np.ndarray, size: float) -> Camera:
    """A camera turned about its center, moved, and with another focal length."""
    pose = camera.camera_from_world.copy()
    pose[:3, :3] = cv2.Rodrigues(step[:3])[0] @ pose[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ (camera.center + size * step[3:6])
    if len(step) == 6:
        return camera.placed(pose)
    K = camera.K.copy()
    K[[0, 1], [0, 1]] *= np.exp(step[6])
    return replace(camera, K=K, camera_from_world=pose)


def _robust(errors: np.ndarray, scale: float) -> np.ndarray:
    """Whose squares grow as `errors` do beyond `scale`, and as their squares below."""
    ratio = errors / scale
    return np.sign(ratio) * scale * np.sqrt(2 * (np.sqrt(1 + ratio * ratio) - 1))


def _redescending(errors: np.ndarray, scale: float) -> np.ndarray:
    """Whose squares grow ever less beyond `scale`: only for those that nearly fit."""
    return np.sign(errors) * scale * np.sqrt(np.log1p((errors / scale) ** 2))


class _Problem:
    """Residuals of the adjustment."""

    def __init__(self, tracks: _Tracks, cameras: list[Camera], moving: list[int], width: int,
                 size: float, robust: Callable[[np.ndarray, float], np.ndarray]):
        self._robust, self._scale = robust, _ROBUST_PX if robust is _robust else _SOON_PX
        self._tracks, self._moving, self._width = tracks, moving, width
        self._turns = np.array([camera.camera_from_world[:3, :3] for camera in cameras])
        self._centers = np.array([camera.center for camera in cameras]) / size
        self._focals = np.array([focal(camera) for camera in cameras])

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Robust errors [2 O + prior] in px."""
        steps = values[:self._width * len(self._moving)].reshape(-1, self._width)
        return np.concatenate([self._robust(self.errors(values), self._scale).ravel(),
                               (steps / _PRIOR[:self._width]).ravel()])

    def errors(self, values: np.ndarray) -> np.ndarray:
        """[O, 2] px, of all observations."""
        tracks, width = self._tracks, self._width
        steps = values[:width * len(self._moving)].reshape(-1, width)
        points = values[steps.size:].reshape(-1, 3)
        turns, centers = self._turns.copy(), self._centers.copy()
        stretch = np.ones(len(turns))
        for number, step in zip(self._moving, steps, strict=True):
            turns[number] = cv2.Rodrigues(step[:3])[0] @ turns[number]
            centers[number] += step[3:6]
            if width == 7:
                stretch[number] = np.exp(step[6])
        anchor = tracks.anchor
        rays = np.concatenate([points[:, :2], np.ones((len(points), 1))], 1)
        world = np.einsum('tji,tj->ti', turns[anchor], rays)  # to be divided by inverse depth
        seen, owner = tracks.camera, tracks.track
        there = world[owner] + points[owner, 2:] * (centers[anchor[owner]] - centers[seen])
        local = np.einsum('oij,oj->oi', turns[seen], there)
        drawn = local[:, :2] / np.maximum(local[:, 2:], 1e-3)
        return (drawn * stretch[seen, None] - tracks.ray) * self._focals[seen, None]

    def sparsity(self) -> csr_matrix:
        """Which residual depends on what."""
        tracks, width = self._tracks, self._width
        column = np.full(len(self._turns), -1)
        column[self._moving] = width * np.arange(len(self._moving))
        first = width * len(self._moving)
        rows, columns = [], []
        observations = np.arange(len(tracks.track))
        for cameras in tracks.camera, tracks.anchor[tracks.track]:
            own = observations[column[cameras] >= 0]
            for axis in range(2):
                for part in range(width):
                    rows.append(2 * own + axis)
                    columns.append(column[cameras[own]] + part)
        for axis in range(2):
            for part in range(3):
                rows.append(2 * observations + axis)
                columns.append(first + 3 * tracks.track + part)
        prior = np.arange(first)
        rows.append(2 * len(observations) + prior)
        columns.append(prior)
        row, col = np.concatenate(rows), np.concatenate(columns)
        shape = (2 * len(observations) + first, first + 3 * len(tracks.anchor))
        return csr_matrix((np.ones(len(row), int), (row, col)), shape=shape)


def _tracks(pairs: Sequence[Pair], cameras: Mapping[str, Camera], names: list[str]) -> _Tracks:
    good = tracks_of(pairs, cameras)
    if len(good) > _TRACKS:  # evenly; half of them those of many cameras: they hold the rig
        long = [track for track in good if len(track.pixels) > 2]
        short = [track for track in good if len(track.pixels) == 2]
        half = min(len(long), max(_TRACKS // 2, _TRACKS - len(short)))
        good = _spread(long, half) + _spread(short, _TRACKS - half)
    number = {name: index for index, name in enumerate(names)}
    track = np.concatenate([np.full(len(one.pixels), n) for n, one in enumerate(good)])
    camera = np.array([number[name] for one in good for name in one.pixels])
    pixels = np.array([place for one in good for place in one.pixels.values()])
    ray = np.zeros((len(camera), 2))
    for index, name in enumerate(names):
        ray[camera == index] = cameras[name].rays(pixels[camera == index])
    first = np.searchsorted(track, np.arange(len(good)))
    anchor = camera[first]
    start = np.concatenate([ray[first], np.zeros((len(good), 1))], 1)
    start[:, 2] = _inverse_depths(track, camera, ray, first, [cameras[n] for n in names],
                                  extent(cameras))
    return _Tracks(anchor, start, track, camera, ray)


def _without_outliers(tracks: _Tracks, errors: np.ndarray, points: np.ndarray) -> _Tracks:
    """Tracks all of whose observations are fitted about as well as others, where they lie now."""
    size = np.linalg.norm(errors, axis=1)
    worst = np.zeros(len(tracks.anchor))
    np.maximum.at(worst, tracks.track, size)
    keep = worst <= _OUTLIER * max(float(np.median(worst)), 0.05)
    of = keep[tracks.track]
    number = np.cumsum(keep) - 1
    return _Tracks(tracks.anchor[keep], points.reshape(-1, 3)[keep], number[tracks.track[of]],
                   tracks.camera[of], tracks.ray[of])


def _spread(items: list, count: int) -> list:
    return [items[row] for row in np.linspace(0, len(items) - 1, count).astype(int)]


def _inverse_depths(track, camera, ray, first, cameras: list[Camera], size: float) -> np.ndarray:
    """[T] of the first ray of each track, times `size`: the median over its other rays."""
    sums = [[] for _ in first]
    anchor = camera[first]
    for a in range(len(cameras)):
        for b in range(a + 1, len(cameras)):
            own = np.flatnonzero((anchor[track] == a) & (camera == b))
            if len(own):
                near, _, _ = depths(ray[first[track[own]]], ray[own],
                                    relative(cameras[a], cameras[b]))
                for row, depth in zip(track[own], near, strict=True):
                    sums[row].append(size / depth if depth > 0 else 0.0)
    return np.clip([np.median(one) for one in sums], 1e-4, 1 / _LEAST_DEPTH)


def refitted(pairs: Sequence[Pair], cameras: Mapping[str, Camera], who: Sequence[str],
             focal_only: bool = False) -> tuple[dict[str, Camera], float]:
    """Some cameras fitted by epipolar errors alone, while the others stay: a quick look.

    It finds its way from farther off than `adjusted`, but what lies on the line through the
    cameras it does not see.

    Args:
        pairs: those with these cameras count, by their `fitting` matches.
        cameras: as given.
        who: the cameras that are fitted.
        focal_only: whether their focal lengths are fitted, and not their poses.

    Returns:
        All cameras, and the median error in px over the pairs' medians.
    """
    own = [pair for pair in pairs if set(who) & set(pair.names) and pair.fitting.any()]
    rays = [_some_rays(pair, cameras) for pair in own]
    size = extent(cameras)

    def at(values: np.ndarray) -> dict[str, Camera]:
        steps = values.reshape(len(who), -1)
        if focal_only:
            steps = np.concatenate([np.zeros((len(who), 6)), steps], 1)
        return {**cameras, **{name: _stepped(cameras[name], step, size)
                              for name, step in zip(who, steps, strict=True)}}

    def residuals(values: np.ndarray) -> np.ndarray:
        rig, errors = at(values), []
        for pair, (one, other) in zip(own, rays, strict=True):
            (a, b), old = (rig[n] for n in pair.names), [cameras[n] for n in pair.names]
            stretch = focal(old[0]) / focal(a), focal(old[1]) / focal(b)
            errors.append(sampson(one * stretch[0], other * stretch[1],
                                  essential(relative(a, b)), (focal(a), focal(b))))
        prior = 0 * values if focal_only else values / np.tile(_PRIOR[:6], len(who))
        return np.concatenate([_robust(np.concatenate(errors), _ROBUST_PX), prior])
    ratios = (0.5, 0.75, 1.0, 1.33, 2.0) if focal_only else (1.0,)
    count = 1 if focal_only else 6
    best: tuple[float, dict[str, Camera]] = (np.inf, dict(cameras))
    for ratio in ratios:
        start = np.full(count * len(who), np.log(ratio))
        found = at(least_squares(residuals, start, x_scale='jac', max_nfev=_ROUNDS).x)
        error = float(np.median([np.nanmedian(pair_errors(pair, found)) for pair in own]))
        best = min(best, (error, found), key=lambda one: one[0])
    return best[1], best[0]


def _some_rays(pair: Pair, cameras: Mapping[str, Camera]) -> tuple[np.ndarray, np.ndarray]:
    rows = _some(pair)
    one, other = (cameras[name] for name in pair.names)
    return one.rays(pair.matches.pixels[rows]), other.rays(pair.matches.other_pixels[rows])


def _some(pair: Pair) -> np.ndarray:
    rows = np.flatnonzero(pair.fitting)
    return rows[np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(int)]


def pair_errors(pair: Pair, cameras: Mapping[str, Camera]) -> np.ndarray:
    """[N] px: epipolar errors of fitting matches of a pair (at most 150) under some cameras."""
    one, other = (cameras[name] for name in pair.names)
    return errors_of(one, other, *_some_rays(pair, cameras))[0]
