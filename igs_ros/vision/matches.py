# SPDX-License-Identifier: Apache-2.0
"""Feature matches between all cameras of a rig, without a look at its poses.

SIFT on pictures of equalized contrast, as cameras expose differently. A match must be the best by
far in both pictures, and neither feature may have a twin in its own picture: what repeats (tiles,
a keyboard, a wall of one texture) matches anything, and consistently.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

_RATIO = 0.8  # of the distances to the best and to the next best descriptor
_SAME_PLACE = 3.0  # px: features nearer to each other are one, seen at several scales
_AGAIN = 2.0  # px: a match that is there again in a later frame is not counted again
_ALL_PAIRS = 8  # cameras up to which every pair is matched in full
_FIRST_LOOK = 300  # strongest features by which larger rigs choose their pairs
_PARTNERS = 6  # of each camera in those
_MIN_FEATURES = 2
_LOOK_ALIKE = 0.2  # distance of descriptors below which two show one thing, or copies of it


@dataclass(frozen=True)
class MatchSettings:
    """How much is looked at."""

    features: int = 2000
    """Of a picture, at most: the strongest."""
    width: int = 1280
    """Wider pictures are shrunk to this, px."""


@dataclass(frozen=True, eq=False)
class Features:
    """What was found in one picture."""

    pixels: np.ndarray  # [N, 2] float64, of the picture as given, centers at +0.5
    descriptors: np.ndarray  # [N, 128] float32, of length 1
    twin: np.ndarray  # [N] float32: distance to the most similar one elsewhere in the picture


@dataclass(frozen=True, eq=False)
class PairMatches:
    """Matches of two cameras over all frames."""

    one: str
    other: str
    pixels: np.ndarray  # [M, 2] float64 of `one`, centers at +0.5, lens not removed
    other_pixels: np.ndarray  # [M, 2] of `other`
    rows: np.ndarray  # [M, 3] int: frame, feature of `one`, feature of `other`
    fresh: np.ndarray  # [M] bool: not there already in an earlier frame; what stands still is
    repeated: int = 0  # matches that were left out as something like them is there twice

    def __len__(self):
        return len(self.rows)

    def only(self, chosen: np.ndarray) -> PairMatches:
        """Some of the matches: [M] bool, or indices."""
        return PairMatches(self.one, self.other, self.pixels[chosen], self.other_pixels[chosen],
                           self.rows[chosen], self.fresh[chosen], self.repeated)


def find_features(image: np.ndarray, settings: MatchSettings = MatchSettings()) -> Features:
    """The features of a picture, uint8 RGB [H, W, 3]."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    scale = min(1.0, settings.width / width)
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    gray = cv2.createCLAHE(2.0, (8, 8)).apply(gray)
    found, descriptors = _sift(settings.features, gray)
    if descriptors is None or len(found) < _MIN_FEATURES:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32), np.zeros(0, np.float32))
    pixels = (np.array([point.pt for point in found], np.float64) + 0.5) \
        * (width / gray.shape[1], height / gray.shape[0])
    # the square root of histograms (RootSIFT): large bins count less
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    return Features(pixels, descriptors, _twins(pixels * scale, descriptors))


def _sift(count: int, gray: np.ndarray):
    """Key points (OpenCV pixels) and descriptors; None for none."""
    options = {'nfeatures': count, 'contrastThreshold': 0.02}
    try:
        return cv2.SIFT.create(**options, enable_precise_upscale=True).detectAndCompute(gray, None)
    except (TypeError, cv2.error):  # before OpenCV 4.8: its doubled picture lies 0.25 px off
        found, descriptors = cv2.SIFT.create(**options).detectAndCompute(gray, None)
        for point in found:
            point.pt = (point.pt[0] - 0.25, point.pt[1] - 0.25)
        return found, descriptors


def _twins(pixels: np.ndarray, descriptors: np.ndarray) -> np.ndarray:
    """[N] distance to the most similar descriptor at another place."""
    similar = descriptors @ descriptors.T
    near = np.ones(similar.shape, bool)
    for axis in range(2):
        values = pixels[:, axis].astype(np.float32)
        near &= np.abs(values[:, None] - values) < _SAME_PLACE
    similar[near] = -1
    return _distance(similar.max(1))


