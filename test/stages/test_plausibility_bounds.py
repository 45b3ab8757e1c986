# SPDX-License-Identifier: Apache-2.0
"""Each threshold of what is believed, from both sides, on blocks and matches made by hand."""
import math
from dataclasses import replace

import numpy as np
import pytest

from igs_ros.core.frames import FrameSet
from igs_ros.stages import plausibility
from igs_ros.stages.plausibility import Change, Doubt, PlausibilityCheck, _Memory
from igs_ros.stages.small_pictures import Match, SmallPicture, match_of

S = 1_000_000_000


def small(contrast, mean=100.0, likeness=1.0, other=False):
    """Blocks of 100 pixels; contrast: of each; likeness: correlation with those of likeness 1."""
    contrast = np.atleast_1d(np.asarray(contrast, float))
    one = np.tile([1.0, -1.0], 50)
    across = np.tile([1.0, 1.0, -1.0, -1.0], 25)
    pattern = likeness * one + math.sqrt(1 - likeness ** 2) * across
    return SmallPicture(np.float32(contrast[:, None] * (across if other else pattern)),
                  np.full(len(contrast), mean, np.float32), np.float32(contrast))


# --- small pictures ---------------------------------------------------------------------------


def test_a_picture_is_a_hundred_and_twenty_pixels_wide_in_blocks_of_ten():
    image = np.zeros((180, 240, 3), np.uint8)
    image[:, 120:] = 200
    image[0:20, 0:10] = 100  # half of the first block
    made = SmallPicture.of(image)
    assert made.picture.shape == (9 * 12, 100) and made.picture.dtype == np.float32
    assert made.mean[:13].tolist() == [50] + [0] * 5 + [200] * 6 + [0]
    np.testing.assert_allclose(made.contrast[[0, 1, 6]], [50, 0, 0])
    np.testing.assert_allclose(made.picture[0].reshape(10, 10)[:, [0, 9]], [[50, -50]] * 10)
    assert SmallPicture.of(np.zeros((5, 240, 3), np.uint8)).picture.shape == (12, 100)


@pytest.mark.parametrize('contrast, telling', [(4.1, True), (4.0, False), (3.9, False)])
def test_blocks_can_be_recognized_from_a_contrast_of_four_levels_on(contrast, telling):
    assert small([contrast] * 10).telling.tolist() == [telling] * 10


@pytest.mark.parametrize('many, telling', [(1, False), (2, True), (3, True)])
def test_fewer_than_a_fifth_of_the_blocks_say_nothing(many, telling):
    assert small([9.0] * many + [0.0] * (10 - many)).telling.sum() == many * telling


@pytest.mark.parametrize('step, pixels, moved', [
    (8.5, 10, True), (-8.5, 10, True), (7.5, 1000, False),
    (90, 2, True), (90, 1, False), (90, 0, False)])  # two of a thousand pixels
def test_motion_is_eight_levels_in_two_of_a_thousand_pixels(step, pixels, moved):
    before = small([10.0] * 10)
    picture = before.picture.copy()
    picture.flat[:pixels] += step
    assert replace(before, picture=picture).moved_since(before) == moved
    assert small([10.0] * 10, mean=109).moved_since(before)
    assert not small([10.0] * 10, mean=107).moved_since(before)


# --- matches ----------------------------------------------------------------------------------


@pytest.mark.parametrize('likeness, gain, known', [
    (0.71, 1, 1.0), (0.69, 1, 0.0), (0.71, 0.5, 1.0), (0.69, 2, 0.0), (-1.0, 1, 0.0)])
def test_blocks_agree_from_a_correlation_of_seven_tenths_on(likeness, gain, known):
    match = match_of(small([20.0 * gain] * 10, likeness=likeness), small([20.0] * 10))
    assert match.known == known and match.lost == 1 - known and match.flat == 0
    assert match.gain == 1


@pytest.mark.parametrize('share, flat', [(0.39, 1.0), (0.41, 0.0)])
def test_a_block_is_flat_below_two_fifths_of_its_contrast(share, flat):
    match = match_of(small([20.0 * share] * 10, other=True), small([20.0] * 10))
    assert (match.known, match.flat, match.lost) == (0, flat, 1)
    match = match_of(small([20.0 * share] * 10), small([20.0] * 10))
    assert (match.known, match.flat) == (1, 0)  # one that agrees is not flat


