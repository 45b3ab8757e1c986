# SPDX-License-Identifier: Apache-2.0
"""/diagnostics: how cameras, frame sets and scene are, with the numbers that say so.

By diagnostic_updater where it is installed; it has no wheel, and elsewhere the same is published
without it. docs/diagnostics.md lists the levels and what they follow from.
"""
from __future__ import annotations

import importlib
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median_high
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from igs_ros.core.status import State, Status
from igs_ros.live.camera_watch import CameraReport, CameraState
from igs_ros.live.set_watch import SetReport
from igs_ros.live.threads import PeriodicThread
from igs_ros.node.logs import with_traceback
from igs_ros.node.params import NodeConfig

PERIOD_S = 1.0
_USUAL_RATE = 0.8  # share of the median rate that a camera has to reach
_REPORTS = 10  # that shares of what was lost are about
OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
ERROR, STALE = DiagnosticStatus.ERROR, DiagnosticStatus.STALE
_CAMERA_LEVELS = {
    CameraState.OK: OK, CameraState.IMPLAUSIBLE: WARN,
    CameraState.REFUSED: ERROR, CameraState.UNDECODABLE: ERROR, CameraState.OUT_OF_TIME: ERROR,
    CameraState.NEVER_SEEN: STALE, CameraState.SILENT: STALE}
_SCENE_LEVELS = {State.STREAMING: OK, State.WAITING: WARN, State.BOOTSTRAP: WARN,
                 State.HOLDING: WARN, State.FAILED: ERROR, State.STALLED: STALE}
_OF_THE_SCENE = ('key_', 'polish_')  # drops without a camera that are no frame sets
Task = Callable[[DiagnosticStatus], DiagnosticStatus]


@dataclass(frozen=True)
class Known:
    """What there is to report at one moment."""

    status: Status
    drops: Mapping[str, int]  # of everything in front of the pipeline, by cause
    cameras: Mapping[str, CameraReport]
    sets: SetReport


