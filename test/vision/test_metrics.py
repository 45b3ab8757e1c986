# SPDX-License-Identifier: Apache-2.0
"""The definitions of docs/metrics.md against torch, SciPy, and hand-made pictures."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from igs_ros.io.recordings.open import open_recording
from igs_ros.vision.metrics import (
    MOVING_ABOVE,
    STILL_UP_TO,
    Score,
    Scorer,
    Scorers,
    change,
    changed_pixels,
    fitted,
    mean_score,
    psnr,
    ssim,
    summary,
    times_summary,
)

SHAPE = (40, 56, 3)


def picture(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def noisy(truth, sigma, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, truth.shape)
    return (truth / 255 + noise).astype(np.float32)


def ssim_torch(x, y):
    """Mean SSIM with a full 11x11 window and zero padding, float64, straight from the paper."""
    axis = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-axis ** 2 / (2 * 1.5 ** 2))
    window = torch.outer(line, line)
    window = (window / window.sum()).expand(3, 1, 11, 11)

    def blur(image):
        return torch.nn.functional.conv2d(image, window, padding=5, groups=3)
    x, y = (torch.from_numpy(np.asarray(p, dtype=np.float64)).permute(2, 0, 1)[None]
            for p in (x, y))
    mx, my = blur(x), blur(y)
    vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 1e-4, 9e-4
    maps = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx ** 2 + my ** 2 + c1) * (vx + vy + c2))
    return maps.mean().item()


@pytest.mark.parametrize('sigma', [0.01, 0.1, 0.5])
def test_ssim_equals_the_dense_window_in_torch(sigma):
    truth = picture(1)
    rendered = noisy(truth, sigma)
    expected = ssim_torch(truth / 255, np.clip(rendered, 0, 1))
    assert ssim(truth, rendered) == pytest.approx(expected, abs=1e-9)
    assert expected < 1 - 1e-4


def test_psnr_of_a_known_error():
    truth = np.full(SHAPE, 100, np.uint8)
    assert psnr(truth, truth / 255 + 0.1) == pytest.approx(20)
    assert psnr(truth, truth / 255 - 0.01) == pytest.approx(40)
    assert psnr(truth, truth) == math.inf


def test_rendered_colors_are_clamped_before_they_are_compared():
    white = np.full(SHAPE, 255, np.uint8)
    assert psnr(white, np.full(SHAPE, 1.7, np.float32)) == math.inf
    assert ssim(white, np.full(SHAPE, 1.7, np.float32)) == pytest.approx(1)


def test_psnr_on_some_pixels_ignores_the_others():
    truth = np.full(SHAPE, 100, np.uint8)
    rendered = truth / 255
    rendered[:, :10] += 0.1
    chosen = np.zeros(SHAPE[:2], bool)
    chosen[:, :10] = True
    assert psnr(truth, rendered, chosen) == pytest.approx(20)
    assert psnr(truth, rendered, ~chosen) == math.inf
    assert psnr(truth, rendered, np.zeros_like(chosen)) is None


def test_change_and_its_masks_equal_scipy():
    before, after = picture(3), picture(4)
    quiet = before.copy()
    quiet[20:25, 30:34, 1] = after[20:25, 30:34, 1]  # one channel is enough
    largest = np.abs(quiet.astype(float) - before).max(-1) / 255
    expected = ndimage.gaussian_filter(largest, 1.0, mode='mirror', truncate=4)
    np.testing.assert_allclose(change(before, quiet), expected, atol=1e-12)
    for above in (MOVING_ABOVE, STILL_UP_TO):
        grown = ndimage.binary_dilation(expected > above, np.ones((5, 5)))
        np.testing.assert_array_equal(changed_pixels(before, quiet, above), grown)
        assert 0 < grown.mean() < 0.2


def test_a_single_changed_pixel_moves_as_far_as_blur_and_dilation_reach():
    before = np.zeros((31, 31, 3), np.uint8)
    after = before.copy()
    after[15, 15] = 60  # the blur leaves 60 * 0.159 = 9.5 at the middle, 5.8 beside it
    moving = changed_pixels(before, after, MOVING_ABOVE)
    assert moving.sum() == 25 and moving[13:18, 13:18].all()
    after[15, 15] = 50  # 8.0 at the middle is not above 8
    assert not changed_pixels(before, after, MOVING_ABOVE).any()


def run_of(length, seed=5):
    """Truths with a patch that walks, and renders with known errors."""
    background = picture(seed, (48, 64, 3)) // 2
    truths, renders = [], []
    for i in range(length):
        truth = background.copy()
        truth[10:18, 4 + 5 * i:12 + 5 * i] = 250
        truths.append(truth)
        renders.append(noisy(truth, 0.02, seed=i))
    return truths, renders


def test_the_scorer_equals_the_definitions_written_out():
    truths, renders = run_of(5)
    scorer = Scorer()
    scores = [scorer.add(t, r) for t, r in zip(truths, renders, strict=True)]
    assert scores[0].psnr_moving is None and scores[0].psnr is not None
    still = np.ones(truths[0].shape[:2], bool)
    for i in range(1, 5):
        moving = changed_pixels(truths[i - 1], truths[i], MOVING_ABOVE)
        assert scores[i].psnr_moving == psnr(truths[i], renders[i], moving)
        assert scores[i].psnr == psnr(truths[i], renders[i])
        still &= ~changed_pixels(truths[i - 1], truths[i], STILL_UP_TO)
    clamped = [np.clip(r.astype(float), 0, 1) for r in renders]
    steps = [np.abs(clamped[i] - clamped[i - 1])[still].mean() for i in range(1, 5)]
    flicker, flicker_truth = scorer.flicker()
    assert flicker == pytest.approx(np.mean(steps) * 255)
    assert flicker == pytest.approx(0.02 * 2 / math.sqrt(math.pi) * 255, rel=0.05)
    assert flicker_truth == 0
    assert 0.3 < still.mean() < 0.9


def test_flicker_at_keys_is_that_of_the_steps_to_key_frames():
    truths, renders = run_of(6)
    scorer, still = Scorer(), np.ones(truths[0].shape[:2], bool)
    assert scorer.flicker_at_keys() is None
    for i in range(6):
        scorer.add(truths[i], renders[i], is_key=i in (2, 5))
        if i:
            still &= ~changed_pixels(truths[i - 1], truths[i], STILL_UP_TO)
    clamped = [np.clip(r.astype(float), 0, 1) for r in renders]
    steps = [np.abs(clamped[i] - clamped[i - 1])[still].mean() for i in (2, 5)]
    assert scorer.flicker_at_keys() == pytest.approx(np.mean(steps) * 255)
    assert scorer.flicker_at_keys() != pytest.approx(scorer.flicker()[0])


def test_frames_without_a_render_still_say_what_moves():
    truths, renders = run_of(4)
    scorer = Scorer()
    scorer.add(truths[0], renders[0])
    assert scorer.add(truths[1], None) == Score()
    third = scorer.add(truths[2], renders[2])
    moving = changed_pixels(truths[1], truths[2], MOVING_ABOVE)
    assert third.psnr_moving == psnr(truths[2], renders[2], moving)
    assert scorer.flicker() == (None, 0.0)  # no two renders follow one another yet
    scorer.add(truths[3], renders[3])
    assert scorer.flicker()[0] > 1


def test_a_test_camera_without_a_picture_scores_nothing():
    truths, renders = run_of(3)
    scorer = Scorer()
    scorer.add(truths[0], renders[0])
    assert scorer.add(None, renders[1]) == Score()
    after_gap = scorer.add(truths[2], renders[2])
    assert after_gap.psnr is not None and after_gap.psnr_moving is None
    assert scorer.flicker() == (None, None)


def test_nothing_moves_and_nothing_is_still():
    gray = np.full(SHAPE, 90, np.uint8)
    scorer = Scorer()
    scorer.add(gray, gray / 255)
    assert scorer.add(gray, gray / 255).psnr_moving is None
    scorer.add(gray + 100, gray / 255)
    assert scorer.flicker() == (None, None)


def test_moving_and_still_shares_of_the_recordings_are_the_calibrated_ones(test_data):
    """quality_calibration.md, head: A 19 % moving, 42 % still, 0.12; C 12 %, 59 %, 0.05."""
    for name, camera, moving, still, flicker in (('scene_A_arc', 'cam00', 0.19, 0.42, 0.12),
                                                 ('scene_C_small', 'cam02', 0.12, 0.59, 0.05)):
        recording = open_recording(test_data / 'synthetic' / name)
        truths = [frame_set.pictures[camera].decode()
                  for frame_set in recording.frame_sets(0, 11, [camera])]
        scorer = Scorer()
        for truth in truths:
            scorer.add(truth, None)
        pairs = list(zip(truths[:-1], truths[1:], strict=True))
        share = np.mean([changed_pixels(*pair, MOVING_ABOVE).mean() for pair in pairs])
        changed = np.any([changed_pixels(*pair, STILL_UP_TO) for pair in pairs], axis=0)
        assert share == pytest.approx(moving, abs=0.005)
        assert 1 - changed.mean() == pytest.approx(still, abs=0.005)
        assert scorer.flicker()[1] == pytest.approx(flicker, abs=0.005)


def test_times_are_summarized():
    times = times_summary([3.0, 1.0, 2.0, 4.0])
    assert times == {'mean': 2.5, 'p50': 2.5, 'p95': pytest.approx(3.85),
                     'p99': pytest.approx(3.97), 'max': 4.0}
    assert set(times_summary([]).values()) == {None}


def frame(index, kind, value):
    return {'index': index, 'kind': kind, 'psnr': value, 'ssim': value and 0.9,
            'psnr_moving': value if index != 2 else None, 'step_s': float(index),
            'step_cpu_s': 2.0 * index, 'state_bytes': 100 * index}


def test_the_summary_averages_what_was_scored():
    kinds = ['candidate', 'key', 'candidate', 'key', 'candidate', 'key']
    values = [20.0, 30.0, None, 28.0, 22.0, 25.0]
    frames = [frame(i + 1, kind, value)
              for i, (kind, value) in enumerate(zip(kinds, values, strict=True))]
    result = summary(frames, Scorer(), peak_rss_mb=10.0, wall_s=5.0)
    assert result['frames_scored'] == 5
    assert result['psnr'] == pytest.approx(25)
    assert result['psnr_moving'] == pytest.approx((20 + 28 + 22 + 25) / 4)  # null is left out
    assert result['psnr_keys'] == pytest.approx((30 + 28 + 25) / 3)
    assert result['psnr_first_two_keys'] == 29
    assert result['psnr_last_two_keys'] == 26.5
    assert result['step_s']['max'] == 6 and result['step_cpu_s_mean'] == 7
    assert result['state_bytes_mean'] == 350
    assert result['flicker'] is None


def test_an_exact_frame_does_not_hide_the_others():
    gray = np.full(SHAPE, 90, np.uint8)
    exact = psnr(gray, gray)
    frames = [frame(1, 'candidate', 20.0), frame(3, 'key', exact), frame(4, 'key', 30.0)]
    result = summary(frames, Scorer(), peak_rss_mb=1.0, wall_s=1.0)
    assert exact == np.inf and result['frames_scored'] == 3
    assert result['psnr'] == result['psnr_moving'] == 25
    assert result['psnr_keys'] == 30


def test_a_nan_score_shows_in_the_mean():
    frames = [frame(1, 'candidate', 20.0), frame(3, 'key', float('nan'))]
    assert np.isnan(summary(frames, Scorer(), peak_rss_mb=1.0, wall_s=1.0)['psnr'])


def test_a_summary_of_no_frames_is_empty():
    result = summary([], Scorer(), peak_rss_mb=1.0, wall_s=1.0)
    assert result['frames_scored'] == 0
    assert result['psnr'] is None and result['psnr_keys'] is None


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_the_fitted_score_is_that_of_the_best_gain_and_offset(seed):
    """Against numpy's least squares, and no other exposure nearby is better."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(40, 200, (12, 16, 3)).astype(np.uint8)
    rendered = (truth / 255 - 0.1) / rng.uniform(0.7, 1.4, 3) + rng.normal(0, 0.02, truth.shape)
    best = fitted(truth, rendered)
    for channel in range(3):
        columns = np.stack([np.clip(rendered[..., channel].ravel(), 0, 1),
                            np.ones(truth[..., 0].size)], 1)
        solved = np.linalg.lstsq(columns, truth[..., channel].ravel() / 255, rcond=None)[0]
        np.testing.assert_allclose(best[..., channel].ravel(), (columns @ solved).clip(0, 1),
                                   atol=1e-9)
    assert psnr(truth, best) > psnr(truth, rendered)


