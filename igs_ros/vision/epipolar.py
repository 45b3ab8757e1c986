# SPDX-License-Identifier: Apache-2.0
"""How well matches of two cameras fit two poses, and how sure one can be that they do.

Points are rays: where they meet the plane z = 1 of their camera, lens removed. Errors are in
pixels: the distance of a match to the epipolar line of its partner, the larger of both pictures.
"""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import gammaln

_CONFIDENCE = 0.9999
_WITHOUT_FOCALS = 1.3  # how much surer a fit has to be, for which focal lengths do not count
_NO_PARALLAX = np.radians(0.15)  # rays that meet at less say nothing about before and behind


def skew(vector: np.ndarray) -> np.ndarray:
    """[3, 3]: the cross product with `vector` [3] from the left."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def essential(other_from_one: np.ndarray) -> np.ndarray:
    """[3, 3] essential matrix of a relative pose [4, 4]: other^T E one = 0."""
    return skew(other_from_one[:3, 3]) @ other_from_one[:3, :3]


def epipolar_errors(one: np.ndarray, other: np.ndarray, E: np.ndarray,
                    focals: tuple[float, float]) -> np.ndarray:
    """[N] px: how far matches are from each other's epipolar lines, the larger of both.

    Args:
        one: [N, 2] rays of the first camera.
        other: [N, 2] rays of the second one.
        E: [3, 3] with other^T E one = 0.
        focals: of both, px.
    """
    a, b = _homogeneous(one), _homogeneous(other)
    lines, back = a @ E.T, b @ E
    distance = np.abs((b * lines).sum(1))
    return np.maximum(
        distance / np.maximum(np.hypot(lines[:, 0], lines[:, 1]), 1e-12) * focals[1],
        distance / np.maximum(np.hypot(back[:, 0], back[:, 1]), 1e-12) * focals[0])


def sampson(one: np.ndarray, other: np.ndarray, E: np.ndarray, focals: tuple[float, float]
            ) -> np.ndarray:
    """[N] px, signed: how far a match has to move, to first order, to fit; smooth around 0.

    Args:
        one: [N, 2] rays of the first camera.
        other: [N, 2] rays of the second one.
        E: [3, 3] with other^T E one = 0.
        focals: of both, px.
    """
    a, b = _homogeneous(one), _homogeneous(other)
    lines, back = a @ E.T, b @ E
    slope = ((lines[:, :2] / focals[1]) ** 2).sum(1) + ((back[:, :2] / focals[0]) ** 2).sum(1)
    return (b * lines).sum(1) / np.sqrt(np.maximum(slope, 1e-24))


def depths(one: np.ndarray, other: np.ndarray, other_from_one: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the rays of matches come nearest to each other.

    Args:
        one: [N, 2] rays of the first camera.
        other: [N, 2] rays of the second one.
        other_from_one: [4, 4] relative pose.

    Returns:
        Depths [N] along the optical axes of both (below 0: behind), and the angles [N] between
        the rays, rad.
    """
    R, t = other_from_one[:3, :3], other_from_one[:3, 3]
    a, b = _homogeneous(one) @ R.T, _homogeneous(other)
    aa, bb, ab = (a * a).sum(1), (b * b).sum(1), (a * b).sum(1)
    at, bt = a @ t, b @ t
    denominator = aa * bb - ab * ab
    safe = np.maximum(denominator, 1e-18)
    angle = np.arctan2(np.sqrt(np.maximum(denominator, 0)), ab)
    return (ab * bt - bb * at) / safe, (aa * bt - ab * at) / safe, angle


def behind(one: np.ndarray, other: np.ndarray, other_from_one: np.ndarray) -> np.ndarray:
    """[N] bool: matches whose rays meet behind a camera.

    Args:
        one: as `depths` has it.
        other: the same of the other camera.
        other_from_one: [4, 4].
    """
    near, far, angle = depths(one, other, other_from_one)
    return ((near < 0) | (far < 0)) & (angle > _NO_PARALLAX)


def _homogeneous(rays: np.ndarray) -> np.ndarray:
    return np.concatenate([rays, np.ones((len(rays), 1))], 1)


@dataclass(frozen=True, eq=False)
class Fit:
    """The relative pose that matches of two cameras want, whatever the rig says."""

    inliers: np.ndarray  # [M] bool
    floor_px: float  # median error of those under it: what is left is of the features
    chance: float  # log10 of the number of such fits that random matches would bring


NO_FIT_CHANCE = 99.0


def best_fit(one: np.ndarray, other: np.ndarray, focals: tuple[float, float],
             sides: tuple[float, float], tolerance: float, counted: np.ndarray) -> Fit:
    """The best fit to matches: with the focal lengths as they are, or without, if they are wrong.

    Args:
        one: [M, 2] rays of the first camera.
        other: [M, 2] rays of the second one.
        focals: of both, px.
        sides: of the second picture, px.
        tolerance: px up to which a match fits.
        counted: [M] bool, those that tell how sure the fit is; the others are the same again.
    """
    none = Fit(np.zeros(len(one), bool), np.nan, NO_FIT_CHANCE)
    if len(one) < 8:
        return none
    threshold = tolerance / max(focals)
    E, _ = cv2.findEssentialMat(one, other, np.eye(3), cv2.USAC_MAGSAC, _CONFIDENCE, threshold)
    # pixels, for the conditioning and the threshold of OpenCV
    F, _ = cv2.findFundamentalMat(one * focals[0], other * focals[1], cv2.USAC_MAGSAC, tolerance,
                                  _CONFIDENCE)
    fits = []
    for found, sample in (E, 5), (F, 7):
        if found is None or found.shape[0] < 3:
            continue
        matrix = found[:3]
        if sample == 7:
            matrix = np.diag([focals[1], focals[1], 1]) @ matrix @ np.diag(
                [focals[0], focals[0], 1])
        errors = epipolar_errors(one, other, matrix, focals)
        inliers = errors <= tolerance
        if inliers.any():
            fits.append(Fit(inliers, float(np.median(errors[inliers])), chance(
                int(counted.sum()), int((inliers & counted).sum()), tolerance, sides, sample)))
    if len(fits) == 2 and fits[1].chance > _WITHOUT_FOCALS * fits[0].chance - 10:
        return fits[0]  # the other one has two parameters more, and no plane holds it
    return min(fits, key=lambda fit: fit.chance, default=none)


def chance(matches: int, fitting: int, tolerance: float, sides: tuple[float, float],
           sample: int) -> float:
    """log10 of how many fits as good as this random matches would bring (a-contrario RANSAC).

    Args:
        matches: in all.
        fitting: of them.
        tolerance: px up to which they fit.
        sides: of the picture, px.
        sample: matches that determine a fit; 0: it was given.
    """
    if fitting <= sample:
        return NO_FIT_CHANCE
    lucky = min(1.0, 2 * tolerance * float(np.hypot(*sides)) / (sides[0] * sides[1]))
    choices = _log10_choose(matches, fitting)
    if sample:
        choices += np.log10(matches - sample) + _log10_choose(fitting, sample)
    return float(choices + (fitting - sample) * np.log10(lucky))


def _log10_choose(n: int, k: int) -> float:
    return float((gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) / np.log(10))
