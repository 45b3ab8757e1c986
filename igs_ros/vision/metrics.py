# SPDX-License-Identifier: Apache-2.0
"""How good a rendered test view is; every definition stands in docs/metrics.md.

Pictures are [H, W, 3] sRGB: the camera's as uint8, rendered ones as floats, which count clamped
to 0..1. PSNR is in dB; the summary is made of means of per-frame values.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import cv2
import numpy as np

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_C1 = 0.01 ** 2
SSIM_C2 = 0.03 ** 2

CHANGE_SIGMA = 1.0  # px, blur of the change between two pictures
CHANGE_WINDOW = 9  # px, four sigmas to each side
MOVING_ABOVE = 8 / 255  # change of a moving pixel
STILL_UP_TO = 3 / 255  # change of a still pixel, in the whole run
GROWN = np.ones((5, 5), np.uint8)  # changed areas are dilated by this

SCORES = ('psnr', 'ssim', 'psnr_moving')
FITTED = tuple(f'{name}_fitted' for name in SCORES)


@dataclass(frozen=True)
class Score:
    """One rendered picture against the camera's; None where there is nothing to compare.

    The fitted ones are those of the rendering in the best exposure (`fitted`).
    """

    psnr: float | None = None  # dB
    ssim: float | None = None
    psnr_moving: float | None = None  # dB, on the pixels that move
    psnr_fitted: float | None = None  # dB
    ssim_fitted: float | None = None
    psnr_moving_fitted: float | None = None  # dB


def as_float(picture: np.ndarray) -> np.ndarray:
    """[H, W, 3] float64 in 0..1 of a uint8 or a float picture (clamped)."""
    if picture.dtype == np.uint8:
        return picture / 255.0
    return np.clip(picture, 0, 1).astype(np.float64)


@overload
def psnr(truth: np.ndarray, rendered: np.ndarray) -> float: ...
@overload
def psnr(truth: np.ndarray, rendered: np.ndarray, pixels: np.ndarray | None
         ) -> float | None: ...
def psnr(truth: np.ndarray, rendered: np.ndarray, pixels: np.ndarray | None = None
         ) -> float | None:
    """Peak signal-to-noise ratio in dB over all pixels and RGB; infinite for equal pictures.

    Args:
        truth: [H, W, 3] sRGB, uint8 or floats 0..1.
        rendered: the same.
        pixels: [H, W] bool, only these count.

    Returns:
        None where no pixel counts.
    """
    error = (as_float(truth) - as_float(rendered)) ** 2
    if pixels is not None:
        if not pixels.any():
            return None
        error = error[pixels]
    mean = float(error.mean())
    return math.inf if mean == 0 else -10 * math.log10(mean)


def fitted(truth: np.ndarray, rendered: np.ndarray, pixels: np.ndarray | None = None
           ) -> np.ndarray:
    """`rendered` [H, W, 3] float64 with the gain and offset per channel that fit `truth` best.

    By least squares over all pixels, then clamped to 0..1: what is left is not exposure.

    Args:
        truth: [H, W, 3] sRGB, uint8 or floats 0..1.
        rendered: the same.
        pixels: [H, W] bool, only these count, at least one; None = all.
    """
    whole, y = as_float(rendered), as_float(truth)
    x = whole
    if pixels is not None:
        x, y = x[pixels][None], y[pixels][None]
    mean_x, mean_y = x.mean((0, 1)), y.mean((0, 1))
    varies = (x - mean_x) ** 2
    gain = ((x - mean_x) * (y - mean_y)).mean((0, 1)) / np.maximum(varies.mean((0, 1)), 1e-12)
    return np.clip(gain * (whole - mean_x) + mean_y, 0, 1)


def ssim(truth: np.ndarray, rendered: np.ndarray, pixels: np.ndarray | None = None) -> float:
    """Structural similarity, mean over pixels and RGB: Gaussian 11x11, sigma 1.5, zero padding.

    Args:
        truth: [H, W, 3] sRGB, uint8 or floats 0..1.
        rendered: the same.
        pixels: [H, W] bool, only these count; None = all.
    """
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    kernel = np.exp(-offsets ** 2 / (2 * SSIM_SIGMA ** 2))
    kernel /= kernel.sum()

    def local_mean(values):
        return cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)

    x, y = as_float(truth), as_float(rendered)
    if pixels is not None:
        y = np.where(pixels[..., None], y, x)  # windows reach there
    mean_x, mean_y = local_mean(x), local_mean(y)
    variance_x = local_mean(x * x) - mean_x ** 2
    variance_y = local_mean(y * y) - mean_y ** 2
    covariance = local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x ** 2 + mean_y ** 2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_x + variance_y + SSIM_C2)
    similar = luminance * structure
    return float((similar if pixels is None else similar[pixels]).mean())


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[H, W] float64 0..1: largest change over RGB, then blurred (sigma 1 px, mirrored border)."""
    largest = np.abs(as_float(after) - as_float(before)).max(-1)
    return cv2.GaussianBlur(largest, (CHANGE_WINDOW, CHANGE_WINDOW), CHANGE_SIGMA,
                            borderType=cv2.BORDER_REFLECT_101)


