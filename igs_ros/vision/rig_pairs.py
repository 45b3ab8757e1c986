# SPDX-License-Identifier: Apache-2.0
"""What the matches of each pair of cameras say about the rig: it fits, it does not, or nothing."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.epipolar import (
    Fit,
    behind,
    best_fit,
    chance,
    epipolar_errors,
    essential,
)
from igs_ros.vision.matches import PairMatches

LIMIT_PX, LIMIT_SHARE = 1.0, 0.002  # of an error that a good rig has: px, and of the width
_SURE = -6.0  # log10 of the chance beyond which a fit is none
_LEAST_GOOD, _LEAST_BAD = 10, 20  # matches that fit the rig, or a pose of their own
_NEARLY = 10.0  # limits up to which an error is of the rig; beyond, repetition may be the cause
FAR_OFF = 30.0  # limits; a pose that is off by so much is one that was mixed up
_REPEATED = 1.0  # left out per match, from where a pair is called repetitive


class Verdict(Enum):
    """Of a pair, a camera or a rig."""

    GOOD = 'good'
    WRONG = 'wrong'
    UNKNOWN = 'cannot tell'


@dataclass(frozen=True, eq=False)
class Pair:
    """One pair of cameras, judged."""

    matches: PairMatches
    fitting: np.ndarray  # [M] bool: those that the error is of
    verdict: Verdict
    error_px: float  # median; NaN where nothing can be told
    worst_px: float  # the 90th percentile
    floor_px: float  # median under the pose that the matches themselves want
    behind: float  # share of `fitting` that meets behind a camera
    reason: str = ''  # why nothing can be told
    doubtful: bool = False  # so far off, and so alone, that repetition may be the cause

    @property
    def names(self) -> tuple[str, str]:
        """Of both cameras."""
        return self.matches.one, self.matches.other


def limit_px(*cameras: Camera) -> float:
    """The largest error that a good rig has, px: what still is one pixel at 480 px of width."""
    return max(LIMIT_PX, LIMIT_SHARE * max(camera.width for camera in cameras))


def focal(camera: Camera) -> float:
    """The mean focal length, px."""
    return float(np.diag(camera.K)[:2].mean())


def relative(one: Camera, other: Camera) -> np.ndarray:
    """[4, 4] other_from_one."""
    return other.camera_from_world @ one.world_from_camera


def errors_of(one: Camera, other: Camera, rays: np.ndarray, other_rays: np.ndarray
              ) -> tuple[np.ndarray, np.ndarray]:
    """Errors [N] px of matches under the poses of two cameras, and which are behind one of them.

    Args:
        one: the first camera.
        other: the second one.
        rays: [N, 2] of the first (`Camera.rays`).
        other_rays: [N, 2] of the second.
    """
    motion = relative(one, other)
    errors = epipolar_errors(rays, other_rays, essential(motion), (focal(one), focal(other)))
    return errors, behind(rays, other_rays, motion)


def judged(found: Sequence[PairMatches], cameras: Mapping[str, Camera]) -> list[Pair]:
    """All pairs, each for itself; see `rig_check` for what they say together."""
    return [_judged(matches, cameras[matches.one], cameras[matches.other]) for matches in found]


def _judged(matches: PairMatches, one: Camera, other: Camera) -> Pair:
    rays, other_rays = one.rays(matches.pixels), other.rays(matches.other_pixels)
    usable = np.isfinite(np.concatenate([rays, other_rays], 1)).all(axis=1)
    usable = np.flatnonzero(usable)
    matches, rays, other_rays = matches.only(usable), rays[usable], other_rays[usable]
    limit, sides = limit_px(one, other), (float(other.width), float(other.height))
    fit = best_fit(rays, other_rays, (focal(one), focal(other)), sides, limit,
                   matches.fresh)
    apart = float(np.linalg.norm(one.center - other.center))
    if apart == 0:
        return Pair(matches, fit.inliers, Verdict.UNKNOWN, np.nan, np.nan, fit.floor_px, 0.0,
                    'both cameras are at one place')
    errors, back = errors_of(one, other, rays, other_rays)
    near = (errors <= limit) & ~back
    fresh = matches.fresh
    by_rig = (near & fresh).sum() >= _LEAST_GOOD \
        and chance(int(fresh.sum()), int((near & fresh).sum()), limit, sides, 0) < _SURE
    by_fit = (fit.inliers & fresh).sum() >= _LEAST_BAD and fit.chance < _SURE

    if matches.repeated > _REPEATED * len(matches):  # then those that are left may be copies, too
        return Pair(matches, near, Verdict.UNKNOWN, np.nan, np.nan, np.nan, 0.0,
                    _why_unknown(matches, fit))

    def pair(chosen: np.ndarray, verdict: Verdict) -> Pair:
        return Pair(matches, chosen, verdict, float(np.median(errors[chosen])),
                    float(np.percentile(errors[chosen], 90)),
                    min(fit.floor_px, float(np.median(errors[chosen]))),
                    float(back[chosen].mean()))
    if by_fit:
        error, turned = np.median(errors[fit.inliers]), back[fit.inliers].mean()
        if error <= limit and turned < 0.5:
            return pair(fit.inliers | near, Verdict.GOOD)
        if not (by_rig and error > _NEARLY * limit):
            return pair(fit.inliers, Verdict.WRONG)
        # many agree on something else, far away, and too many for chance with the rig: something
        # is there twice, and the rig is right
    if by_rig:
        return pair(near, Verdict.GOOD)
    return Pair(matches, near, Verdict.UNKNOWN, np.nan, np.nan, np.nan, 0.0,
                _why_unknown(matches, fit))


def _why_unknown(matches: PairMatches, fit: Fit) -> str:
    if matches.repeated > max(_REPEATED * len(matches), _LEAST_BAD):
        return f'{len(matches)} matches, {matches.repeated} more look like others: repetitive'
    return f'{len(matches)} matches, {int(fit.inliers.sum())} of them agree: too few'
