# SPDX-License-Identifier: Apache-2.0
"""Exposures: recovered from pictures, identity for equal cameras, mean identity always."""
import numpy as np
import pytest
import torch

from igs_ros.render.exposure import Exposure, ExposureLearner, Exposures, estimated

GAINS = {'a': (1.2, 1.0, 0.9), 'b': (0.95, 1.05, 1.0), 'c': (0.85, 0.95, 1.1)}
OFFSETS = {'a': (0.04, 0.0, -0.02), 'b': (-0.04, 0.02, 0.02), 'c': (0.0, -0.02, 0.0)}  # mean 0


def picture(seed, noise=0.0):
    """[96, 128, 3] in 0.1..0.6, blotches as in a room."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0.1, 0.6, (6, 8, 3)).repeat(16, 0).repeat(16, 1)
    return torch.tensor(small + noise * rng.normal(size=small.shape), dtype=torch.float32)


def recorded(name, rgb):
    return rgb * torch.tensor(GAINS[name]) + torch.tensor(OFFSETS[name])


def assert_recovered(exposures, tolerance):
    for name in GAINS:
        found = exposures.cameras[name]
        np.testing.assert_allclose(found.gain, GAINS[name], atol=tolerance)
        np.testing.assert_allclose(found.offset, OFFSETS[name], atol=tolerance)


def test_gain_and_offset_are_recovered():
    views = {name: (picture(i), recorded(name, picture(i))) for i, name in enumerate(GAINS)}
    assert_recovered(estimated(views), 0.02)


def test_a_tenth_of_wrong_pixels_does_not_matter():
    views = {}
    for i, name in enumerate(GAINS):
        target = recorded(name, picture(i))
        target[:10] = 0.9  # something that the scene does not have
        views[name] = (picture(i), target)
    assert_recovered(estimated(views), 0.05)


def test_saturated_pixels_do_not_count():
    bright = {name: (picture(i) * 1.5, recorded(name, picture(i) * 1.5))
              for i, name in enumerate(GAINS)}
    cut = {name: (rendered, target.clamp(0, 1)) for name, (rendered, target) in bright.items()}
    assert max(float((target == 1).float().mean()) for _, target in cut.values()) > 0.05
    assert_recovered(estimated(cut), 0.03)


def test_what_all_cameras_share_is_left_to_the_scene():
    """The scene is dimmer than every picture by the same gain and offset."""
    views = {name: (picture(i) / 1.3 - 0.02, recorded(name, picture(i)))
             for i, name in enumerate(GAINS)}
    exposures = estimated(views)
    gains = torch.stack([exposure.gain for exposure in exposures.cameras.values()])
    offsets = torch.stack([exposure.offset for exposure in exposures.cameras.values()])
    torch.testing.assert_close(gains.mean(0), torch.ones(3))
    torch.testing.assert_close(offsets.mean(0), torch.zeros(3), rtol=0, atol=1e-6)
    ratios = gains / torch.tensor(list(GAINS.values()))
    assert ratios.std(0).max() < 0.01  # up to the common part the exposures are right


def test_equal_cameras_stay_at_identity_whatever_the_rendering_lacks():
    views = {name: (picture(i) * 0.9 + 0.02, picture(i, noise=0.05))
             for i, name in enumerate(GAINS)}
    for exposure in estimated(views).cameras.values():
        assert (exposure.gain - 1).abs().max() < 0.02 and exposure.offset.abs().max() < 0.01


def test_one_camera_and_a_black_picture_stay_at_identity():
    for view in ((picture(0), picture(0) * 1.5), (torch.zeros(9, 9, 3), torch.zeros(9, 9, 3))):
        found = estimated({'a': view}).cameras['a']
        assert torch.equal(found.gain, torch.ones(3)) and found.offset.abs().max() < 1e-6


def test_a_camera_that_changes_is_followed():
    learner, dim = ExposureLearner(('a', 'b')), picture(0) * 0.5
    for target in [picture(0)] * 10 + [dim] * 20:
        learner.see('a', picture(0), target)
        learner.see('b', picture(1), picture(1))
    found = learner.exposures.cameras
    np.testing.assert_allclose(found['a'].gain / found['b'].gain, 0.5, atol=0.03)


def test_apply_is_the_formula_and_identity_for_unknown_cameras():
    rgb = picture(3).requires_grad_()
    exposures = Exposures({'a': Exposure(torch.tensor([2.0, 1, 1]), torch.tensor([0.0, 0, 0.5]))})
    assert exposures.apply('b', rgb) is rgb and Exposures().apply('a', rgb) is rgb
    seen = exposures.apply('a', rgb)
    torch.testing.assert_close(seen[0, 0], rgb[0, 0] * torch.tensor([2.0, 1, 1])
                               + torch.tensor([0.0, 0, 0.5]))
    seen.sum().backward()
    assert rgb.grad[0, 0].tolist() == pytest.approx([2, 1, 1])


def test_brighter_than_a_saturated_pixel_is_no_error():
    exposures = Exposures({'a': Exposure(torch.full((3,), 2.0), torch.zeros(3))})
    rgb = torch.tensor([[0.7, 0.4, 0.7]]).requires_grad_()
    picture = torch.tensor([[1.0, 1.0, 0.9]])
    seen = exposures.comparable('a', rgb, picture)
    assert seen[0].tolist() == pytest.approx([1.0, 0.8, 1.4])
    (seen - picture).abs().sum().backward()
    assert rgb.grad[0].tolist() == pytest.approx([0, -2, 2])
    assert exposures.comparable('b', rgb, picture) is rgb


def test_offsets_that_all_cameras_share_go_to_the_scene():
    """Gains of mean 1.1 and offsets of mean 0.05: a scene 1.1 s + 0.05 makes the same pictures."""
    gains, offsets = {'a': 1.4, 'b': 1.0, 'c': 0.9}, {'a': 0.11, 'b': 0.05, 'c': -0.01}
    views = {name: (picture(i), picture(i) * gains[name] + offsets[name])
             for i, name in enumerate(gains)}
    exposures = estimated(views)
    for name, exposure in exposures.cameras.items():
        gain = gains[name] / 1.1
        np.testing.assert_allclose(exposure.gain, gain, atol=0.01)
        np.testing.assert_allclose(exposure.offset, offsets[name] - gain * 0.05, atol=0.01)
        torch.testing.assert_close(exposures.apply(name, 1.1 * views[name][0] + 0.05),
                                   views[name][1], rtol=0, atol=0.01)


def test_a_camera_that_was_never_seen_counts_as_the_scene_itself():
    learner = ExposureLearner(('a', 'b', 'never'))
    for _ in range(12):
        learner.see('a', picture(0), picture(0) * 1.5)
        learner.see('b', picture(1), picture(1))
    found = learner.exposures.cameras
    for name, gain in (('a', 1.5), ('b', 1.0), ('never', 1.0)):
        np.testing.assert_allclose(found[name].gain, gain / (3.5 / 3), atol=0.005)
        np.testing.assert_allclose(found[name].offset, 0, atol=0.005)


def test_where_there_is_hardly_any_contrast_identity_is_preferred():
    """A variance of 1e-4 weighs as much as the preference: half of the gain of 1.5 is found."""
    levels = torch.tensor([0.49, 0.51]).repeat(30, 15)[..., None].expand(30, 30, 3)
    learner = ExposureLearner(('a', 'b'))
    learner.see('a', levels, 0.5 + 1.5 * (levels - 0.5))
    learner.see('b', levels, levels)
    x = levels[::3, ::3, 0].numpy().astype(float).ravel()
    weight = 1 / np.sqrt(len(x))
    rows = np.concatenate([np.stack([x, np.ones_like(x)], 1) * weight, 0.01 * np.eye(2)])
    wanted = np.concatenate([(0.5 + 1.5 * (x - 0.5)) * weight, [0.01, 0.0]])
    gain, offset = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    assert 1.2 < gain < 1.3
    found = learner.exposures.cameras
    np.testing.assert_allclose(found['a'].gain, gain / ((gain + 1) / 2), rtol=1e-4)
    np.testing.assert_allclose(found['b'].offset, -offset / 2 / ((gain + 1) / 2), atol=1e-5)


@pytest.mark.parametrize('error, weight', [(0.0, 50), (0.019, 50), (0.021, 1 / 0.021),
                                           (0.04, 25)])
def test_pixels_count_less_from_a_residual_of_two_hundredths_on(error, weight):
    """And seven tenths of what is known outlive the next picture."""
    learner = ExposureLearner(('a',))
    for known in (0.3, 0.51):  # 0.7 * 0.3 + 0.3
        learner.see('a', torch.full((9, 9, 3), 0.5), torch.full((9, 9, 3), 0.5 + error))
        expected = [known * weight * term for term in (
            1, 0.5, 0.5 + error, 0.25, 0.5 * (0.5 + error))]
        np.testing.assert_allclose(learner._moments[0, 0], expected, rtol=1e-4)
        learner._gain[:], learner._offset[:] = 1, 0  # one camera alone stays at identity


@pytest.mark.parametrize('level, counts', [(254, True), (255, False)])
def test_a_pixel_is_saturated_at_the_last_level_only(level, counts):
    learner = ExposureLearner(('a',))
    learner.see('a', torch.full((9, 9, 3), 0.5), torch.full((9, 9, 3), level / 255))
    assert bool((learner._moments != 0).any()) == counts
    exposures = Exposures({'a': Exposure(torch.full((3,), 2.0), torch.zeros(3))})
    shown = torch.full((1, 3), level / 255)
    seen = exposures.comparable('a', torch.full((1, 3), 0.9), shown)
    torch.testing.assert_close(seen, torch.full((1, 3), 1.8) if counts else shown)


def test_every_third_pixel_tells():
    views = {}
    for i, name in enumerate(GAINS):
        wrong = torch.full((96, 128, 3), 0.3)
        wrong[::3, ::3] = recorded(name, picture(i))[::3, ::3]
        views[name] = (picture(i), wrong)
    assert_recovered(estimated(views), 0.02)


def test_a_picture_that_is_far_off_tells_as_well():
    """Of black, where only an offset can be told: 0.9 for one of two cameras."""
    learner, black = ExposureLearner(('a', 'b')), torch.zeros(9, 9, 3)
    learner.see('a', black, black + 0.9)
    learner.see('b', black, black)
    assert 'a' in learner and 'c' not in learner
    found = learner.exposures.cameras
    np.testing.assert_allclose(found['a'].offset, 0.45, atol=1e-3)
    np.testing.assert_allclose(found['b'].offset, -0.45, atol=1e-3)
