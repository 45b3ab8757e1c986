# SPDX-License-Identifier: Apache-2.0
"""Which pictures a camera can be seeing: faults are noticed before anything is fitted to them.

The cameras stand still, so most of what one sees is where it was a moment ago. Each picture is
compared, small and gray, with the last one that was believed of its camera, block by block, by
normalized correlation: it knows no gain, no offset and little noise, and things that move spoil
some blocks only. In order, the first that holds is said:

    the same bits as the picture before, while other cameras see motion    frozen
    another camera's last believed picture fits far better                 shows what X sees
    nearly all blocks have lost their contrast                             shows nothing
    the blocks that agree, a quarter at least, are far darker or brighter  light
    three blocks in ten have lost their contrast                           partly covered
    less than half of the blocks agree                                     unlike what it saw

An implausible picture is left out of its frame set. Where fewer than half of the pictures are
left, the set is not processed at all: the scene is held. The first set that is processed again
needs a key at once.

What lasts is believed in the end: after `hold_s` (by the stamps) of pictures that agree with each
other; a change of light, and pictures of which a quarter is known, after a tenth of that. Never
while it can be told that it is wrong: frozen pictures, those of another camera, and those that
show nothing. What was believed before such an end is remembered: when its pictures come back (the
light goes on again), they are believed at once, and the scene of then goes on.

Slow changes are followed: pictures are compared with the last believed ones, not with the first.
What is lost bit by bit within a second or two, as behind a hand, is noticed when nothing is left;
and what agrees with the picture of a second ago is plausible. A camera that moved is compared with
what the scene shows it; if it repeats its picture, it is frozen.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet, elsewhere
from igs_ros.stages.small_pictures import MANY, SmallPicture, match_of

# Shares of the blocks. Measured: sets up to 0.5 s apart agree in 0.63 (a person before a webcam)
# and more; other scenes, other cameras of a rig, mirrored pictures in 0.15 at most.
_KNOWN = 0.5
_KNOWN_SHOWN = 0.2  # scenes are blurred, and poses are not exact
_DOUBTED = 0.8  # below it, other cameras' pictures are compared
_BETTER = 0.25  # more of the blocks must agree with another camera's picture
_COVERED = 0.3  # are flat: something lies before the lens
_LIGHT = (0.62, 1.6)  # gain to the last believed picture that exposure and clouds may have at once
_SHORT = 0.1  # of the patience, for what may well be real
_LATELY_NS = 1_000_000_000
_SHIFT = 1e-3  # m, rad: a camera that moved by more does not see the same bits again
_FRESH = 3  # pictures in a row that were new, before one that is not is a fault


class Change(Enum):
    """What a frame set is, compared with the one processed before."""

    NONE = 0  # its successor
    RESUMED = 1  # the same scene, after sets that were held
    NEW = 2  # another scene: what was held has lasted
    BACK = 3  # the scene from before the last `NEW` or `BACK`


@dataclass(frozen=True)
class Doubt:
    """Why a picture is implausible."""

    text: str
    patience: float  # times `hold_s`, until it is believed if it lasts; inf = never


_SHOWS_NOTHING = Doubt('shows nothing: dark, or covered', math.inf)


@dataclass(frozen=True, eq=False)
class Checked:
    """A frame set without its implausible pictures, and what follows."""

    frame_set: FrameSet
    implausible: Mapping[str, str]  # why, by camera
    held: str  # why nothing may be made of the set; '' = it is to be processed
    change: Change  # of a set that is processed; after all but NONE, motion has little to follow
    notes: tuple[str, ...]  # for the log: what began and what ended


@dataclass(eq=False)
class _Memory:
    """What is remembered of one camera."""

    believed: SmallPicture
    image: np.ndarray  # the last picture that came, believed or not
    lately: SmallPicture  # believed one to two `_LATELY_NS` ago, or the first
    newer: SmallPicture  # the one that will take its place
    newer_ns: int
    fresh: int = 0  # pictures in a row that were not the one before
    doubt: Doubt | None = None
    doubted: SmallPicture | None = None  # the last picture that was not believed
    begun_ns: int = 0  # of the first picture that was not believed
    steady_ns: int = 0  # since when those agree with each other
    camera: Camera | None = None  # whence `believed` is seen; None: whence calibrated


@dataclass(eq=False)
class PlausibilityCheck:
    """Checks the frame sets of one run, in time order; first come, first believed.

    hold_s: how long what changed at once is not believed, s; 0 = every picture is believed. The
    same sets give the same results; a set of 13 cameras at 480x360 takes 5 CPU ms.
    """

    hold_s: float
    _cameras: dict[str, _Memory] = field(default_factory=dict)
    _before: dict[str, SmallPicture] = field(default_factory=dict)  # before the last change
    _moved: Mapping[str, bool] = field(default_factory=dict)  # cameras; whether far
    _held: bool = False
    _stamp_ns: int | None = None

    def check(self, frame_set: FrameSet,
              look: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None) -> Checked:
        """`frame_set` (prepared) without what is implausible.

        look: what the scene shows to a camera that moved, from where it is now: uint8 RGB
        [h, w, 3] of any size, and alpha [h, w]; None: it is believed.
        """
        if not self.hold_s:
            return Checked(frame_set, {}, '', Change.NONE, ())
        stamp_ns, images = frame_set.stamp_ns, frame_set.images
        if not images:
            return Checked(frame_set, {}, '', Change.NONE, ())
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            for memory in self._cameras.values():  # a looping bag: waiting starts anew
                memory.begun_ns = memory.steady_ns = memory.newer_ns = stamp_ns
        self._stamp_ns = stamp_ns
        small = {name: SmallPicture.of(image) for name, image in images.items()}
        again = {name for name, image in images.items() if name in self._cameras
                 and _equal(image, self._cameras[name].image)}
        moved = self._moved = self._follow_cameras(frame_set, small, look)
        believed = {name: memory.believed for name, memory in self._cameras.items()}
        doubts, change = self._doubts(small, again, moved), Change.NONE
        if _too_many(doubts) and self._before:
            self._believe(self._before)
            others = self._doubts(small, again, moved)
            if _too_many(others):
                self._believe(believed)
            else:
                doubts, change, self._before = others, Change.BACK, believed
                for memory in self._cameras.values():
                    memory.lately = memory.newer = memory.believed
        notes = [note for name in small if (note := self._remember(
            name, doubts[name], small[name], images[name], name in again, stamp_ns,
            name in moved))]
        for name in small:
            self._cameras[name].camera = frame_set.cameras.get(name)
        left = {name: self._cameras[name].doubt for name in small}
        implausible = {name: doubt.text for name, doubt in sorted(left.items())
                       if doubt is not None}
        held = f'implausible pictures: {grouped(implausible)}' if _too_many(left) else ''
        if self._held and not held and change is Change.NONE:
            change = Change.RESUMED
            if any(doubts[name] is not None and left[name] is None for name in small):
                change, self._before = Change.NEW, believed
        self._held = bool(held)
        return Checked(_without(frame_set, implausible), implausible, held, change, tuple(notes))

    def _follow_cameras(self, frame_set: FrameSet, small: Mapping[str, SmallPicture], look
                        ) -> dict[str, bool]:
        """Believe, of cameras that moved, what they should see now; by name, whether far."""
        moved = {}
        for name in small:
            memory, place = self._cameras.get(name), frame_set.cameras.get(name)
            if memory is not None and elsewhere(memory.camera, place):
                moved[name] = elsewhere(memory.camera, place, _SHIFT)
                shown = small[name] if look is None else small[name].expected(*look(name))
                memory.believed = memory.lately = memory.newer = shown
                self._before = {}
        return moved

    def _believe(self, references: Mapping[str, SmallPicture]) -> None:
        for name, reference in references.items():
            self._cameras[name].believed = reference

    def _doubts(self, small: Mapping[str, SmallPicture], again: set[str],
                moved: Mapping[str, bool]) -> dict[str, Doubt | None]:
        doubts = {name: self._doubt(name, one) for name, one in small.items()}
        sound = [name for name in small if doubts[name] is None]
        standing = [name for name in sound if name not in moved]
        frozen = self._frozen(small, again - set(moved), standing)
        return doubts | frozen | {
            name: Doubt('frozen: the same picture again while the camera moves', math.inf)
            for name in again if moved.get(name) and self._cameras[name].fresh >= _FRESH}

    def _frozen(self, small: Mapping[str, SmallPicture], again: set[str], sound: Sequence[str]
                ) -> dict[str, Doubt]:
        """Cameras that repeat a picture (`again`) while half of the other `sound` ones move."""
        moving = {name for name in sound if name in self._cameras
                  and small[name].moved_since(self._cameras[name].believed)}
        others = {name: len(set(sound) - {name}) for name in again}
        return {name: Doubt('frozen: the same picture again while others see motion', math.inf)
                for name in again if self._cameras[name].fresh >= _FRESH and others[name]
                and 2 * len(moving - {name}) >= others[name]}

    def _doubt(self, name: str, small: SmallPicture) -> Doubt | None:
        """What the believed pictures say about one that `name` sent."""
        if name not in self._cameras:
            return None
        memory = self._cameras[name]
        doubt = self._doubt_against(memory.believed, name, small)
        if doubt is not None:
            return doubt if self._doubt_against(memory.lately, name, small) else None
        match = match_of(small, memory.lately)
        return _SHOWS_NOTHING if match is not None and match.nothing else None

    def _doubt_against(self, reference: SmallPicture, name: str,
                       small: SmallPicture) -> Doubt | None:
        match = match_of(small, reference)
        if match is None:
            return None
        if match.known < _DOUBTED and (seen := self._whose(name, small, match.known)):
            return Doubt(f"shows what camera '{seen}' sees", math.inf)
        some = match.known >= _KNOWN / 2
        if match.nothing:
            return _SHOWS_NOTHING
        if some and not _LIGHT[0] <= match.gain <= _LIGHT[1]:
            return Doubt(f'{match.gain:.2g} times as bright at once', _SHORT)
        if match.flat >= _COVERED and match.lost >= MANY:
            return Doubt('partly covered', 1.0)
        least = _KNOWN_SHOWN if name in self._moved else _KNOWN
        if match.known < least and match.lost >= MANY:
            return Doubt('unlike what it saw before', _SHORT if some else 1.0)
        return None

    def _whose(self, name: str, small: SmallPicture, known: float) -> str:
        """The camera whose believed picture `small` is, by far more than that of `name`; or ''."""
        found = {other: match.known for other, memory in self._cameras.items()
                 if other != name and memory.believed.telling.any()
                 and (match := match_of(small, memory.believed)) is not None}
        best = max(found, key=lambda other: found[other], default='')
        return best if best and found[best] >= max(_KNOWN, known + _BETTER) else ''

    def _remember(self, name: str, doubt: Doubt | None, small: SmallPicture, image: np.ndarray,
                  again: bool, now: int, moved: bool = False) -> str:
        """Note what came of a picture of `now`, ns; what is to be said about it, or ''."""
        if name not in self._cameras:
            self._cameras[name] = _Memory(small, image, small, small, now)
            return ''
        memory = self._cameras[name]
        was = memory.doubt
        if not again:
            memory.fresh += 1
        elif doubt is None:
            memory.fresh = 0
        memory.image = image
        lasted = ''
        if doubt is not None and memory.doubted is not None:
            # seen from elsewhere, they cannot agree
            match = None if moved else match_of(small, memory.doubted)
            if match is not None and not (match.known >= _KNOWN
                                          and _LIGHT[0] <= match.gain <= _LIGHT[1]):
                memory.steady_ns = now
            if now - memory.steady_ns >= doubt.patience * self.hold_s * 1e9:
                lasted, doubt = f': what they show has lasted ({doubt.text})', None
        if doubt is None:
            memory.believed, memory.doubt, memory.doubted = small, None, None
            if lasted:
                memory.lately = memory.newer = small
            elif now - memory.newer_ns >= _LATELY_NS:
                memory.lately, memory.newer, memory.newer_ns = memory.newer, small, now
            return '' if was is None else (
                f"believed again: the pictures of camera '{name}', after "
                f'{(now - memory.begun_ns) * 1e-9:.1f} s{lasted}')
        if was is None:
            memory.begun_ns = memory.steady_ns = now
        memory.doubt, memory.doubted = doubt, small
        before = 'it saw before' if memory.camera is None else 'the scene shows from its pose'
        return '' if was is not None else (
            f"implausible pictures of camera '{name}': {doubt.text}; expected what {before}, but "
            f'for what moves. They are left out; look at the camera (hold_s = 0 believes all)')


def _too_many(doubts: Mapping[str, Doubt | None]) -> bool:
    """Whether more than half of the pictures are implausible."""
    return 2 * sum(doubt is not None for doubt in doubts.values()) > len(doubts)


def _equal(image: np.ndarray, other: np.ndarray) -> bool:  # nearly all differ in a few rows
    return np.array_equal(image[::16], other[::16]) and np.array_equal(image, other)


def grouped(reasons: Mapping[str, str]) -> str:
    """Cameras by reason: 'cam00, cam01 (dark); cam03 (frozen)'."""
    return '; '.join(f"{', '.join(n for n in reasons if reasons[n] == reason)} ({reason})"
                     for reason in dict.fromkeys(reasons.values()))


def _without(frame_set: FrameSet, names: Mapping[str, str]) -> FrameSet:
    """`frame_set` without the pictures of some cameras, which are `missing` from then on."""
    if not names:
        return frame_set
    return replace(
        frame_set, missing=(*frame_set.missing, *names),
        images={name: image for name, image in frame_set.images.items() if name not in names},
        depths={name: depth for name, depth in frame_set.depths.items() if name not in names})
