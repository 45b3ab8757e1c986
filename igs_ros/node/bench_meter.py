# SPDX-License-Identifier: Apache-2.0
"""The node as `igs bench node` runs it: its callbacks timed, its CPU time told apart by thread.

Measures from `--warm-up` s after the first scene on for `--seconds`, writes the figures as JSON
to `--out`, and ends.
"""
from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from igs_ros.node.environment import exit_without_ros

if __name__ == '__main__':
    exit_without_ros('bench_meter')  # the import below may end the process

import numpy as np
import rclpy
import tyro
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from rclpy.utilities import remove_ros_args

from igs_ros.core.errors import InputError
from igs_ros.core.files import replaced
from igs_ros.core.machine import tune_process
from igs_ros.core.signals import ShutdownFlag
from igs_ros.io.pictures import EncodedPicture
from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.planning import PlannerScene, Planning
from igs_ros.node.reconstruct import ReconstructNode

ENGINE = ('motion', 'refine')  # threads of Python that are the engine
# so do the threads of pools begin, by where they are counted; what is decoded is told apart
_POOLS = {'raster': 'workers', 'prepare': 'motion'}
_DDS = 'dds'  # so do those of Fast DDS
# what is drawn or worked out for an output, in that output's thread: the engine's, too
_DRAWING = ((LivePipeline, 'view'),)
_PLANNING = ((Planning, 'look'), *((PlannerScene, name) for name in (
    'points', 'moving', 'occupied', 'grid')))


