# SPDX-License-Identifier: Apache-2.0
"""Which pictures are believed: no false alarm, every fault at its first frame, an end to it."""
from dataclasses import replace

import cv2
import numpy as np
import pytest

from igs_ros.apps.bench.fault_kinds import faults
from igs_ros.core.frames import FrameSet
from igs_ros.io.recordings.open import open_recording
from igs_ros.stages.plausibility import Change, PlausibilityCheck, grouped

TRAIN = ('cam00', 'cam01', 'cam03')
PERIOD_NS = 33_333_333
BEGIN, LENGTH = 8, 6  # of a fault


@pytest.fixture(scope='module')
def pictures(workbench):
    """Forth and back, 24 frames of 240x180."""
    sets = [{name: cv2.resize(picture.decode(), (240, 180), interpolation=cv2.INTER_AREA)
             for name, picture in one.pictures.items()}
            for one in open_recording(workbench).frame_sets(0, 13, cameras=TRAIN)]
    return sets + sets[-2:0:-1]


def checked(frames, hold_s=20.0, period_ns=PERIOD_NS, check=None):
    """What comes of frames, each a mapping of pictures."""
    check = check or PlausibilityCheck(hold_s)
    return [check.check(FrameSet(number * period_ns, dict(one)))
            for number, one in enumerate(frames)]


def noisy(image, sigma, seed):
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def scaled(image, gain):
    return np.clip(image * gain, 0, 255).astype(np.uint8)


def each(pictures, change):
    return [{name: change(image, number) for name, image in one.items()}
            for number, one in enumerate(pictures)]


