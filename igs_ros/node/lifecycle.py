# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node whose work is one object: made by configure, forgotten by cleanup.

The publishers are plain ones: those of rclpy's lifecycle only drop what is published while the
node is inactive, and here nothing is rendered or packed then, as the threads that do so rest.
"""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, Generic, Protocol, TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from igs_ros.core.errors import InputError
from igs_ros.node.logs import with_traceback

SUCCESS, FAILURE, ERROR = (TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE,
                           TransitionCallbackReturn.ERROR)


class Work(Protocol):
    """What a configured node has."""

    def start(self) -> None:
        """Take inputs and give outputs."""
        ...

    def stop(self) -> None:
        """Rest, but keep everything; nothing happens where it rests already."""
        ...

    def close(self) -> None:
        """End for good."""
        ...


def _own(argument: Any) -> Any:  # of whatever type
    """A copy of a QoS profile: rclpy writes what is overridden into the one that it is given."""
    return copy(argument) if isinstance(argument, QoSProfile) else argument


WorkType = TypeVar('WorkType', bound=Work)


class ManagedNode(LifecycleNode, Generic[WorkType]):
    """The transitions of a node; what it does is its `work`, None while it is unconfigured.

    Whatever the work creates on the node (publishers, subscriptions, timers, parameters) is
    destroyed with it. The QoS of its topics may be overridden by parameters, as rclpy has it:
    `qos_overrides./igs/points.publisher.reliability`.
    """

    _overridable = False  # what the node itself has is made before

    def __init__(self, name: str, **node_options: Any):  # of rclpy's Node
        super().__init__(name, **node_options)
        self.work: WorkType | None = None
        self._failure: Exception | None = None  # of the last transition
        self._by_program = False  # which raises what goes wrong
        self._overridable = True
        self._kept: list[set] = [set() for _ in self._entities()]  # which outlive any work

    @abstractmethod
    def make_work(self) -> WorkType:
        """Check the settings and make what they ask for.

        Raises:
            InputError: the settings cannot work.
        """

    def create_publisher(self, *arguments: Any, **options: Any) -> Publisher[Any]:
        """As rclpy has it, with QoS that may be overridden."""
        return super().create_publisher(*map(_own, arguments), **self._with_overrides(options))

    def create_subscription(self, *arguments: Any, **options: Any) -> Subscription[Any]:
        """As rclpy has it, with QoS that may be overridden."""
        return super().create_subscription(*map(_own, arguments),
                                           **self._with_overrides(options))

    def _with_overrides(self, options: dict[str, Any]) -> dict[str, Any]:
        chosen = {'qos_overriding_options': QoSOverridingOptions.with_default_policies()} \
            if self._overridable else {}
        return {**chosen, **options}

    # -- by the program -------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate.

        Raises:
            InputError: what the user gave cannot work.
            Exception: whatever else goes wrong.
        """
        self._by_program, self._failure = True, None
        try:
            for transition in self.trigger_configure, self.trigger_activate:
                if transition() != SUCCESS:
                    raise self._failure or RuntimeError(f'the node is {self.state}')
        finally:
            self._by_program = False

    def close(self) -> None:
        """End the work, in whatever state."""
        if self.work is not None:
            self._end(self.work)

    @property
    def state(self) -> str:
        """Its lifecycle state: unconfigured, inactive, active or finalized."""
        return self._state_machine.current_state[1]

    # -- transitions ----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the work; what the user gave and cannot work leaves the node unconfigured."""
        return self._do(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start it."""
        return self._do(lambda work: work.start())

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Have it rest."""
        return self._do(lambda work: work.stop())

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget it."""
        return self._do(self._end)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget it, for good."""
        return SUCCESS if self.work is None else self._do(self._end)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error of the program: begin anew, unconfigured."""
        if self.work is not None:
            self._do(self._end)
        self.work = None
        return SUCCESS

    def _do(self, step: Callable[[Any], None]) -> TransitionCallbackReturn:
        try:
            step(self.work)
        except InputError as error:
            self._failure = error
            if not self._by_program:
                self.get_logger().error(f'not done, the node stays as it was: {error}')
            return FAILURE
        except Exception as error:  # rclpy would not say a word
            self._failure = error
            self.get_logger().error(with_traceback(
                'internal error in a transition, please report it', error))
            return ERROR
        return SUCCESS

    def _configure(self, _: WorkType | None) -> None:
        self._kept = [set(entities) for entities, _ in self._entities()]
        try:
            self.work = self.make_work()
        except Exception:
            self._destroy_made()
            raise

    def _end(self, work: WorkType) -> None:
        self.work = None
        try:
            work.close()
        finally:
            self._destroy_made()

    def _entities(self) -> list[tuple[list, Callable[[Any], object]]]:
        return [(list(self.subscriptions), self.destroy_subscription),
                (list(self.timers), self.destroy_timer),
                (list(self.publishers), self.destroy_publisher),
                (list(self.clients), self.destroy_client),
                (list(self.services), self.destroy_service),
                (list(self.list_parameters([], 0).names), self._undeclare)]

    def _undeclare(self, name: str) -> None:
        if not self.describe_parameter(name).read_only:  # as QoS is: rclpy keeps that
            self.undeclare_parameter(name)

    def _destroy_made(self) -> None:
        for kept, (entities, destroy) in zip(self._kept, self._entities(), strict=True):
            for entity in entities:
                if entity not in kept:
                    destroy(entity)
