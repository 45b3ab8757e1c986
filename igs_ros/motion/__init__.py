# SPDX-License-Identifier: Apache-2.0
"""Motion models: they move a key scene to a newer frame set.

A model is made once per run. For every key scene the pipeline asks it for a `Follower`, which
moves that key, and only that key, to newer frame sets. Followers of one model share what does not
depend on the key (the flow between processed frame sets), so a freshly refined key can be moved
to the newest frame set at little cost. Making and using followers from two threads is safe.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from igs_ros.camera import Camera
from igs_ros.config import MotionConfig
from igs_ros.errors import InputError
from igs_ros.frames import FrameSet
from igs_ros.motion.region import read_box
from igs_ros.raster import Rasterizer
from igs_ros.scene import GaussianScene

NAMES = ('static', 'geometric', 'agm')


@dataclass(frozen=True, eq=False)
class Moved:
    """A key scene, moved."""

    scene: GaussianScene  # same rows as the key; rows that did not move are equal bit for bit
    rows: np.ndarray  # [M] uint32 ascending: rows of the key that moved
    stamp_ns: int  # of the frame set it shows


class Follower(Protocol):
    """Moves one key scene."""

    scene: GaussianScene  # the key
    frame_set: FrameSet  # prepared; what the key shows

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to `frame_set` (prepared, newer than the last one given, or equal)."""
        ...


class MotionModel(Protocol):
    """Makes followers; counts what went wrong."""

    name: str
    counts: dict[str, int]  # e.g. chain_breaks, views_missing

    def observe(self, frame_set: FrameSet) -> None:
        """Note that the motion clock has processed `frame_set` (prepared), in time order."""
        ...

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> Follower:
        """A follower of the key `scene`, which shows `frame_set` (prepared, maybe not the newest).
        """
        ...


def choose(name: str, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
           config: MotionConfig) -> MotionModel:
    """The motion model `name` for a rig of working cameras; raises `InputError`."""
    if name == 'static':
        from igs_ros.motion.static import StaticMotion
        return StaticMotion()
    if name == 'geometric':
        from igs_ros.motion.geometric import GeometricMotion
        return GeometricMotion(cameras, rasterizer, config)
    if name == 'agm':
        from igs_ros.motion.agm.model import AgmMotion
        return AgmMotion(cameras, rasterizer, config,
                         _agm_net(config.weights, config.double_division))
    raise InputError(f"motion model '{name}' is unknown; expected {', '.join(NAMES)}.")


def check(name: str, config: MotionConfig) -> None:
    """Raise the `InputError` of `choose`, before there are cameras and a scene."""
    if name not in NAMES:
        raise InputError(f"motion model '{name}' is unknown; expected {', '.join(NAMES)}.")
    if name == 'agm':
        read_box(config.bbox)
        _agm_net(config.weights, config.double_division)


@lru_cache(maxsize=1)  # a scene that starts anew must not need the files again
def _agm_net(folder: str, double_division: bool):
    from igs_ros.motion.agm import weights  # heavy: only for those who use it
    if not folder:
        raise InputError('motion agm needs weights, and none are given; set --weights DIR '
                         '(parameter motion_model.weights) to the folder of the published files, '
                         'or use --motion geometric, which needs none.')
    return weights.load(folder, double_division)
