# SPDX-License-Identifier: Apache-2.0
"""The other end of ~/gaussians and ~/gaussians/updates: the rules of msg/Gaussian*.msg, once.

For whoever keeps a copy of the scene: a planner, a viewer, a recorder. No ROS inside.
"""
from __future__ import annotations

from dataclasses import dataclass

from igs_ros.io.codec.state import KeyArrays, UpdateArrays, apply_update


@dataclass
class Missed:
    """What was never shown; counts since the receiver was made."""

    states: int = 0
    """Numbers left out in the sequence of a scene: overtaken by newer ones before they were sent,
    or lost."""
    updates_without_key: int = 0
    """Updates whose key had not come when the next one came."""
    old: int = 0
    """Messages that came late or twice: a newer state was there."""
    refused: int = 0
    """Malformed messages."""
    scenes: int = 0
    """Times that the scene began anew: the node was reset, or restarted."""


class SceneReceiver:
    """Follows a scene through keys and updates, however many of them are lost, late or repeated.

    A key of another scene_id replaces all that is held: the sender was reset or restarted. For
    one thread.
    """

    def __init__(self):
        self._key: KeyArrays | None = None
        self._held = (0, 0)  # scene_id and sequence of the newest state that is known
        self._early: tuple[UpdateArrays, int] | None = None  # the newest that waits for its key
        self.shown: KeyArrays | None = None
        """The state to show; None before the first key."""
        self.stamp_ns = 0
        """When the frame set of `shown` was taken."""
        self.missed = Missed()

    @property
    def awaited(self) -> tuple[int, int] | None:
        """scene_id and sequence of the key that an update waits for."""
        return self._early and (self._early[0].scene_id, self._early[0].base_sequence)

    def take_key(self, key: KeyArrays, stamp_ns: int) -> bool:
        """Whether the key is new; it is shown unless it shows an older instant than `shown`.

        An update that came before it is then applied.

        Raises:
            InputError: that update is malformed; the key is held all the same.
        """
        scene_id, sequence = self._held
        anew = self._key is None or key.scene_id != scene_id
        if not anew and key.sequence <= sequence:
            self.missed.old += 1
            return False
        if not anew:
            self.missed.states += self._left_out(key.sequence)
        elif self._key is not None:
            self.missed.scenes += 1
        self._key, self._held = key, (key.scene_id, key.sequence)
        if anew or stamp_ns >= self.stamp_ns:
            self.shown, self.stamp_ns = key, stamp_ns
        if self._early is not None and self.awaited == self._held:
            early, self._early = self._early, None
            self.take_update(*early)
        return True

    def take_update(self, update: UpdateArrays, stamp_ns: int) -> bool:
        """Whether the update is new and of the key that is held; then it is shown.

        One whose key is not there waits for it, until the next one comes.

        Raises:
            InputError: it is malformed; what is held stays.
        """
        key = self._key
        if key is not None and update.scene_id == key.scene_id \
                and update.sequence <= self._held[1]:
            self.missed.old += 1
            return False
        if key is None or (update.scene_id, update.base_sequence) != (key.scene_id, key.sequence):
            self.missed.updates_without_key += self._early is not None
            self._early = (update, stamp_ns)
            return False
        self.shown, self.stamp_ns = apply_update(key, update), stamp_ns
        self.missed.states += self._left_out(update.sequence)
        self._held = (update.scene_id, update.sequence)
        if self._early is not None:  # from before: a straggler of another scene
            self.missed.updates_without_key += 1
            self._early = None
        return True

    def _left_out(self, sequence: int) -> int:
        """States between the one that is held and `sequence`.

        A key takes two numbers, of which the second is sent only where it shows more.
        """
        held = self._held[1]
        unsent = self._key is not None and held == self._key.sequence
        return max(0, sequence - held - 1 - unsent)
