# SPDX-License-Identifier: Apache-2.0
"""The scene of a running node, in the process of somebody else."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.receiver import Missed, SceneReceiver
from igs_ros.io.codec.state import key_from_message, scene_from, update_from_message
from igs_ros.msg import GaussianCloud, GaussianUpdate
from igs_ros.node.convert import nanoseconds

_KEY_LATE_S = 5.0  # a key of which updates came comes sooner
_AGAIN_S = 10.0  # a warning that lasts


@dataclass(frozen=True, eq=False)
class SceneState:
    """The scene at one instant; never changed once it is there."""

    gaussians: GaussianScene
    stamp_ns: int  # of the frame set that it shows
    frame_id: str  # the world frame
    scene_id: int  # changes when the scene starts anew
    sequence: int  # counts the states of one scene_id


class SceneSubscriber:
    """Keeps up with the scene of a running node, whatever is lost, late or repeated.

    It may start before the node, while it runs, or again; when the node is reset or restarted, the
    first key of the new scene replaces the old one. All methods are safe to use from any thread.

    Args:
        node: any node, spun by any executor; the callbacks get a group of their own.
        on_scene: called with every new state, in the thread of the executor, one at a time.
        topic: `~/gaussians` of the node to follow; its updates come on `topic`/updates.
        device: where the Gaussians go.
    """

    def __init__(self, node: Node, on_scene: Callable[[SceneState], object] | None = None, *,
                 topic: str = '/igs/gaussians', device: torch.device | str = 'cpu'):
        self._node = node
        self._on_scene = on_scene
        self._device = device
        self._topic = node.resolve_topic_name(topic)
        self._lock = threading.Lock()
        self._receiver = SceneReceiver()
        self._frame_id = ''
        self._state: SceneState | None = None  # made when somebody wants it
        self._awaits_since_s: float | None = None
        group = MutuallyExclusiveCallbackGroup()
        # as the node publishes them: whoever comes late still gets the newest key
        self._subscriptions = [
            node.create_subscription(GaussianCloud, self._topic, self._on_key,
                                     _newest(DurabilityPolicy.TRANSIENT_LOCAL),
                                     callback_group=group),
            node.create_subscription(GaussianUpdate, f'{self._topic}/updates', self._on_update,
                                     _newest(DurabilityPolicy.VOLATILE), callback_group=group)]

    def scene(self) -> SceneState | None:
        """The newest state; None before the first key."""
        with self._lock:
            shown, held = self._receiver.shown, self._state
            if shown is None:
                return None
            if held is None or (held.scene_id, held.sequence) != (shown.scene_id, shown.sequence):
                self._state = SceneState(scene_from(shown, self._device), self._receiver.stamp_ns,
                                         self._frame_id, shown.scene_id, shown.sequence)
            return self._state

    def missed(self) -> Missed:
        """What was not shown so far, by cause."""
        with self._lock:
            return replace(self._receiver.missed)

    def close(self) -> None:
        """Follow the node no longer; the newest state stays."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _on_key(self, message: GaussianCloud) -> None:
        self._take(message, self._topic, lambda: self._receiver.take_key(
            key_from_message(message), nanoseconds(message.header.stamp)))

    def _on_update(self, message: GaussianUpdate) -> None:
        self._take(message, f'{self._topic}/updates', lambda: self._receiver.take_update(
            update_from_message(message), nanoseconds(message.header.stamp)))

    def _take(self, message: GaussianCloud | GaussianUpdate, topic: str,
              take: Callable[[], bool]) -> None:
        with self._lock:
            before = self._receiver.shown
            problem = ''
            try:
                take()
            except InputError as error:
                self._receiver.missed.refused += 1
                problem = f'{topic}: {error}'
            is_new = self._receiver.shown is not before
            if is_new:
                self._frame_id = message.header.frame_id
            problem = problem or self._late_key()
        if problem:
            self._node.get_logger().warning(problem, throttle_duration_sec=_AGAIN_S)
        if is_new and self._on_scene is not None and (state := self.scene()) is not None:
            self._on_scene(state)

    def _late_key(self) -> str:
        """What to say of a key that does not come, though its updates do; '' = nothing."""
        awaited, now = self._receiver.awaited, time.monotonic()
        if awaited is None:
            self._awaits_since_s = None
            return ''
        if self._awaits_since_s is None:
            self._awaits_since_s = now
        waited_s = now - self._awaits_since_s
        if waited_s < _KEY_LATE_S:
            return ''
        return (f'{self._topic}/updates: updates of key {awaited[0]}/{awaited[1]} '
                f'(scene_id/sequence) have come for {waited_s:.0f} s, but not that key on '
                f'{self._topic}; what is shown is older. Whatever stands between the nodes must '
                f'pass {self._topic} on reliable and transient local.')


def _newest(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, durability=durability,
                      reliability=ReliabilityPolicy.RELIABLE)