def test_shares_are_of_the_blocks_that_tell_but_for_what_is_lost():
    reference = small([20.0] * 4 + [1.0] * 6)
    now = small([20.0] * 10)
    picture = now.picture.copy()
    picture[3] = small([20.0], other=True).picture[0]
    mean = now.mean.copy()
    mean[:3] = [201, 140, 60]  # 202, 141 and 61 of 101: the middle one counts
    match = match_of(replace(now, picture=picture, mean=mean), reference)
    assert match.known == 0.75 and match.lost == pytest.approx(0.1) and match.flat == 0
    assert match.gain == pytest.approx(141 / 101)


def test_without_agreement_there_is_no_gain_and_without_a_shape_no_match():
    match = match_of(small([20.0] * 10, 50, other=True), small([20.0] * 10))
    assert match.gain == 1
    assert match_of(small([20.0] * 9), small([20.0] * 10)) is None


@pytest.mark.parametrize('mean, nothing', [(14, True), (15, False), (300, False)])
def test_without_contrast_a_picture_is_nothing_at_three_twentieths_of_the_light(mean, nothing):
    """15 and 16 of 101 lie around 0.15."""
    match = match_of(small([0.0] * 10, mean), small([0.0] * 10))
    assert match.nothing == nothing and match.known == (not nothing)
    assert match.gain == pytest.approx((mean + 1) / 101)


@pytest.mark.parametrize('flat, lost, nothing', [
    (0.85, 0.2, True), (0.84, 0.9, False), (0.9, 0.19, False), (1.0, 1.0, True)])
def test_nothing_is_left_when_most_is_flat_and_that_is_enough_to_tell(flat, lost, nothing):
    assert Match(0.0, flat, 1.0, lost).nothing == nothing


# --- doubts -----------------------------------------------------------------------------------

SOUND = Match(1.0, 0.0, 1.0, 0.0)


def doubt_of(monkeypatch, match, other=''):
    """What is said of a match with the reference; other: whose picture it is taken for."""
    monkeypatch.setattr(plausibility, 'match_of', lambda *_: match)
    check = PlausibilityCheck(20.0)
    check._whose = lambda *_: other
    doubt = check._doubt_against(None, 'a', None)
    return '' if doubt is None else f'{doubt.text.split()[0]} {doubt.patience:g}'


@pytest.mark.parametrize('match, expected', [
    ((1.0, 0.0, 1.0, 0.0), ''),
    # less than half agree, of a fifth of all; a quarter makes it likely to be real
    ((0.5, 0.0, 1.0, 0.5), ''), ((0.49, 0.0, 1.0, 0.2), 'unlike 0.1'),
    ((0.49, 0.0, 1.0, 0.19), ''),
    ((0.25, 0.0, 1.0, 0.5), 'unlike 0.1'), ((0.24, 0.0, 1.0, 0.5), 'unlike 1'),
    # three tenths are flat
    ((0.6, 0.3, 1.0, 0.2), 'partly 1'), ((0.6, 0.29, 1.0, 0.2), ''), ((0.6, 0.4, 1.0, 0.19), ''),
    ((0.4, 0.3, 1.0, 0.6), 'partly 1'),
    # darker or brighter, if a quarter agrees
    ((1.0, 0.0, 0.62, 0.0), ''), ((1.0, 0.0, 0.61, 0.0), '0.61 0.1'), ((1.0, 0.0, 1.6, 0.0), ''),
    ((1.0, 0.0, 1.61, 0.0), '1.6 0.1'), ((0.25, 0.0, 0.5, 0.1), '0.5 0.1'),
    ((0.24, 0.0, 0.5, 0.1), ''), ((0.4, 0.5, 0.5, 0.5), '0.5 0.1'),
    ((0.1, 0.85, 0.5, 0.2), 'shows inf'), ((0.5, 0.85, 0.5, 0.2), 'shows inf')])
def test_doubts_and_how_long_they_last(monkeypatch, match, expected):
    assert doubt_of(monkeypatch, Match(*match)) == expected