@pytest.mark.parametrize('step', [1, 2, 3])
@pytest.mark.parametrize('change', [
    lambda image, number: image,
    lambda image, number: noisy(image, 5, number),
    lambda image, number: scaled(image, 1.2 if number // 3 % 2 else 1.0),
    lambda image, number: scaled(image, 0.8 if number // 3 % 2 else 1.0),
    lambda image, number: scaled(image, 0.93 ** number),  # sunset in a second
], ids=['clean', 'noise', 'brighter', 'darker', 'sunset'])
def test_no_false_alarm(pictures, change, step):
    for result in checked(each(pictures[::step], change)):
        assert not result.implausible and not result.held and not result.notes


def test_believed_sets_are_handed_on_untouched(pictures):
    check = PlausibilityCheck(20.0)
    for number, one in enumerate(pictures[:4]):
        frame_set = FrameSet(number * PERIOD_NS, one)
        assert check.check(frame_set).frame_set is frame_set


@pytest.mark.parametrize('sigma', [0, 5])
@pytest.mark.parametrize('name', [name for name, fault in faults().items()
                                  if fault.times == 1 and not fault.long])
def test_every_fault_is_noticed_at_its_first_frame_and_over_with_it(pictures, name, sigma):
    fault = faults()[name]
    if sigma:
        pictures = each(pictures, lambda image, number: noisy(image, sigma, number))
    frames = [fault.apply(one, pictures[BEGIN - 1], number)
              if BEGIN <= number < BEGIN + LENGTH else one for number, one in enumerate(pictures)]
    faulty = fault.faulty(TRAIN) or set(TRAIN)
    results = checked(frames)
    for number, result in enumerate(results):
        present = BEGIN <= number < BEGIN + LENGTH
        assert set(result.implausible) == (faulty if present else set()), number
        assert set(result.frame_set.images) == set(TRAIN) - set(result.implausible)
        assert set(result.frame_set.missing) == set(result.implausible)
        assert bool(result.held) == (present and len(faulty) > 1)
        over = number == BEGIN + LENGTH and len(faulty) > 1
        assert result.change is (Change.RESUMED if over else Change.NONE)
        # said once when it begins and once when it ends
        assert len(result.notes) == (len(faulty) if number in (BEGIN, BEGIN + LENGTH) else 0)
    assert all(any(f"'{camera}'" in note for note in results[BEGIN].notes) for camera in faulty)


def test_a_swap_says_which_shows_whose(pictures):
    swapped = faults()['swapped'].apply(pictures[3], pictures[2], 3)
    result = checked([*pictures[:3], swapped])[-1]
    assert result.implausible == {'cam00': "shows what camera 'cam01' sees",
                                  'cam01': "shows what camera 'cam00' sees"}
    assert result.held == ("implausible pictures: cam00 (shows what camera 'cam01' sees); "
                           "cam01 (shows what camera 'cam00' sees)")


@pytest.mark.parametrize(('share', 'longest_s'), [(0.4, 0.0), (0.6, 2.5)])
def test_someone_close_before_one_camera_costs_that_camera_at_most_and_not_for_long(
        pictures, share, longest_s):
    """A textured thing jumps before part of one picture, moves, and stays."""
    height, width = pictures[0]['cam00'].shape[:2]
    spots = np.random.default_rng(1).uniform(20, 200, (9, 9, 3))
    thing = cv2.resize(spots, (int(share * width), height)).astype(np.uint8)

    def covered(one, number):
        image, left = one['cam00'].copy(), number // 4
        image[:, left:left + thing.shape[1]] = thing
        return {**one, 'cam00': image}
    results = checked([one if number < 5 else covered(one, number)
                       for number, one in enumerate(4 * pictures)])
    assert all(set(result.implausible) <= {'cam00'} and not result.held for result in results)
    hit = [number for number, result in enumerate(results) if result.implausible]
    assert len(hit) * PERIOD_NS <= longest_s * 1e9
    assert bool(hit) == (longest_s > 0)


def test_people_that_fill_a_view_in_a_second_are_followed(pictures):
    spots = np.random.default_rng(1).uniform(20, 200, (9, 9, 3))
    person = cv2.resize(spots, (240, 180)).astype(np.uint8)

    def filled(one, number):
        image, edge = one['cam01'].copy(), min(number, 24) * 10
        image[:, :edge] = noisy(person, 2, number)[:, :edge]
        return {**one, 'cam01': image}
    results = checked([filled(one, number) for number, one in enumerate(2 * pictures)])
    assert not any(result.implausible for result in results)


def test_a_hand_that_slides_before_a_lens_is_noticed_when_nothing_is_left(pictures):
    """Eight frames to come, eight to stay and eight to go; all views then are as before."""
    def covered(one, number):
        image, edge = one['cam01'].copy(), min(max(0, number - 3), 8, max(0, 27 - number)) * 30
        image[:, :edge] = noisy(np.full((180, edge, 3), 50, np.uint8), 2, number)
        return {**one, 'cam01': image}
    results = checked([covered(one, number) for number, one in enumerate(2 * pictures)])
    named = [number for number, result in enumerate(results) if result.implausible]
    assert set(range(11, 20)) <= set(named) <= set(range(4, 27))
    assert not any(result.held for result in results)


def test_a_light_that_fades_to_black_in_half_a_second_holds_the_scene_until_it_is_on(pictures):
    gains = [1.0] * 3 + [0.7 ** number for number in range(1, 16)] + [0.0] * 10 + [1.0] * 5
    frames = [{name: scaled(image, gain) for name, image in one.items()}
              for one, gain in zip(2 * pictures, gains, strict=False)]
    results = checked(frames)
    assert all(result.held for result in results[18:28])
    assert [number for number, result in enumerate(results)
            if result.change is not Change.NONE] == [28]


@pytest.mark.parametrize(('name', 'patience_s'), [('scene', 20.0), ('light', 2.0)])
def test_what_lasts_is_believed_in_the_end_and_needs_a_key(pictures, name, patience_s):
    fault, half_s = faults()[name], 500_000_000
    frames = [pictures[0], *(fault.apply(pictures[number % 8], pictures[0], number)
                             for number in range(1, 60))]
    results = checked(frames, period_ns=half_s)
    held = [bool(result.held) for result in results]
    last = 1 + round(patience_s / 0.5)
    assert held == [1 <= number < last for number in range(60)]
    changes = {number: result.change for number, result in enumerate(results)
               if result.change is not Change.NONE}
    assert changes == {last: Change.NEW}
    assert any('believed again' in note and 'lasted' in note for note in results[last].notes)


@pytest.mark.parametrize('name', ['dark', 'rotated', 'frozen'])
def test_what_is_known_to_be_wrong_is_never_believed(pictures, name):
    fault = faults()[name]
    frames = [*pictures[:5], *(fault.apply(pictures[number % 8], pictures[4], number)
                               for number in range(100))]
    results = checked(frames, period_ns=500_000_000)
    faulty = fault.faulty(TRAIN) or set(TRAIN)
    assert all(set(result.implausible) == faulty for result in results[5:])


def test_what_was_believed_before_is_believed_at_once_when_it_comes_back(pictures):
    fault, second_s = faults()['light'], 1_000_000_000
    off = range(3, 9)
    frames = [fault.apply(pictures[number], pictures[0], number)
              if number in off or number >= 13 else pictures[number] for number in range(16)]
    changes = [result.change for result in checked(frames, period_ns=second_s)]
    assert [number for number, change in enumerate(changes) if change is not Change.NONE] == [
        5, 9, 13]
    assert (changes[5], changes[9], changes[13]) == (Change.NEW, Change.BACK, Change.BACK)


def test_a_new_scene_that_never_stays_is_not_believed(pictures):
    upset = [{name: np.ascontiguousarray(image[::-1] if number % 2 else image[:, ::-1])
              for name, image in one.items()} for number, one in enumerate(pictures)]
    results = checked([pictures[0], *upset], hold_s=0.3)
    assert all(result.held for result in results[1:])


def test_stamps_that_go_back_start_the_waiting_anew(pictures):
    check, fault = PlausibilityCheck(20.0), faults()['scene']
    check.check(FrameSet(0, pictures[0]))
    for stamp_s in (1, 15, 2, 20, 21):
        result = check.check(FrameSet(round(stamp_s * 1e9), fault.apply(pictures[1], {}, 1)))
        assert result.held
    assert check.check(FrameSet(round(22e9), fault.apply(pictures[1], {}, 1))).change is Change.NEW


def test_one_of_two_cameras_goes_on_alone_and_two_of_three_do_not(pictures):
    fault = faults()['dark-one']
    for names, held in ((TRAIN[:2], False), (TRAIN, False)):
        frames = [{name: one[name] for name in names} for one in pictures[:5]]
        assert bool(checked([*frames, fault.apply(frames[4], frames[4], 5)])[-1].held) == held
    dark = fault.apply(pictures[4], pictures[4], 5)
    two = {**dark, 'cam01': dark['cam00']}
    assert checked([*pictures[:5], two])[-1].held


def test_pictures_of_nothing_have_no_say(pictures):
    """A camera that looks at a white wall, and one that comes later, are believed."""
    wall = np.full_like(pictures[0]['cam00'], 200)
    frames = [{'cam00': wall, 'cam01': pictures[0]['cam01']}, *pictures[:3]]
    assert not any(result.implausible for result in checked(frames))


def test_zero_believes_everything(pictures):
    dark = faults()['dark'].apply(pictures[1], pictures[0], 1)
    result = checked([pictures[0], dark], hold_s=0.0)[-1]
    assert not result.implausible and set(result.frame_set.images) == set(TRAIN)


def test_same_sets_same_results_and_depths_go_with_their_pictures(pictures):
    frames = [*pictures[:4], faults()['dark-one'].apply(pictures[4], pictures[3], 4)]
    first, second = checked(frames), checked(frames)
    for left, right in zip(first, second, strict=True):
        assert left.implausible == right.implausible and left.notes == right.notes
    check = PlausibilityCheck(20.0)
    for number, one in enumerate(frames):
        frame_set = replace(FrameSet(number * PERIOD_NS, one), depths=dict.fromkeys(TRAIN))
        result = check.check(frame_set)
    assert set(result.frame_set.depths) == {'cam01', 'cam03'}


def test_cameras_are_grouped_by_reason():
    assert grouped({'a': 'dark', 'b': 'frozen', 'c': 'dark'}) == 'a, c (dark); b (frozen)'


def test_a_set_without_pictures_ends_no_hold(pictures):
    check, dark = PlausibilityCheck(20.0), faults()['dark']
    for number in range(4):
        check.check(FrameSet(number * PERIOD_NS, pictures[number]))
    assert check.check(FrameSet(5 * PERIOD_NS, dark.apply(pictures[5], {}, 5))).held
    assert check.check(FrameSet(6 * PERIOD_NS, {}, missing=TRAIN)).change is Change.NONE
    assert check.check(FrameSet(7 * PERIOD_NS, pictures[7])).change is Change.RESUMED