class Diagnostics:
    """Publishes what `look` finds, from a thread of its own on a steady clock.

    Args:
        node: publishes, and its clock stamps the reports.
        settings: thresholds, and names of topics.
        look: called once for every report.
    """

    def __init__(self, node: Node, settings: NodeConfig, look: Callable[[], Known]):
        self._look = look
        self._settings = settings
        self._limits = settings.diagnostics
        self._scene_topic = node.resolve_topic_name('~/gaussians')
        self._known = Known(Status(), {}, {}, SetReport())
        # received and lost so far at the newest reports
        self._counts: deque[dict[str, tuple[int, int]]] = deque(maxlen=_REPORTS + 1)
        self._updater = _updater(node)
        self._updater.add('frame sets', self._frame_sets)
        self._updater.add('scene', self._scene)
        self._told: set[str] = set()  # the cameras that have a task
        self.thread = PeriodicThread('diagnostics', self._run_once, lambda error: (
            node.get_logger().error(with_traceback('diagnostics not published', error))))

    def change(self, settings: NodeConfig) -> None:
        """Go on with other settings."""
        self._settings, self._limits = settings, settings.diagnostics

    def _run_once(self) -> float:
        known = self._known = self._look()
        self._counts.append({
            '': (known.sets.complete + known.sets.partial, known.sets.partial),
            **{name: (report.received, report.unmatched + report.refused + report.implausible)
               for name, report in known.cameras.items()}})
        for name in self._told - set(known.cameras):
            self._updater.removeByName(f'camera {name}')
        for name in [name for name in known.cameras if name not in self._told]:
            self._updater.add(f'camera {name}', partial(self._camera, name))
        self._told = set(known.cameras)
        self._updater.force_update()
        return self._updater.period

    def _lost_share(self, name: str) -> float:
        """Of what came since ten reports ago, what was of no use; 0 where nothing came.

        name: of a camera; '' = frame sets, of which the partial ones count.
        """
        then, now = self._counts[0].get(name, (0, 0)), self._counts[-1][name]
        came = now[0] - then[0]
        return min(1.0, (now[1] - then[1]) / came) if came > 0 else 0.0

    # -- what is said -----------------------------------------------------------------------

    def _camera(self, name: str, status: DiagnosticStatus) -> DiagnosticStatus:
        report = self._known.cameras[name]
        share = self._lost_share(name)
        level, text = _CAMERA_LEVELS[report.state], report.message
        doubts = [] if level in (ERROR, STALE) else self._doubts(report, share)
        if doubts:
            level, text = WARN, '; '.join(filter(None, (text, *doubts)))
        text = text or f'{report.rate_hz:.1f} pictures per second'
        status.hardware_id = name
        text = text if report.topic in text else f'{report.topic}: {text}'
        return _filled(status, level, text, {
            'topic': report.topic, 'state': report.state.name, 'rate (Hz)': report.rate_hz,
            'age (s)': report.age_s, 'jitter (s)': report.jitter_s,
            'offset to the other cameras (s)': report.offset_s, 'received': report.received,
            'used': report.used, 'share lost lately': share, **self._drops_of(name),
            'last error': report.last_error, 'last error age (s)': report.last_error_age_s})

    def _doubts(self, report: CameraReport, share: float) -> list[str]:
        """What is below par of a camera that works."""
        limits, rates = self._limits, [one.rate_hz for one in self._known.cameras.values()
                                       if _CAMERA_LEVELS[one.state] != STALE
                                       and math.isfinite(one.rate_hz)]
        least_hz = limits.min_rate_hz or _USUAL_RATE * (median_high(rates) if rates else 0.0)
        found = []
        if report.age_s > limits.max_age_s:
            found.append(f'last picture {report.age_s:.1f} s ago, expected every '
                         f'{limits.max_age_s:g} s at least')
        if report.rate_hz < least_hz:
            found.append(f'{report.rate_hz:.1f} pictures per second, expected {least_hz:.1f}')
        if report.jitter_s > self._settings.max_wait_s:
            found.append(f'its pictures come with a jitter of {report.jitter_s:.3f} s, expected '
                         f'at most max_wait_s, {self._settings.max_wait_s:g} s')
        if abs(report.offset_s) > self._settings.max_spread_s:
            found.append(f'its stamps are {report.offset_s:+.3f} s off those of the other '
                         f'cameras, expected at most max_spread_s, '
                         f'{self._settings.max_spread_s:g} s')
        if share > limits.max_lost_share:
            causes = ', '.join(f'{name} {count}' for name, count
                               in self._drops_of(report.name).items())
            found.append(f'{share:.0%} of its pictures are of no use, expected at most '
                         f'{limits.max_lost_share:.0%}: {causes}')
        return found

    def _frame_sets(self, status: DiagnosticStatus) -> DiagnosticStatus:
        known, sets = self._known, self._known.sets
        share, limits = self._lost_share(''), self._limits
        topics = [report.topic for report in known.cameras.values()]
        more = f' and {len(topics) - 1} more' if len(topics) > 1 else ''
        faulty = [report.topic for report in known.cameras.values()
                  if report.state != CameraState.OK]
        level, text = OK, f'{sets.rate_hz:.1f} frame sets per second'
        if not sets.complete + sets.partial or sets.age_s > self._settings.stall_after_s:
            level, text = STALE, 'no frame set yet' if math.isnan(sets.age_s) \
                else f'no frame set for {sets.age_s:.1f} s'
        elif sets.age_s > limits.max_age_s:
            level, text = WARN, (f'the last frame set came {sets.age_s:.1f} s ago, expected every '
                                 f'{limits.max_age_s:g} s at least')
        elif share > limits.max_lost_share:
            level, text = WARN, (f'{share:.0%} of the frame sets lack a camera, expected at most '
                                 f'{limits.max_lost_share:.0%}')
        text += f' of {topics[0]}{more}' if topics else ''
        text += f'; look at {", ".join(faulty)}' if faulty else ''
        counts = {f'missing {name}': self._all_drops().get(f'missing:{name}', 0)
                  for name in known.cameras}
        return _filled(status, level, text, {
            'complete': sets.complete, 'partial': sets.partial, 'share partial lately': share,
            'rate (Hz)': sets.rate_hz, 'age (s)': sets.age_s,
            'mean spread (s)': sets.spread_mean_s, 'largest spread (s)': sets.spread_max_s,
            'cameras expected': known.status.cameras_expected,
            'cameras in the last one': known.status.cameras_in_last_set,
            'pictures that wait': known.status.queues.get('pictures', 0), **counts,
            **{f'drops {cause}': count for cause, count in self._all_drops().items()
               if ':' not in cause and not cause.startswith(_OF_THE_SCENE)}})

    def _scene(self, status: DiagnosticStatus) -> DiagnosticStatus:
        now = self._known.status
        shown = now.sequence > 0
        # without a clock nobody knows how old it is
        age_s = now.scene_age_s if shown and now.scene_age_s >= 0 else math.nan
        level, text = _SCENE_LEVELS[now.state], now.message
        if level == OK and age_s > self._limits.max_age_s:
            level, text = WARN, (f'the scene is {age_s:.1f} s old, expected at most '
                                 f'{self._limits.max_age_s:g} s')
        if level == OK and now.doubt:
            level = WARN
        text = text or f'{now.gaussians} Gaussians, {age_s:.2f} s old'
        text += f' (reduced: {now.reduced})' if now.reduced else ''
        stages = {f'{path} {name} (s)': getattr(times, f'{name}_s')
                  for path, times in now.stages.items() for name in ('p50', 'p95')}
        return _filled(status, level, f'{self._scene_topic}: {text}', {
            'state': now.state.name, 'scene age (s)': age_s, 'scene_id': now.scene_id,
            'sequence': now.sequence, 'Gaussians': now.gaussians,
            'share confirmed by a second camera': now.confirmed,
            'frame sets offered': now.frame_sets_offered,
            'frame sets processed': now.frame_sets_processed, 'keys refined': now.keys_refined,
            **{f'{stage}: rungs below full effort': rungs for stage, rungs in now.levels.items()},
            'resident memory (MB)': now.rss_mb, 'GPU memory (MB)': now.gpu_mb, **stages,
            **{f'drops {cause}': count for cause, count in self._all_drops().items()
               if cause.startswith(_OF_THE_SCENE)
               or (':' in cause and cause.partition(':')[2] not in self._known.cameras)}})

    def _all_drops(self) -> dict[str, int]:
        return {cause: count for cause, count
                in {**self._known.status.drops, **self._known.drops}.items() if count}

    def _drops_of(self, name: str) -> dict[str, int]:
        """The drops of a camera; `missing` counts frame sets and is not among them."""
        return {f'drops {cause.partition(":")[0]}': count
                for cause, count in self._all_drops().items()
                if cause.partition(':')[2] == name and not cause.startswith('missing:')}


