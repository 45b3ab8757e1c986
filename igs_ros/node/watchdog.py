# SPDX-License-Identifier: Apache-2.0
"""Looks after inputs and clock, on a steady clock; says once what begins and what ends."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from igs_ros.live.camera_watch import CameraReport, CameraState
from igs_ros.node.logs import RosLogger

CLOCK_S = 5.0
"""How long the node's clock may stand still."""
_AGAIN_S = (10.0, 60.0)  # "no frame set" is repeated after the first, then ever later to the last
_FAULT_AGAIN_S = 10.0  # a fault that comes and goes is not told more often
# told by others: by the complaint about the message or the picture
_TOLD_ELSEWHERE = (CameraState.REFUSED, CameraState.UNDECODABLE, CameraState.IMPLAUSIBLE)
_AWAY = (CameraState.NEVER_SEEN, CameraState.SILENT)


class Watchdog:
    """What the inputs lack. Call `look` about once a second, from one thread.

    Args:
        log: with `info` and `warning`.
        stall_after_s: how long pictures may stay away, s.
        simulated_ns: the node's clock in ns while it follows /clock, None while it does not.
        now: a steady clock, s.
    """

    def __init__(self, log: RosLogger, stall_after_s: float,
                 simulated_ns: Callable[[], int | None],
                 now: Callable[[], float] = time.monotonic):
        self._log = log
        self._limit_s = stall_after_s
        self._simulated_ns = simulated_ns
        self._now = now
        self.begin()
        self._ns: int | None = None
        self._said: dict[str, CameraState] = {}  # the fault of each camera that was told
        self._said_s: dict[tuple[str, CameraState], float] = {}
        self.missing = ''  # why no frame sets come, '' = they do
        self.clock = ''  # what is wrong with the clock, '' = nothing

    def begin(self) -> None:
        """Inputs are taken from now on."""
        self._begun_s = self._set_s = self._ticked_s = self._now()
        self._again_s, self._pause_s = self._now(), _AGAIN_S[0]

    def set_came(self) -> None:
        """A frame set came."""
        self._set_s, self._pause_s = self._now(), _AGAIN_S[0]
        if self.missing:
            self.missing = ''
            self._log.info('frame sets are coming again')

    def look(self, reports: Mapping[str, CameraReport]) -> None:
        """See what is missing, and say so."""
        now = self._now()
        self._look_at_clock(now)
        waited_s = now - self._set_s
        if waited_s > self._limit_s:
            self._without_sets(waited_s, now, reports)
        for name, report in reports.items():
            # where all cameras stop, one line says it: that of the frame sets
            self._look_at(name, report, now, may_warn=waited_s < self._limit_s / 2
                          and now - self._begun_s > self._limit_s)

    def _without_sets(self, waited_s: float, now: float, reports: Mapping[str, CameraReport],
                      ) -> None:
        first = not self.missing
        self.missing = f'no frame set for {waited_s:.0f} s: ' + '; '.join(
            f"camera '{name}': {_described(report)}" for name, report in reports.items())
        if first or now >= self._again_s:
            self._log.warning(f'{self.missing}. Check the cameras, max_spread_s and min_cameras.')
            self._again_s, self._pause_s = now + self._pause_s, min(2 * self._pause_s,
                                                                    _AGAIN_S[1])

    def _look_at(self, name: str, report: CameraReport, now: float, may_warn: bool) -> None:
        state, told = report.state, self._said.get(name)
        if state == told:
            return
        if told is not None:  # over, or another one now
            del self._said[name]
            if state == CameraState.OK:
                self._log.info(_end(name, report, told))
        if state == CameraState.OK or not may_warn:
            return
        if now - self._said_s.get((name, state), -_FAULT_AGAIN_S) < _FAULT_AGAIN_S:
            return
        self._said[name], self._said_s[name, state] = state, now
        if state in _AWAY:
            self._log.warning(f"camera '{name}': {report.message}; frame sets go on without it. "
                              f'Check the camera, its topic and input_reliability.')
        elif state not in _TOLD_ELSEWHERE:
            self._log.warning(f"camera '{name}': {report.message}.")

    def _look_at_clock(self, now: float) -> None:
        ns = self._simulated_ns()
        if ns is None or ns != self._ns:
            self._ns, self._ticked_s = ns, now
            if self.clock:
                self.clock = ''
                self._log.info('the clock of the node goes on')
        elif now - self._ticked_s > CLOCK_S:
            first = not self.clock
            self.clock = (f'use_sim_time is set, but nothing new has come on /clock for '
                          f'{now - self._ticked_s:.0f} s: ages are unknown')
            if first:
                self._log.warning(f'{self.clock}. Play a bag with --clock, start the simulator, '
                                  f'or leave use_sim_time out.')


def _described(report: CameraReport) -> str:
    return report.message or f'last picture on {report.topic} {report.age_s:.1f} s ago'


def _end(name: str, report: CameraReport, fault: CameraState) -> str:
    if fault == CameraState.SILENT:
        return f"camera '{name}' is back on {report.topic}"
    if fault == CameraState.NEVER_SEEN:
        return f"camera '{name}': first picture on {report.topic}"
    return f"camera '{name}': its pictures can be used again"
