# SPDX-License-Identifier: Apache-2.0
"""The state follows from progress: each fault of hardening.md's rows 3 and 10 has its verdict."""
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igs_ros.core.status import State
from igs_ros.live.health import FIRST_SCENE_S, REFINEMENT_S, Facts, judge

STREAMING = Facts(State.STREAMING, owed=1, owed_s=0.1)


def test_a_scene_that_follows_is_streaming():
    assert judge(STREAMING) == (State.STREAMING, '')
    assert judge(replace(STREAMING, lost={'superseded': 9}, owed=10)) == (State.STREAMING, '')


@pytest.mark.parametrize('seconds, state', [(1.9, State.STREAMING), (2.1, State.STALLED)])
def test_frame_sets_in_vain(seconds, state):
    facts = replace(STREAMING, owed=60, owed_s=seconds, reason='/cam00: 11 bytes',
                    lost={'no_picture': 55, 'unusable_picture:cam00': 58, 'superseded': 2})
    got, message = judge(facts, 2.0)
    assert got == state
    if state == State.STALLED:
        assert message == ('none of 60 frame sets in 2 s could be used: unusable_picture:cam00 58,'
                           ' no_picture 55, superseded 2. The last: /cam00: 11 bytes')


def test_many_causes_are_not_all_listed():
    lost = {f'unusable_picture:cam{i:02d}': i for i in range(1, 31)}
    _, message = judge(replace(STREAMING, owed=60, owed_s=9.0, lost=lost))
    assert 'cam30 30' in message and 'and 26 more' in message and len(message) < 250


def test_before_the_first_scene_it_waits_and_says_why():
    state, message = judge(Facts(owed=60, owed_s=9.0, lost={'no_picture': 60}, reason='why'))
    assert state == State.WAITING and 'no_picture 60' in message and 'why' in message


def test_a_stage_that_hangs_is_named():
    facts = replace(STREAMING, owed=900, owed_s=125.0, lost={'superseded': 899},
                    stage='update/motion/flow', stage_s=125.0)
    assert judge(facts) == (State.STALLED, 'update/motion/flow has been at work for 125 s')
    assert judge(replace(facts, held='dark'))[0] == State.STALLED
    # a long piece of work that nobody waits for is none
    assert judge(replace(STREAMING, owed=0, owed_s=0, stage='swap', stage_s=9.0))[0] \
        == State.STREAMING


@pytest.mark.parametrize('seconds, told', [(REFINEMENT_S, False), (REFINEMENT_S + 1, True)])
def test_a_refinement_that_hangs_is_named_while_the_scene_follows(seconds, told):
    facts = replace(STREAMING, refining='refine/residuals', refining_s=seconds)
    state, message = judge(facts)
    assert state == State.STREAMING
    assert ('no key for 61 s: the refine thread is still at refine/residuals' in message) == told
    assert 'no key' not in judge(replace(facts, dead={'refine': 'SystemExit(1)'}))[1]


def test_a_slow_stage_that_always_ends_is_told_by_its_scene():
    """Short stages, no result: neither hung nor lost."""
    facts = replace(STREAMING, owed_s=9.0, stage='update/motion', stage_s=1.0,
                    lost={'superseded': 4})
    assert judge(facts) == (State.STALLED,
                            'no scene update for 9 s; motion is at update/motion')


def test_missing_frame_sets():
    facts = replace(STREAMING, missing='no frame set for 6 s')
    assert judge(facts) == (State.STALLED, 'no frame set for 6 s')
    assert judge(replace(facts, state=State.WAITING)) == (State.WAITING, 'no frame set for 6 s')
    assert judge(replace(facts, held='dark'))[0] == State.STALLED
    failed = replace(facts, state=State.FAILED, message='bad PLY')
    assert judge(failed) == (State.FAILED, 'bad PLY')


def test_a_held_scene_is_said_to_be_held():
    facts = replace(STREAMING, held='all cameras are dark')
    assert judge(facts) == (State.HOLDING, 'all cameras are dark')
    assert judge(Facts(held='all cameras are dark'))[0] == State.WAITING


@pytest.mark.parametrize('state', [State.WAITING, State.BOOTSTRAP, State.STREAMING, State.FAILED])
def test_a_dead_thread_is_above_all_else(state):
    facts = Facts(state, 'm', missing='no frame set', held='dark', owed_s=99.0,
                  dead={'motion': 'SystemExit(1)', 'view': 'KeyboardInterrupt()'})
    got, message = judge(facts)
    assert got == State.FAILED
    assert "'motion' has died of SystemExit(1)" in message and "'view'" in message
    assert 'restart the node' in message


def test_the_first_scene_is_made_as_long_as_it_moves():
    facts = Facts(State.BOOTSTRAP, 'optimizing', 0.4, still_s=30.0, owed=99, owed_s=40.0,
                  lost={'superseded': 98}, stage='bootstrap', stage_s=40.0)
    assert judge(facts) == (State.BOOTSTRAP, 'optimizing 40%')
    still = replace(facts, still_s=FIRST_SCENE_S + 9)
    assert judge(still) == (State.STALLED,
                            'optimizing 40%: nothing has moved for 69 s, in bootstrap')
    assert judge(still, 90.0)[0] == State.BOOTSTRAP
    for compiling in (replace(still, stage='warm_up'),
                      replace(still, message='compiling kernels, once')):
        assert judge(compiling)[0] == State.BOOTSTRAP


def test_a_clock_that_stands_still_is_said_beside():
    assert judge(replace(STREAMING, clock='no /clock')) == (State.STREAMING, 'no /clock')
    assert judge(Facts(message='waiting', clock='no /clock'))[1] == 'waiting; no /clock'


texts = st.sampled_from(['', 'x'])


@given(st.builds(Facts, st.sampled_from(State), texts, st.floats(0, 1), st.floats(0, 1e4),
                 st.integers(0, 9), st.floats(0, 1e4),
                 st.dictionaries(texts, st.integers(1, 9)), texts, texts, st.floats(0, 1e4),
                 texts, st.dictionaries(texts, texts), texts, texts, texts, texts,
                 st.floats(0, 1e4)),
       st.floats(0.1, 1e3))
def test_whatever_is_not_well_has_a_reason(facts, limit_s):
    state, message = judge(facts, limit_s)
    if state in (State.STALLED, State.HOLDING) and facts.state == State.STREAMING:
        assert message
    if state == State.STREAMING:
        assert facts.owed_s <= limit_s and not (facts.dead or facts.missing or facts.held)