def _filled(status: DiagnosticStatus, level: bytes, text: str, values: Mapping[str, Any],
            ) -> DiagnosticStatus:
    status.level, status.message = level, text
    status.values = [KeyValue(key=key, value=f'{value:.6g}' if isinstance(value, float)
                              else str(value)) for key, value in values.items()]
    return status


# -- with and without diagnostic_updater ----------------------------------------------------


def _updater(node: Node) -> Any:
    """diagnostic_updater's, called by us alone; ours where that package is not installed."""
    try:
        kind = importlib.import_module('diagnostic_updater').Updater
    except (ImportError, AttributeError) as error:  # or an empty folder of that name
        node.get_logger().info(f'diagnostic_updater is not installed ({error}): /diagnostics is '
                               f'published without it, with the same names and parameters')
        return PlainUpdater(node)
    updater = kind(node, PERIOD_S)
    updater.timer.cancel()  # it follows the clock of the node, which may stand still
    updater.setHardwareID('none')  # as it wants it said
    return updater


class PlainUpdater:
    """What is used here of diagnostic_updater's `Updater`, with its names and parameters."""

    def __init__(self, node: Node):
        self._node = node
        self.period: float = node.declare_parameter('diagnostic_updater.period', PERIOD_S).value
        by_full_name = node.declare_parameter('diagnostic_updater.use_fqn', False).value
        self._name = node.get_fully_qualified_name() if by_full_name else node.get_name()
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._tasks: dict[str, Task] = {}

    def add(self, name: str, task: Task) -> None:
        """Ask `task` to fill in each report called `name`."""
        self._tasks[name] = task

    def removeByName(self, name: str) -> bool:  # noqa: N802 (as there)
        """Whether there was a task of that name, which is asked no more."""
        return self._tasks.pop(name, None) is not None

    def force_update(self) -> None:
        """Publish the reports of all tasks."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [task(DiagnosticStatus(name=f'{self._name}: {name}', hardware_id='none'))
                        for name, task in self._tasks.items()]
        self._publisher.publish(array)