def _distance(similarity: np.ndarray) -> np.ndarray:
    """Between descriptors of length 1."""
    return np.sqrt(np.maximum(2 - 2 * similarity, 0))


def match_rig(frames: Sequence[Mapping[str, Features]],
              progress: Callable[[float], None] = lambda done: None) -> list[PairMatches]:
    """Matches of all pairs of cameras (of large rigs: of those that look alike).

    Args:
        frames: features by camera, of pictures of one instant each.
        progress: gets the share done, 0..1.

    Returns:
        One entry for every pair that was looked at, in the order of the cameras.
    """
    cameras = list(dict.fromkeys(name for frame in frames for name in frame))
    pairs = _pairs(frames, cameras)
    found = []
    for number, (one, other) in enumerate(pairs):
        found.append(_match_pair(frames, one, other))
        progress((number + 1) / len(pairs))
    return found


def _pairs(frames, cameras: list[str]) -> list[tuple[str, str]]:
    pairs = list(combinations(cameras, 2))
    if len(cameras) <= _ALL_PAIRS:
        return pairs
    first = {}
    for frame in frames:
        first = {**{name: _strongest(found) for name, found in frame.items()}, **first}
    count = {(a, b): len(_matches(first[a], first[b])[0]) for a, b in pairs}
    chosen = set()
    for name in cameras:
        own = sorted((pair for pair in pairs if name in pair), key=lambda pair: -count[pair])
        chosen.update(own[:_PARTNERS])
    return [pair for pair in pairs if pair in chosen]


def _strongest(found: Features) -> Features:
    return Features(found.pixels[:_FIRST_LOOK], found.descriptors[:_FIRST_LOOK],
                    found.twin[:_FIRST_LOOK])


def _match_pair(frames, one: str, other: str) -> PairMatches:
    places, rows, repeated = [np.zeros((0, 4))], [np.zeros((0, 3), int)], 0
    for number, frame in enumerate(frames):
        if one not in frame or other not in frame:
            continue
        (i, j), left_out = _matches(frame[one], frame[other])
        places.append(np.concatenate([frame[one].pixels[i], frame[other].pixels[j]], 1))
        rows.append(np.stack([np.full(len(i), number), i, j], 1))
        repeated += left_out
    place = np.concatenate(places)
    return PairMatches(one, other, place[:, :2], place[:, 2:], np.concatenate(rows),
                       _fresh(place), repeated)


def _matches(one: Features, other: Features) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Indices of the matches in both, and how many were left out as they are there twice."""
    if min(len(one.pixels), len(other.pixels)) < _MIN_FEATURES:
        nothing = np.zeros(0, int)
        return (nothing, nothing), 0
    similar = one.descriptors @ other.descriptors.T
    best, back = similar.argmax(1), similar.argmax(0)
    rows = np.arange(len(best))
    value = similar[rows, best]
    similar[rows, best] = -1
    second = similar.max(1)
    similar[rows, best] = value
    similar[back, np.arange(len(back))] = -1
    second = np.maximum(second, similar.max(0)[best])
    distance = _distance(value)
    mutual = back[best] == rows
    unique = distance < _RATIO * _distance(second)
    alone = distance < _RATIO * np.minimum(one.twin, other.twin[best])
    left_out = mutual & ~(unique & alone) & (distance < _LOOK_ALIKE)
    good = mutual & unique & alone
    return (rows[good], best[good]), int(left_out.sum())


def matched(one: Features, other: Features) -> tuple[np.ndarray, np.ndarray]:
    """Indices [M] of the matches of two pictures, in both."""
    return _matches(one, other)[0]


def _fresh(place: np.ndarray) -> np.ndarray:
    """[M] bool: matches [M, 4] (x y, x y) that no earlier row has, too, about there."""
    _, first = np.unique(np.floor(place / _AGAIN).astype(int), axis=0, return_index=True)
    fresh = np.zeros(len(place), bool)
    fresh[first] = True
    return fresh