@pytest.mark.parametrize('known, expected', [(0.79, 'shows inf'), (0.8, '')])
def test_other_cameras_are_asked_where_a_fifth_does_not_agree(monkeypatch, known, expected):
    assert doubt_of(monkeypatch, replace(SOUND, known=known), 'b') == expected
    assert doubt_of(monkeypatch, replace(SOUND, known=known)) == ''
    assert doubt_of(monkeypatch, None, 'b') == ''


@pytest.mark.parametrize('own, others, expected', [
    (0.2, {'b': 0.5}, 'b'), (0.2, {'b': 0.49}, ''), (0.5, {'b': 0.75}, 'b'),
    (0.5, {'b': 0.74}, ''),
    (0.2, {'b': 0.6, 'c': 0.7}, 'c'), (0.2, {}, ''), (0.2, {'b': None}, ''),
    (0.2, {'b': 0.5, 'c': None}, 'b')])
def test_a_picture_is_another_cameras_if_a_quarter_more_agrees_with_it(monkeypatch, own, others,
                                                                      expected):
    references = {name: small([20.0] * 4, mean=number) for number, name in enumerate(others)}
    known = {number: share for number, share in enumerate(others.values())}
    monkeypatch.setattr(plausibility, 'match_of', lambda _, reference: None if known[
        int(reference.mean[0])] is None else replace(SOUND, known=known[int(reference.mean[0])]))
    check = PlausibilityCheck(20.0)
    check._cameras = {name: _Memory(one, None, one, one, 0) for name, one in references.items()}
    check._cameras['a'] = _Memory(None, None, None, None, 0)  # its own is not compared again
    assert check._whose('a', None, own) == expected
    flat = small([0.0] * 4)
    check._cameras = {'b': _Memory(flat, None, flat, flat, 0)}
    assert check._whose('a', None, own) == ''  # a picture of nothing is nobody's


def test_a_picture_must_be_unlike_what_was_seen_lately_as_well(monkeypatch):
    last, lately, now = (small([20.0] * 10) for _ in range(3))
    check = PlausibilityCheck(20.0)
    check._cameras['a'] = _Memory(last, None, lately, lately, 0)
    unlike, nothing = Match(0.0, 0.0, 1.0, 1.0), Match(0.0, 1.0, 1.0, 1.0)
    for of_last, of_lately, expected in ((SOUND, SOUND, ''), (unlike, SOUND, ''),
                                         (unlike, unlike, 'unlike'), (SOUND, unlike, ''),
                                         (SOUND, nothing, 'shows'), (nothing, unlike, 'shows'),
                                         (SOUND, None, ''), (unlike, None, '')):
        def match(_, reference, of_last=of_last, of_lately=of_lately):
            return of_last if reference is last else of_lately
        monkeypatch.setattr(plausibility, 'match_of', match)
        doubt = check._doubt('a', now)
        assert ('' if doubt is None else doubt.text.split()[0]) == expected
    assert check._doubt('new', now) is None


# --- frozen, and too many ---------------------------------------------------------------------


@pytest.mark.parametrize('fresh, movers, others, frozen', [
    (3, 1, 2, True), (2, 2, 2, False), (3, 1, 3, False), (3, 2, 3, True), (3, 0, 1, False),
    (3, 1, 1, True), (3, 0, 0, False)])
def test_a_camera_is_frozen_while_half_of_the_others_move(fresh, movers, others, frozen):
    """And if three pictures in a row were new before."""
    still, moved = small([20.0] * 4), small([20.0] * 4, mean=150)
    check = PlausibilityCheck(20.0)
    names = ['a', *(f'b{number}' for number in range(others))]
    check._cameras = {name: _Memory(still, None, still, still, 0, fresh=fresh) for name in names}
    now = {name: moved if 1 <= number <= movers else still for number, name in enumerate(names)}
    doubts = check._frozen(now, {'a'}, names)
    assert list(doubts) == (['a'] if frozen else [])
    assert not frozen or doubts['a'].patience == math.inf
    assert not check._frozen(now, set(), names)


@pytest.mark.parametrize('doubted, of, many', [(1, 2, False), (2, 3, True), (1, 1, True),
                                              (0, 3, False), (0, 0, False), (2, 4, False)])
def test_more_than_half_are_too_many(doubted, of, many):
    doubts = {str(n): Doubt('', 1.0) if n < doubted else None for n in range(of)}
    assert plausibility._too_many(doubts) == many