def changed_pixels(before: np.ndarray, after: np.ndarray, above: float) -> np.ndarray:
    """[H, W] bool: pixels that changed, dilated 5x5.

    Args:
        before: [H, W, 3] sRGB, uint8 or float 0..1.
        after: [H, W, 3] sRGB, uint8 or float 0..1.
        above: 0..1, of `change`; what is larger has changed.
    """
    mask = (change(before, after) > above).astype(np.uint8)
    return cv2.dilate(mask, GROWN).astype(bool)


class _Steps:
    """How pictures differ from one frame to the next, mean over RGB and over steps."""

    def __init__(self):
        self.count = 0
        self._total = np.zeros(())  # [H, W] after the first step

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        self._total = self._total + np.abs(as_float(after) - as_float(before)).mean(-1)
        self.count += 1

    def mean(self, pixels: np.ndarray) -> float | None:
        """Over `pixels`, [H, W] bool, in 1/255; None without a step."""
        if not self.count:
            return None
        return float(self._total[pixels].mean()) * 255 / self.count


class Scorer:
    """Scores the rendered test view of one run, frame by frame, the first scene's frame first.

    Only the last pictures are kept: masks and differences are accumulated.
    """

    def __init__(self):
        self._truth: np.ndarray | None = None
        self._rendered: np.ndarray | None = None
        self._changed: np.ndarray | None = None  # [H, W] bool: not still
        self._steps_truth, self._steps_rendered = _Steps(), _Steps()
        self._steps_to_keys = _Steps()  # of rendered pictures

    def add(self, truth: np.ndarray | None, rendered: np.ndarray | None,
            is_key: bool = False, pixels: np.ndarray | None = None) -> Score:
        """The score of the next frame of the run.

        `psnr_moving` needs the truth of the frame before.

        Args:
            truth: what the test camera saw, uint8 [H, W, 3]; None where it has no picture.
            rendered: float or uint8 [H, W, 3]; None where the frame was not rendered: its truth
                still says what moves.
            is_key: whether it is a key frame.
            pixels: [H, W] bool, only these count (`Camera.valid`), the same ones each time; None
                = all.
        """
        score = Score()
        if truth is not None and rendered is not None and (pixels is None or pixels.any()):
            assert truth.shape == rendered.shape, (truth.shape, rendered.shape)
            exposed = fitted(truth, rendered, pixels)
            moving = None if self._truth is None else changed_pixels(self._truth, truth,
                                                                     MOVING_ABOVE)
            if moving is not None and pixels is not None:
                moving &= pixels
            score = Score(*_scores(truth, rendered, moving, pixels),
                          *_scores(truth, exposed, moving, pixels))
        self._accumulate(truth, rendered, is_key, pixels)
        self._truth = truth
        self._rendered = None if rendered is None else as_float(rendered)
        return score

    def flicker(self) -> tuple[float | None, float | None]:
        """`flicker` of the rendered and of the true pictures on still pixels, in 1/255.

        None where no two frames follow one another, or no pixel is still.
        """
        if self._changed is None or self._changed.all():
            return None, None
        still = ~self._changed
        return self._steps_rendered.mean(still), self._steps_truth.mean(still)

    def flicker_at_keys(self) -> float | None:
        """`flicker` of the rendered pictures over the steps to key frames alone, in 1/255."""
        if self._changed is None or self._changed.all():
            return None
        return self._steps_to_keys.mean(~self._changed)

    def _accumulate(self, truth: np.ndarray | None, rendered: np.ndarray | None,
                    is_key: bool, pixels: np.ndarray | None) -> None:
        if truth is None or self._truth is None:
            return
        changed = changed_pixels(self._truth, truth, STILL_UP_TO)
        if pixels is not None:
            changed |= ~pixels
        self._changed = changed if self._changed is None else self._changed | changed
        self._steps_truth.add(self._truth, truth)
        if rendered is not None and self._rendered is not None:
            self._steps_rendered.add(self._rendered, rendered)
            if is_key:
                self._steps_to_keys.add(self._rendered, rendered)


