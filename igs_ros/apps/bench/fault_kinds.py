# SPDX-License-Identifier: Apache-2.0
"""The faults that `igs bench faults` injects into the pictures of a rig."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Pictures = Mapping[str, np.ndarray]  # uint8 RGB [H, W, 3] by camera
Strange = Callable[[int, tuple[int, int]], np.ndarray]  # of a frame, and the size W, H
_DARK, _LENS_CAP = 4, 45  # of 255, mean level of what is recorded
_NOISE = 2.0  # of 255, standard deviation of the noise in it
_GAIN = 0.3  # of a light that is switched off


@dataclass(frozen=True)
class Fault:
    """What goes wrong. `apply(pictures, before, number)`: the pictures of frame `number` with it.

    before: the pictures of the last frame without it.
    """

    name: str
    meaning: str
    apply: Callable[[Pictures, Pictures, int], Pictures]
    faulty: Callable[[tuple[str, ...]], set[str]]
    """The cameras that show it, of those given."""
    times: int = 1
    """How often it comes, with pauses."""
    long: bool = False
    """It stays for ten seconds."""


def faults(strange: Strange | None = None) -> dict[str, Fault]:
    """All faults by name.

    Args:
        strange: pictures of another scene; None: the scene's own, upside down, in other colors.
    """
    def another(now: Pictures, _, number: int) -> Pictures:
        return {name: strange(number, image.shape[1::-1]) if strange else image[::-1, :, ::-1]
                for name, image in now.items()}

    def one(change: Callable[[np.ndarray, np.ndarray, int], np.ndarray]):
        def apply(now: Pictures, before: Pictures, number: int) -> Pictures:
            name = next(iter(now))
            return {**now, name: change(now[name], before[name], number)}
        return apply

    def first(names):
        return set(names[:1])
    dark = Fault('dark', 'all pictures dark', _dark, set)
    return {fault.name: fault for fault in (
        dark,
        Fault('dark-one', 'the first camera dark', one(lambda x, _, k: _noisy(x, _DARK, k)),
              first),
        Fault('scene', 'another scene', another, set),
        Fault('scene-10s', 'another scene for ten seconds', another, set, long=True),
        Fault('swapped', 'the first two cameras swapped', _swapped, lambda names: set(names[:2])),
        Fault('rotated', 'every camera shows the next one', _rotated, set),
        Fault('covered', 'the first lens covered', one(lambda x, _, k: _noisy(x, _LENS_CAP, k)),
              first),
        Fault('half', 'half of the first lens covered', one(_half_covered), first),
        Fault('light', 'light switched off and on: a gain of 0.3', _dimmed, set),
        Fault('light-10s', 'light off for ten seconds', _dimmed, set, long=True),
        Fault('frozen', 'the first camera repeats its last picture', one(lambda _, old, __: old),
              first),
        Fault('dark-3', 'all pictures dark, three times', _dark, set, times=3))}


def _noisy(like: np.ndarray, level: float, number: int) -> np.ndarray:
    """A picture of one level, with sensor noise of its own."""
    noise = np.random.default_rng(number).normal(level, _NOISE, like.shape)
    return noise.clip(0, 255).astype(np.uint8)


def _dark(now: Pictures, _: Pictures, number: int) -> Pictures:
    return {name: _noisy(image, _DARK, number) for name, image in now.items()}


def _half_covered(image: np.ndarray, _: np.ndarray, number: int) -> np.ndarray:
    half = image.shape[1] // 2
    return np.concatenate([_noisy(image[:, :half], _LENS_CAP, number), image[:, half:]], 1)


def _dimmed(now: Pictures, _: Pictures, __: int) -> Pictures:
    return {name: (image * _GAIN).astype(np.uint8) for name, image in now.items()}


def _swapped(now: Pictures, _: Pictures, __: int) -> Pictures:
    left, right = list(now)[:2]
    return {**now, left: now[right], right: now[left]}


def _rotated(now: Pictures, _: Pictures, __: int) -> Pictures:
    names = list(now)
    return {name: now[other] for name, other in zip(names, names[1:] + names[:1], strict=True)}