@dataclass
class Callbacks:
    """What callbacks take, by name: CPU and wall, s."""

    cpu_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wall_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def call(self, name: str, callback: Callable, *arguments: Any) -> Any:
        """Call `callback` and note what it took."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        try:
            return callback(*arguments)
        finally:
            self.cpu_s[name].append(time.thread_time() - cpu_s)
            self.wall_s[name].append(time.perf_counter() - wall_s)

    def clear(self) -> None:
        """Begin anew."""
        self.cpu_s.clear()
        self.wall_s.clear()

    def report(self) -> dict[str, dict[str, float]]:
        """Number and ms of CPU and wall time by name."""
        return {name: {'count': len(cpu), **_percentiles('cpu', cpu),
                       **_percentiles('wall', self.wall_s[name])}
                for name, cpu in sorted(self.cpu_s.items())}


def _percentiles(clock: str, seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
    return {f'{clock}_p50_ms': p50, f'{clock}_p99_ms': p99, f'{clock}_max_ms': max(seconds) * 1e3}


class MeasuredNode(ReconstructNode):
    """A node that times its callbacks."""

    def __init__(self, callbacks: Callbacks):
        self._timed = callbacks
        super().__init__()

    def create_subscription(self, msg_type: Any, topic: str, callback: Callable, *arguments: Any,
                            **options: Any) -> Subscription:
        """As rclpy's.

        Args:
            msg_type: class of the messages.
            topic: their topic; its last part and the class name the callback.
            callback: gets the messages, and is timed.
            *arguments: further ones of rclpy's.
            **options: further ones of rclpy's.
        """
        name = f'{topic.rsplit("/", 1)[-1]} ({msg_type.__name__})'
        return super().create_subscription(
            msg_type, topic, lambda message: self._timed.call(name, callback, message),
            *arguments, **options)

    def create_timer(self, timer_period_sec: float, callback: Callable, *arguments: Any,
                     **options: Any) -> Timer:
        """As rclpy's.

        Args:
            timer_period_sec: s.
            callback: called without arguments, and timed by its name.
            *arguments: further ones of rclpy's.
            **options: further ones of rclpy's.
        """
        name = f'timer {getattr(callback, "__name__", callback)}'
        return super().create_timer(
            timer_period_sec, lambda: self._timed.call(name, callback), *arguments, **options)

    def processed(self) -> int:
        """Frame sets that the scene has followed so far."""
        pipeline = self.work.pipeline if self.work is not None else None
        return pipeline.status().frame_sets_processed if pipeline is not None else 0


class Parts:
    """CPU time of parts of the work, in whatever thread; the outermost part counts."""

    def __init__(self):
        self._lock = threading.Lock()
        self._done_s: dict[str, float] = defaultdict(float)
        self._open: dict[int, tuple[str, float]] = {}  # by thread: part, CPU time at its begin

    def measure(self, part: str, owner: type, name: str) -> None:
        """Count the CPU time of a method from now on.

        Args:
            part: name that it is counted under.
            owner: class of the method, which is replaced there.
            name: of the method.
        """
        method = getattr(owner, name)

        @functools.wraps(method)
        def measured(*arguments: Any, **options: Any):
            thread = threading.get_native_id()
            if thread in self._open:
                return method(*arguments, **options)
            self._open[thread] = part, time.thread_time()
            try:
                return method(*arguments, **options)
            finally:
                with self._lock:
                    self._done_s[part] += time.thread_time() - self._open.pop(thread)[1]
        setattr(owner, name, measured)

    def spent_s(self) -> dict[str, float]:
        """CPU time so far by part, s, with what is at work now."""
        with self._lock:
            spent = self._done_s.copy()
            for thread, (part, begun_s) in self._open.copy().items():
                spent[part] += thread_cpu_s(thread) - begun_s
        return spent


def thread_cpu_s(thread: int) -> float:
    """CPU time of a thread of this process by its native id, s; `OSError` where it has ended."""
    return time.clock_gettime(~thread << 3 | 6)  # CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD


def cpu_by_thread() -> dict[str, float]:
    """CPU time so far of this process's threads, s, by name.

    Threads of Python by their names ('MainThread' spins the executor), those of Fast DDS together
    as 'middleware', all others (the rasterizer's pools) as 'workers'.
    """
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    spent: dict[str, float] = defaultdict(float)
    for task in map(int, os.listdir('/proc/self/task')):
        try:
            comm = Path(f'/proc/self/task/{task}/comm').read_text()
            seconds = thread_cpu_s(task)
        except OSError:
            continue  # it has ended
        name = named.get(task) or ('middleware' if comm.startswith(_DDS) else 'workers')
        spent[next((where for pool, where in _POOLS.items() if name.startswith(pool)),
                   name)] += seconds
    return spent


def since(now_s: Mapping[str, float], before_s: Mapping[str, float]) -> dict[str, float]:
    """What was added by name."""
    return {name: seconds - before_s.get(name, 0.0) for name, seconds in now_s.items()}


def shares(threads_s: Mapping[str, float], parts_s: Mapping[str, float], wall_s: float
           ) -> dict[str, Any]:
    """Percent of one core: `but_engine` in all and by part, and the engine's.

    Args:
        threads_s: CPU time by thread, s.
        parts_s: CPU time of 'decoding', 'drawing' and 'planning', s.
        wall_s: the time that it was spent in, s.
    """
    threads, part = ({name: 100 * spent / wall_s for name, spent in times.items()}
                     for times in (threads_s, parts_s))
    engine = {name: threads.pop(name, 0.0) for name in (*ENGINE, 'workers')}
    decoding, drawing, planning = (part.get(name, 0.0) for name in (
        'decoding', 'drawing', 'planning'))
    executor, middleware = (threads.pop(name, 0.0) for name in ('MainThread', 'middleware'))
    outputs = sum(threads.values()) - drawing - planning
    engine['motion'] -= decoding
    return {'but_engine': executor + middleware + decoding + outputs,
            'executor': executor, 'middleware': middleware, 'decoding': decoding,
            'outputs': outputs, 'engine': {**engine, 'drawing': drawing, 'planning': planning},
            'output_threads': threads}


@dataclass(frozen=True)
class Measured:
    """What this program takes."""

    out: Path
    seconds: float
    warm_up: float


def _measure(node: MeasuredNode, callbacks: Callbacks, options: Measured, stop: ShutdownFlag
             ) -> dict[str, Any] | None:
    """Spin `node` until all is measured; None when interrupted."""
    parts = Parts()
    for part, methods in (('decoding', ((EncodedPicture, 'decode'),)), ('drawing', _DRAWING),
                          ('planning', _PLANNING)):
        for owner, name in methods:
            parts.measure(part, owner, name)
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin(seconds: float) -> bool:
        """Whether nobody interrupted it."""
        end_s = time.monotonic() + seconds
        while not stop and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.05)
        return not stop
    while not node.processed():
        if not spin(0.1):
            return None
    if not spin(options.warm_up):
        return None
    callbacks.clear()
    begun_s, processed = time.monotonic(), node.processed()
    threads_s, parts_s = cpu_by_thread(), parts.spent_s()
    if not spin(options.seconds):
        return None
    wall_s = time.monotonic() - begun_s
    return {'seconds': wall_s, 'frame_sets_hz': (node.processed() - processed) / wall_s,
            'load': os.getloadavg()[0], 'callbacks': callbacks.report(),
            'share_pct': shares(since(cpu_by_thread(), threads_s), since(parts.spent_s(), parts_s),
                                wall_s)}


def main(arguments: list[str] | None = None) -> int:
    """Run the node and measure; the exit code."""
    arguments = ['bench_meter', *(sys.argv[1:] if arguments is None else arguments)]
    options = tyro.cli(Measured, prog='bench_meter', args=remove_ros_args(arguments)[1:])
    tune_process()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop, callbacks, node = ShutdownFlag(), Callbacks(), None
    try:
        node = MeasuredNode(callbacks)
        node.start()
        found = _measure(node, callbacks, options, stop)
        if found is not None:
            with replaced(options.out) as draft:
                draft.write_text(json.dumps(found))
        return 0
    except InputError as error:
        print(f'bench_meter: {error}', file=sys.stderr)
        return 2
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