# --- what is remembered -----------------------------------------------------------------------


def remembered(check, seconds, doubt=None, picture=None, again=False):
    picture = small([20.0] * 10) if picture is None else picture
    note = check._remember('a', doubt, picture, np.zeros(1), again, round(seconds * S))
    return check._cameras['a'], note.split(':')[0], picture


def test_what_was_seen_lately_is_one_to_two_seconds_old():
    check = PlausibilityCheck(20.0)
    pictures = [remembered(check, seconds)[2] for seconds in (0, 0.5, 0.999)]
    memory = check._cameras['a']
    assert memory.lately is memory.newer is pictures[0] and memory.believed is pictures[2]
    memory, _, fourth = remembered(check, 1.0)
    assert memory.lately is pictures[0] and memory.newer is fourth
    memory, _, _ = remembered(check, 1.999)
    assert memory.newer is fourth
    memory, _, sixth = remembered(check, 2.0)
    assert memory.lately is fourth and memory.newer is sixth


@pytest.mark.parametrize('patience, lasts_s', [(1.0, 20.0), (0.1, 2.0)])
def test_what_lasts_as_long_as_its_patience_is_believed(patience, lasts_s):
    check, doubt = PlausibilityCheck(20.0), Doubt('odd', patience)
    first = remembered(check, 0.0)[2]
    memory, note, _ = remembered(check, 5.0, doubt)
    assert note == "implausible pictures of camera 'a'" and memory.doubt is doubt
    assert memory.believed is first
    memory, note, _ = remembered(check, 5.0 + lasts_s - 0.001, doubt)
    assert note == '' and memory.doubt is doubt and memory.believed is first
    memory, note, last = remembered(check, 5.0 + lasts_s, doubt)
    assert note == 'believed again' and memory.doubt is None
    assert memory.believed is memory.lately is memory.newer is last


@pytest.mark.parametrize('other, anew', [
    (small([20.0] * 10, likeness=0.69), True), (small([20.0] * 10, likeness=0.71), False),
    (small([20.0] * 10, mean=61), True), (small([20.0] * 10, mean=62), False),  # 0.62 of 101
    (small([20.0] * 10, mean=160), False), (small([20.0] * 10, mean=161), True)])
def test_waiting_starts_anew_when_what_is_doubted_does_not_agree_with_itself(other, anew):
    check, doubt = PlausibilityCheck(20.0), Doubt('odd', 1.0)
    remembered(check, 0.0)
    remembered(check, 1.0, doubt)
    memory, _, _ = remembered(check, 9.0, doubt, other)
    assert memory.steady_ns == (9 if anew else 1) * S and memory.begun_ns == 1 * S


def test_half_of_the_blocks_are_enough_to_agree():
    for alike, anew in ((5, False), (4, True)):
        check, doubt, one = PlausibilityCheck(20.0), Doubt('odd', 1.0), small([20.0] * 10)
        remembered(check, 0.0)
        remembered(check, 1.0, doubt, one)
        picture = one.picture.copy()
        picture[alike:] = small([20.0] * (10 - alike), other=True).picture
        memory, _, _ = remembered(check, 9.0, doubt, replace(one, picture=picture))
        assert memory.steady_ns == (9 if anew else 1) * S


def test_pictures_in_a_row_that_are_new_are_counted():
    check = PlausibilityCheck(20.0)
    counts = [remembered(check, number, doubt, again=again)[0].fresh
              for number, (doubt, again) in enumerate([
                  (None, False), (None, False), (None, False), (Doubt('odd', 9), True),
                  (None, False), (None, True), (None, False)])]
    assert counts == [0, 1, 2, 2, 3, 0, 1]


def test_stamps_that_go_back_start_all_waiting_anew():
    check, image = PlausibilityCheck(20.0), np.zeros((60, 120, 3), np.uint8)
    for stamp_s in (10, 11, 11, 4):
        result = check.check(FrameSet(stamp_s * S, {'a': image}))
        assert result.change is Change.NONE and not result.implausible
        memory = check._cameras['a']
        if stamp_s == 4:
            assert memory.begun_ns == memory.steady_ns == memory.newer_ns == 4 * S
        else:
            assert memory.begun_ns == 0
