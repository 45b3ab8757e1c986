# SPDX-License-Identifier: Apache-2.0
"""The other end of ~/gaussians and ~/gaussians/updates: the rules of msg/Gaussian*.msg, once.

For whoever keeps a copy of the scene: a planner, a viewer, a recorder. No ROS inside.
"""
from __future__ import annotations

from igs_ros.io.codec.state import KeyArrays, UpdateArrays, apply_update


class SceneReceiver:
    """Follows a scene through keys and updates, however many of them are lost, late or repeated.

    A key of another scene_id replaces all that is held: the sender was reset or restarted. For
    one thread.
    """

    def __init__(self):
        self._key: KeyArrays | None = None
        self._held = (0, 0)  # scene_id and sequence of the newest state that is known
        self.shown: KeyArrays | None = None
        """The state to show; None before the first key."""
        self.stamp_ns = 0
        """When the frame set of `shown` was taken."""

    def take_key(self, key: KeyArrays, stamp_ns: int) -> bool:
        """Whether the key is new; it is shown unless it shows an older instant than `shown`."""
        scene_id, sequence = self._held
        anew = self._key is None or key.scene_id != scene_id
        if not anew and key.sequence <= sequence:
            return False
        self._key, self._held = key, (key.scene_id, key.sequence)
        if anew or stamp_ns >= self.stamp_ns:
            self.shown, self.stamp_ns = key, stamp_ns
        return True

    def take_update(self, update: UpdateArrays, stamp_ns: int) -> bool:
        """Whether the update is new and of the key that is held; then it is shown.

        Args:
            update: of `update_from_message`.
            stamp_ns: of the frame set that it shows.

        Raises:
            InputError: it is malformed; what is held stays.
        """
        key = self._key
        if key is None or (update.scene_id, update.base_sequence) != (key.scene_id, key.sequence) \
                or update.sequence <= self._held[1]:
            return False
        self.shown, self.stamp_ns = apply_update(key, update), stamp_ns
        self._held = (update.scene_id, update.sequence)
        return True
