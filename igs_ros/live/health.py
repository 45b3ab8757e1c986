# SPDX-License-Identifier: Apache-2.0
"""How a live reconstruction is doing, judged by its progress alone.

Whoever has the clocks and counters fills in `Facts`; `judge` looks at no clock itself, so that the
node and every live run say the same of the same facts.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from igs_ros.core.status import State

STALL_AFTER_S = 5.0
FIRST_SCENE_S = 60.0
"""How long the making of the first scene may show no progress: some of its steps are long."""
REFINEMENT_S = 60.0
"""How long one refinement may take: it holds nothing up, but without it no key comes."""
_MAX_CAUSES = 4  # named in one message


@dataclass(frozen=True)
class Facts:
    """What is known; durations are seconds of a steady clock, never of ROS time."""

    state: State = State.WAITING  # as the motion worker noted it
    message: str = ''  # of the motion worker, human-readable
    progress: float = 0.0  # of the first scene, 0..1
    still_s: float = 0.0  # since state, message or progress changed
    owed: int = 0  # frame sets that came since the scene last followed one
    owed_s: float = 0.0  # since the first of them
    lost: Mapping[str, int] = field(default_factory=dict)  # what became of them, by cause
    reason: str = ''  # what the last of them failed for, human-readable
    stage: str = ''  # where the motion thread is, as a path; '' = it waits for work
    stage_s: float = 0.0  # for how long it has been at this piece of work
    held: str = ''  # why the scene is held
    dead: Mapping[str, str] = field(default_factory=dict)  # what each dead thread died of
    paused: str = ''  # why no frame set is taken, '' = they are
    missing: str = ''  # why no frame sets come, '' = they do
    clock: str = ''  # what is wrong with the clock of the node
    refining: str = ''  # where the refine thread is, as a path; '' = it waits for work
    refining_s: float = 0.0  # for how long it has been at this piece of work


def judge(facts: Facts, stall_after_s: float = STALL_AFTER_S) -> tuple[State, str]:
    """The state, and one line for people.

    Args:
        facts: what is known of the run.
        stall_after_s: how long a scene may not follow the cameras, and a stage may take, s.
    """
    state, message = _judged(facts, stall_after_s)
    return state, '; '.join(filter(None, (message, _no_key(facts), facts.clock)))


def _judged(facts: Facts, limit_s: float) -> tuple[State, str]:
    if facts.dead:
        threads = ', '.join(f"thread '{name}' has died of {error}"
                            for name, error in facts.dead.items())
        return State.FAILED, f'{threads}: restart the node; the log has the traceback'
    if facts.state == State.BOOTSTRAP:
        return _first_scene(facts, limit_s)
    has_scene = facts.state == State.STREAMING
    if facts.paused:
        return State.HOLDING if has_scene else facts.state, facts.paused
    stalled = State.STALLED if has_scene else facts.state
    late = facts.owed_s > limit_s
    if late and facts.stage_s > limit_s:
        return stalled, f'{facts.stage} has been at work for {facts.stage_s:.0f} s'
    if facts.missing and facts.state in (State.WAITING, State.STREAMING):
        return stalled, facts.missing
    if has_scene and facts.held:
        return State.HOLDING, facts.held
    if late and set(facts.lost) - {'superseded'} and facts.state != State.FAILED:
        return stalled, _in_vain(facts)
    if late and has_scene:
        where = f'; motion is at {facts.stage}' if facts.stage else ''
        return stalled, f'no scene update for {facts.owed_s:.0f} s{where}'
    return facts.state, facts.message


def _no_key(facts: Facts) -> str:
    if facts.dead or facts.refining_s <= REFINEMENT_S:
        return ''
    return (f'no key for {facts.refining_s:.0f} s: the refine thread is still at '
            f'{facts.refining}; what is new is not reconstructed. Fewer Gaussians or a smaller '
            f'picture refine faster; if it never ends, restart the node')


def _first_scene(facts: Facts, limit_s: float) -> tuple[State, str]:
    message = f'{facts.message} {facts.progress:.0%}'
    compiling = 'compil' in facts.message or facts.stage.startswith('warm_up')
    if compiling or facts.still_s <= max(FIRST_SCENE_S, limit_s):
        return State.BOOTSTRAP, message
    return State.STALLED, (f'{message}: nothing has moved for {facts.still_s:.0f} s'
                           + (f', in {facts.stage}' if facts.stage else ''))


def _in_vain(facts: Facts) -> str:
    causes = sorted(facts.lost.items(), key=lambda item: (-item[1], item[0]))
    told = ', '.join(f'{cause} {count}' for cause, count in causes[:_MAX_CAUSES])
    more = f' and {len(causes) - _MAX_CAUSES} more' if len(causes) > _MAX_CAUSES else ''
    text = f'none of {facts.owed} frame sets in {facts.owed_s:.0f} s could be used: {told}{more}'
    return f'{text}. The last: {facts.reason}' if facts.reason else text
