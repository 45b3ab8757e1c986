# SPDX-License-Identifier: Apache-2.0
"""A rig that fits its pictures better, or a reason why there is none.

Small errors are mended: those that a calibration makes, or a camera that was touched. What the
matches cannot judge stays as it is, and so does what would change by more: a rig that was mixed
up is not refined into another one. A quarter of the matches is kept back, and has to agree.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.bundle import adjusted, extent, pair_errors, turned
from igs_ros.vision.rig_check import RigCheck
from igs_ros.vision.rig_pairs import FAR_OFF, Pair, Verdict, focal, limit_px
from igs_ros.vision.tracks import tracks_of, triples

_KEPT_BACK = 4  # every so many-th match only judges
_MOST_TURN, _MOST_MOVE, _MOST_FOCAL = np.radians(6.0), 0.25, 0.15
# rad, share of the rig's extent, share of the focal length: more is no error of a calibration
_WORSE, _WORSE_PX = 1.2, 0.1  # what a pair may lose: factor and px
_BETTER = 0.9  # of the error before may be left for it to be worth a change
_FITS, _FITS_PX = 1.5, 0.1  # above the floor of the features: factor and px
_FITS_THREE = 4.0  # floors, of what three cameras say


@dataclass(frozen=True, eq=False)
class PairChange:
    """What the errors of a pair were and are, px (medians over all its matches)."""

    names: tuple[str, str]
    before_px: float
    after_px: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """The outcome."""

    cameras: Mapping[str, Camera]  # all; as given where nothing was changed
    changed: tuple[str, ...]
    pairs: tuple[PairChange, ...]  # of those that can be judged
    lines: tuple[str, ...]  # in words
    verdict: Verdict  # GOOD: it fits now, or did before; WRONG: it does not; UNKNOWN


def calibrated(check: RigCheck, cameras: Mapping[str, Camera], focals: bool = False
               ) -> Calibration:
    """Adjust the cameras of a rig to the matches of its check.

    Args:
        check: of these cameras.
        cameras: as given, by name.
        focals: whether focal lengths may change, too.
    """
    if check.mistake is not None:
        return _unchanged(check, cameras, Verdict.WRONG, (
            'nothing is changed: this is no error of a calibration, mend it in the rig file: '
            + check.mistake.text,))
    usable = [pair for pair in check.usable if not pair.doubtful and pair.error_px
              <= FAR_OFF * limit_px(*(cameras[name] for name in pair.names))]
    if not usable:
        return _unchanged(check, cameras, Verdict.UNKNOWN, (
            'nothing is changed: no pair of cameras has enough matches to tell anything',))
    if _fits(check, usable):
        return _unchanged(check, cameras, Verdict.GOOD, (
            'nothing is changed: the rig fits as well as features can be found',))
    rig, changed, lines = dict(cameras), [], []
    for group in _groups(usable, cameras):
        own = [pair for pair in usable if pair.names[0] in group]
        found, reason = _group_adjusted(own, rig, focals)
        lines += [reason] if reason else []
        names = [name for name in group if not reason and (
            not found[name].is_at(rig[name].camera_from_world)
            or focal(found[name]) != focal(rig[name]))]
        lines += [_told(rig[name], found[name]) for name in names]
        rig.update({name: found[name] for name in names})
        changed += names
    alone = [name for name in cameras if not any(name in pair.names for pair in usable)]
    lines += [f'{name} stays as it is: too few matches with the others' for name in alone]
    changes = tuple(PairChange(pair.names, _median(pair, cameras), _median(pair, rig))
                    for pair in usable)
    fits = all(change.after_px <= limit_px(*(rig[name] for name in change.names))
               for change in changes)
    return Calibration(rig, tuple(changed), changes, tuple(lines),
                       Verdict.GOOD if fits else Verdict.WRONG)


def _unchanged(check: RigCheck, cameras, verdict: Verdict, lines: tuple[str, ...]) -> Calibration:
    return Calibration(dict(cameras), (), tuple(
        PairChange(pair.names, pair.error_px, pair.error_px) for pair in check.usable), lines,
        verdict)


def _median(pair: Pair, cameras: Mapping[str, Camera]) -> float:
    return float(np.nanmedian(pair_errors(pair, cameras)))


def _fits(check: RigCheck, usable: Sequence[Pair]) -> bool:
    floor = float(np.median([pair.floor_px for pair in usable]))
    return all(pair.error_px <= _FITS * pair.floor_px + _FITS_PX for pair in usable) \
        and all(one.error_px <= _FITS_THREE * floor + _FITS_PX for one in check.triples)


def _groups(pairs: Sequence[Pair], cameras: Mapping[str, Camera]) -> list[list[str]]:
    """Cameras that pairs join, in their order."""
    group = {name: {name} for pair in pairs for name in pair.names}
    for pair in pairs:
        one, other = (group[name] for name in pair.names)
        if one is not other:
            one |= other
            group.update(dict.fromkeys(other, one))
    found = []
    for name in cameras:
        if name in group and not any(name in known for known in found):
            found.append([n for n in cameras if n in group[name]])
    return found


def _group_adjusted(pairs: Sequence[Pair], cameras: Mapping[str, Camera], focals: bool
                    ) -> tuple[dict[str, Camera], str]:
    """The adjusted cameras, and why they are not to be used; '' if they are."""
    learned, judges = zip(*(_split(pair) for pair in pairs), strict=True)
    good = [name for pair in pairs if pair.verdict is Verdict.GOOD for name in pair.names]
    fixed = max(good, key=good.count) if good else pairs[0].names[0]
    found = adjusted(learned, cameras, fixed, focals)
    who = ', '.join(dict.fromkeys(name for pair in pairs for name in pair.names))
    stays = f'{who}: nothing is changed, as '
    size = extent(cameras)
    for name, camera in found.items():
        angle = turned(camera, cameras[name])
        way = float(np.linalg.norm(camera.center - cameras[name].center)) / size
        stretch = abs(focal(camera) / focal(cameras[name]) - 1)
        if angle > _MOST_TURN or way > _MOST_MOVE or stretch > _MOST_FOCAL:
            return dict(cameras), (
                f'{stays}{name} would turn by {np.degrees(angle):.1f} degrees, move by '
                f"{100 * way:.0f} % of the rig's size and be {100 * stretch:.0f} % longer or "
                f'shorter: that is no error of a calibration. Look for cameras that are mixed up')
    before = [_median(pair, cameras) for pair in judges]
    after = [_median(pair, found) for pair in judges]
    for pair, old, new in zip(judges, before, after, strict=True):
        if new > max(_WORSE * old, old + _WORSE_PX) and new > pair.floor_px * _FITS + _WORSE_PX:
            return dict(cameras), (f'{stays}{pair.names[0]} and {pair.names[1]} would get worse '
                                   f'({old:.1f} -> {new:.1f} px) in matches that were kept back')
    three = [float(np.median([one.error_px for one in triples(tracks_of(judges, rig), rig)]
                             or [np.nan])) for rig in (cameras, found)]
    if not (np.median(after) <= _BETTER * np.median(before) or three[1] <= _BETTER * three[0]):
        return dict(cameras), (f'{stays}matches that were kept back would not fit better '
                               f'({np.median(before):.2f} -> {np.median(after):.2f} px)')
    return found, ''


def _split(pair: Pair) -> tuple[Pair, Pair]:
    """Matches to learn from, and those to judge by: of other things, not the same ones again."""
    place = np.floor(pair.matches.pixels / 4).astype(np.int64)
    _, thing = np.unique(place, axis=0, return_inverse=True)
    back = thing.reshape(-1) % _KEPT_BACK == 0
    return replace(pair, fitting=pair.fitting & ~back), replace(pair, fitting=pair.fitting & back)


def _told(old: Camera, new: Camera) -> str:
    way = float(np.linalg.norm(new.center - old.center))
    text = f'{old.name}: turned by {np.degrees(turned(new, old)):.3f} degrees and moved by ' \
        f'{way:.4f}'
    ratio = focal(new) / focal(old)
    return text if ratio == 1 else f'{text}, its focal length {ratio:.4f} times as long'


def change_lines(found: Calibration) -> list[str]:
    """What was done, and each pair before and after, in words."""
    return [*found.lines, *(
        f'{change.names[0]} {change.names[1]}: {change.before_px:.2f} -> {change.after_px:.2f} px'
        for change in found.pairs if found.changed)]
