# SPDX-License-Identifier: Apache-2.0
"""The scene at one instant, as every part of the pipeline hands it on, and views of it."""
from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene


@dataclass(frozen=True, eq=False)
class Moved:
    """A key scene, moved."""

    scene: GaussianScene  # same rows as the key; all but `rows` are equal to it bit for bit
    rows: np.ndarray  # [M] uint32 ascending: rows that moved, or changed in any other attribute
    stamp_ns: int  # of the frame set it shows


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The scene at one instant, with the key it came from."""

    scene: GaussianScene  # what to show: the key's rows, moved
    stamp_ns: int  # of the frame set that `scene` shows
    scene_id: int  # changes when the scene starts anew
    sequence: int  # counts keys and snapshots of one scene_id together
    key: GaussianScene
    key_stamp_ns: int  # of the frame set that `key` shows
    key_sequence: int  # that of the key itself, just below its first snapshot's
    moved_rows: np.ndarray  # [M] uint32: rows of the key that moved
    key_parents: np.ndarray | None = None
    # [len(key)] int64 row of the key before that a Gaussian is, or descends from, -1 = newborn;
    # None: nobody knows

    @property
    def is_new_key(self) -> bool:
        """Whether this is the first snapshot of its key."""
        return self.sequence == self.key_sequence + 1


def new_scene_id() -> int:
    """1 .. 2^32 - 1: what no other scene has been called, by this process or any before it.

    Random, not counted, and not from the seed: a receiver that outlives the node must not take the
    new scene for more of the old one, and the clock of a robot may start at the same time again.
    """
    return 1 + secrets.randbelow(2 ** 32 - 1)


def first_snapshot(scene: GaussianScene, stamp_ns: int, scene_id: int = 1) -> Snapshot:
    """The first snapshot of a scene: the key itself.

    Args:
        scene: the first key.
        stamp_ns: of the frame set that it shows.
        scene_id: of all snapshots to come; see `new_scene_id`.
    """
    return Snapshot(scene, stamp_ns, scene_id, 2, scene, stamp_ns, 1, np.zeros(0, np.uint32))


def advanced(last: Snapshot, moved: Moved) -> Snapshot:
    """The next snapshot: the same key, moved further."""
    return Snapshot(moved.scene, moved.stamp_ns, last.scene_id, last.sequence + 1, last.key,
                    last.key_stamp_ns, last.key_sequence, moved.rows, last.key_parents)


def with_new_key(last: Snapshot, key: GaussianScene, key_stamp_ns: int, moved: Moved,
                 parents: np.ndarray | None = None) -> Snapshot:
    """The next snapshot: a new key, moved to what is shown now.

    Args:
        last: the snapshot before.
        key: the new key scene.
        key_stamp_ns: of the frame set that `key` shows.
        moved: `key`, moved to the frame set that is shown now.
        parents: [len(key)] int64 row of the key before that each comes from, -1 = newborn; None =
            nobody knows.
    """
    return Snapshot(moved.scene, moved.stamp_ns, last.scene_id, last.sequence + 2, key,
                    key_stamp_ns, last.sequence + 1, moved.rows, parents)


@dataclass(frozen=True, eq=False)
class View:
    """What one camera sees of one scene."""

    rgb: np.ndarray  # [H, W, 3] float32, sRGB 0..1
    depth: np.ndarray  # [H, W] float32, m along the optical axis, NaN = nothing there
    alpha: np.ndarray  # [H, W] float32 0..1
    camera: Camera
    stamp_ns: int  # of the frame set that the scene shows
    age_s: float = 0.0  # of that frame set when the view was rendered, in seconds
    confidence: np.ndarray | None = None  # [H, W] float32 0..1 (docs/confidence.md); None: not
    # asked for
    known_depth: np.ndarray | None = None  # [H, W] float32 as `depth`, NaN where not known either

    def pixels(self) -> np.ndarray:
        """[H, W, 3] uint8 colors."""
        return np.rint(self.rgb * 255).astype(np.uint8)
