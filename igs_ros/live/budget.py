# SPDX-License-Identifier: Apache-2.0
"""The budget of a live run: how much work each stage may do at a time, so that it keeps up.

Motion, refinement and views each have a deadline and a ladder of efforts. A stage that is late
again and again goes down a rung; one with room to spare climbs back. Each stage has a ladder of
its own, because only its own work makes it late: the threads of refinement yield to the others
(core.machine.yield_to_others).

Nothing here reads a clock: durations are given, so that the same ones give the same efforts.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, TypeVar

from igs_ros.core.config import Config
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.stages.refine.refiner import RefineEffort

ROOM = 0.7  # share of the deadline below which a round had room: most rungs save some 30 %
LONGEST_PATIENCE = 32  # times the patience at first: how rarely a climb that fails is tried again
Effort = TypeVar('Effort')


class Ladder(Generic[Effort]):
    """Holds a deadline by the choice of a rung; `level` 0 is full effort.

    Goes down as well when more than a third are late for longer; by as many rungs as the least
    late of these rounds is sure to need. Climbs, by one, when for `patience` rounds, all in all,
    three of four had room. A climb that does not last (four times the patience, or until the next
    climb) doubles the patience, up to `LONGEST_PATIENCE` times the first one; one that lasts
    halves it again. So a machine that is just between two rungs is asked ever more rarely, and
    one that is free again is soon used.

    Args:
        rungs: efforts, dearest first, each about `ROOM` times as dear as the one before or dearer.
        deadline_s: of one round, 0 = none.
        misses: late rounds in a row before it goes down.
        patience: rounds with room before it climbs.
    """

    def __init__(self, rungs: Sequence[Effort], deadline_s: float, misses: int, patience: int):
        self.level = 0
        self.late = False  # whether the lowest rung is too dear as well
        self._rungs = tuple(rungs)
        self.deadline_s = deadline_s
        self._misses = misses
        self._shortest_patience = self._patience = patience
        self._lateness = 0  # 2 for a late round, -1 for one in time, never below 0
        self._min_s = math.inf  # the shortest of these late rounds
        self._room = 0  # 1 for a round with room, -3 for one without, never below 0
        self._on_trial: int | None = None  # rounds since a climb that may still fail

    def in_place_of(self, other: Ladder[Effort] | None) -> Ladder[Effort]:
        """This one, on the rung of `other`; or that, if it has the same rungs and deadline."""
        if other is None or (self._rungs, self.deadline_s) == (other._rungs, other.deadline_s):
            return other or self
        if self.deadline_s:
            self.level = min(other.level, len(self._rungs) - 1)
        return self

    @property
    def effort(self) -> Effort:
        """What the next round may spend."""
        return self._rungs[self.level]

    def note(self, seconds: float) -> bool:
        """One more round took so long; whether the effort changes."""
        if not self.deadline_s:
            return False
        if self._on_trial is not None:
            self._on_trial += 1
            if self._on_trial > 4 * self._patience:
                self._climb_lasted()
        if seconds > self.deadline_s:
            self._lateness += 2
            self._min_s = min(seconds, self._min_s)
        else:
            self._lateness = max(0, self._lateness - 1)
        self._room = self._room + 1 if seconds <= ROOM * self.deadline_s \
            else max(0, self._room - 3)
        if self._lateness >= 2 * self._misses:
            return self._go_down()
        if not self._lateness:
            self.late, self._min_s = False, math.inf
        return self._room >= self._patience and self._climb()

    def _go_down(self) -> bool:
        needed = math.log(self._min_s / self.deadline_s) / math.log(1 / ROOM)
        self._lateness, self._room, self._min_s = 0, 0, math.inf
        if self.level == len(self._rungs) - 1:
            self.late = True
            return False
        if self._on_trial is not None:
            self._on_trial = None
            self._patience = min(2 * self._patience, LONGEST_PATIENCE * self._shortest_patience)
        self.level = min(self.level + max(1, int(needed)), len(self._rungs) - 1)
        return True

    def _climb(self) -> bool:
        self._room = 0
        if self.level == 0:
            return False
        if self._on_trial is not None:
            self._climb_lasted()
        self._on_trial = 0
        self.level -= 1
        return True

    def _climb_lasted(self) -> None:
        self._on_trial = None
        self._patience = max(self._shortest_patience, self._patience // 2)


# Each rung costs about 0.6 to 0.9 times the one above, at the least loss of quality measured for
# that (docs/engine.md): coarser flow before fewer anchors, fewer steps before coarser pictures.
# Share of the anchors, scale of the flow, share of the adjusting steps:
_MOTION = ((1.0, 1.0, 0.0), (1.0, 0.84, 0.0), (1.0, 0.71, 0.0), (1.0, 0.59, 0.0), (1.0, 0.5, 0.0),
           (0.7, 0.42, 0.0), (0.5, 0.35, 0.0))
_ADJUSTED = ((1.0, 1.0, 1.0), (1.0, 0.71, 1.0), (1.0, 0.5, 0.75), (1.0, 0.5, 0.25),
             (0.5, 0.35, 0.25), *_MOTION[4:])  # adjusting makes up for coarse flow
_REFINE = ((1.0, 1.0, 1.0), (0.7, 1.0, 1.0), (0.5, 1.0, 0.8), (0.35, 1.0, 0.7),
           (0.25, 1.0, 0.6), (0.18, 1.0, 0.5), (0.125, 0.75, 0.4))
# share of the iterations, scale of the pictures, share of the Gaussians that may be free
_VIEW = (1.0, 0.71, 0.5)  # scale


class Budget:
    """The ladders of one run, by stage; thread-safe where each is noted by one thread only.

    Args:
        config: full effort and the deadlines; without `budget.update_hz` everything stays at full
            effort, and `motion` and `refine` ask for nothing.
    """

    def __init__(self, config: Config):
        self._ladders: dict[str, Ladder] = {}
        self._views_hz = 0.0  # that are expected; 0 = as the settings say
        self.change(config)

    def change(self, config: Config) -> None:
        """Hold other deadlines from now on; a stage that still has one stays on its rung.

        From any thread: a stage in the middle of a round notes it on the ladder that was.
        """
        budget = config.budget
        self.on = budget.update_hz > 0
        motion, iterations = config.motion_model, config.refine.iterations
        self._adjusts = motion.adjust_iterations > 0
        made_motion = Ladder(
            [MotionEffort(max(1, round(share * motion.anchors)), scale, adjusted)
             for share, scale, adjusted in (_ADJUSTED if self._adjusts else _MOTION)],
            1 / budget.update_hz if self.on else 0.0, 3, 20)
        made_refine = Ladder(
            [RefineEffort(math.ceil(steps * iterations), scale,
                          max(1, round(free * config.max_gaussians)))
             for steps, scale, free in _REFINE],
            budget.refine_s if self.on else 0.0, 2, 3)
        views_hz = self._views_hz or budget.view_hz
        made_view = Ladder(_VIEW, 1 / views_hz if self.on else 0.0, 3, 30)
        self._motion = made_motion.in_place_of(self._ladders.get('motion'))
        self._refine = made_refine.in_place_of(self._ladders.get('refine'))
        self._view = made_view.in_place_of(self._ladders.get('view'))
        self._ladders = {'motion': self._motion, 'refine': self._refine, 'view': self._view}

    def note(self, stage: str, seconds: float) -> bool:
        """One round of 'motion', 'refine' or 'view' took so long; whether its effort changes."""
        return self._ladders[stage].note(seconds)

    def expect_views(self, per_second: float) -> None:
        """So many views per second are to be drawn from now on: that is their deadline."""
        self._views_hz = per_second
        if self.on:
            self._view.deadline_s = 1 / per_second

    def note_unfinished(self, stage: str, seconds: float) -> None:
        """A round was called off after so long; it counts if it was late by then."""
        if seconds > self._ladders[stage].deadline_s > 0:
            self.note(stage, seconds)

    @property
    def motion(self) -> MotionEffort:
        """For the next frame set."""
        return self._motion.effort

    @property
    def refine(self) -> RefineEffort:
        """For the next key."""
        return self._refine.effort

    @property
    def view_scale(self) -> float:
        """Share of the width of views to draw; the rest is enlarged."""
        return self._view.effort

    @property
    def levels(self) -> dict[str, int]:
        """Rungs below full effort, by stage."""
        return {stage: ladder.level for stage, ladder in self._ladders.items()}

    def reduced(self) -> str:
        """What is reduced, in one phrase; '' at full effort in time."""
        motion, refine = self.motion, self.refine
        adjusted = [f'{motion.adjust_share:.0%} of the adjusting'] if self._adjusts else []
        details = {
            'motion': (f'flow at {motion.flow_scale:.2f}', f'{motion.anchors} anchors', *adjusted),
            'refine': (f'{refine.iterations} iterations', f'pictures at {refine.scale:.2f}',
                       f'{refine.max_free} free'),
            'view': (f'drawn at {self.view_scale:.2f}',)}
        return '; '.join(f'{stage}: {", ".join(details[stage])}'
                         + (', still late' if ladder.late else '')
                         for stage, ladder in self._ladders.items() if ladder.level)