def test_exposure_costs_the_plain_score_and_not_the_fitted_one():
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 180, SHAPE).astype(np.uint8)
    score = Scorer().add(truth, truth / 255 * 0.8 + 0.05)
    assert score.psnr < 30 and score.psnr_fitted > 60
    assert score.ssim < 0.99 < score.ssim_fitted and score.psnr_moving_fitted is None
    flat = Scorer().add(truth, np.full(SHAPE, 0.3))
    assert flat.psnr_fitted == pytest.approx(-10 * np.log10((truth / 255).var((0, 1)).mean()))


def test_the_score_of_a_frame_is_the_mean_over_its_views():
    exact, good, none = Score(np.inf, 1.0), Score(20.0, 0.5, 10.0), Score()
    assert mean_score([good, Score(30.0, 0.7)]) == Score(25.0, 0.6, 10.0)
    assert mean_score([exact, good, none]).psnr == 20.0
    assert mean_score([exact, none]).psnr == np.inf
    assert mean_score([]) == mean_score([none]) == none


def test_flicker_is_the_mean_over_the_views():
    scorers, rng = Scorers('ab'), np.random.default_rng(1)
    still = rng.integers(0, 255, SHAPE).astype(np.uint8)
    for frame_number in range(3):
        for view, jump in (('a', 0.0), ('b', 0.1)):
            scorers.of[view].add(still, still / 255 * 0.8 + jump * (frame_number % 2), True)
    rendered, truth = scorers.flicker()
    assert rendered == scorers.flicker_at_keys() == pytest.approx(0.05 * 255, rel=1e-6)
    assert truth == 0