def _scores(truth: np.ndarray, rendered: np.ndarray, moving: np.ndarray | None,
            pixels: np.ndarray | None) -> tuple[float | None, float, float | None]:
    """PSNR and SSIM on `pixels`, and PSNR on the moving ones, if they are known; [H, W] bool."""
    return (psnr(truth, rendered, pixels), ssim(truth, rendered, pixels),
            None if moving is None else psnr(truth, rendered, moving))


class Scorers:
    """Scores several test views of one run; what a run says is the mean over them.

    Args:
        views: names of the cameras.
    """

    def __init__(self, views: Iterable[str]):
        self.of = {view: Scorer() for view in views}

    def flicker(self) -> tuple[float | None, float | None]:
        """As of one scorer, mean over the views."""
        found = [one.flicker() for one in self.of.values()]
        return mean(rendered for rendered, _ in found), mean(truth for _, truth in found)

    def flicker_at_keys(self) -> float | None:
        """As of one scorer, mean over the views."""
        return mean(one.flicker_at_keys() for one in self.of.values())


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean over the views of one frame; exact pictures count only where all are exact."""
    def together(name: str) -> float | None:
        values = [getattr(score, name) for score in scores]
        found = mean(values)
        return math.inf if found is None and math.inf in values else found
    return Score(*(together(name) for name in (*SCORES, *FITTED)))


def times_summary(seconds: Sequence[float]) -> dict[str, float | None]:
    """mean, p50, p95, p99 and max of some durations; percentiles interpolate linearly."""
    if not len(seconds):
        return dict.fromkeys(('mean', 'p50', 'p95', 'p99', 'max'))
    p50, p95, p99 = np.percentile(seconds, (50, 95, 99))
    return {'mean': float(np.mean(seconds)), 'p50': float(p50), 'p95': float(p95),
            'p99': float(p99), 'max': float(np.max(seconds))}


def summary(frames: Sequence[dict], scorer: Scorer | Scorers, peak_rss_mb: float, wall_s: float
            ) -> dict:
    """The `summary` of results.json (docs/metrics.md).

    Left out of the means of scores are frames without one (None) and infinite PSNRs (a picture
    that is met exactly, which would hide all others); a mean of nothing is None. A NaN is kept:
    it is a fault, and shows.

    Args:
        frames: those of results.json.
        scorer: which scored these frames.
        peak_rss_mb: largest resident memory of the process, MB.
        wall_s: of the whole run, s.
    """
    keys = [frame['psnr'] for frame in frames if frame['kind'] == 'key']
    flicker, flicker_truth = scorer.flicker()
    means = {name: mean(frame[name] for frame in frames) for name in SCORES}
    return {
        'frames_scored': sum(frame['psnr'] is not None for frame in frames),
        **means,
        'psnr_keys': mean(keys),
        'psnr_first_two_keys': mean(keys[:2]),
        'psnr_last_two_keys': mean(keys[-2:]),
        'flicker': flicker,
        'flicker_truth': flicker_truth,
        'step_s': times_summary([frame['step_s'] for frame in frames]),
        'step_cpu_s_mean': mean(frame['step_cpu_s'] for frame in frames),
        'state_bytes_mean': mean(frame['state_bytes'] for frame in frames),
        'peak_rss_mb': peak_rss_mb,
        'wall_s': wall_s,
        **{name: mean(frame.get(name) for frame in frames) for name in FITTED},
    }


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of `values` but None and infinite ones; None of nothing."""
    known = [value for value in values if value is not None and value != math.inf]
    return float(np.mean(known)) if known else None
