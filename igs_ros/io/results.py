# SPDX-License-Identifier: Apache-2.0
"""results.json: the contract, the check and the file (definitions: docs/metrics.md).

`Results` has every field in the order of the file. A number may be null only where it says so:
scores without a test view, `psnr_moving` where nothing moves, means of nothing, and what the demo
cannot know of the node that it watches from outside.
"""
from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from igs_ros.core.errors import InputError
from igs_ros.core.files import read_json, replaced

DIGITS = 6  # significant digits kept of a float

Number = int | float
Score = int | float | None
Cpu = int | float | None  # null in live runs: threads side by side cannot be told apart by stage
InsideCount = int | None  # null in the demo: seen from inside only


class _Part(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with these fields and no others."""


class View(_Part):
    """The scores of one test view of one frame."""

    psnr: Score
    ssim: Score
    psnr_moving: Score
    psnr_fitted: Score
    ssim_fitted: Score
    psnr_moving_fitted: Score


class Bootstrap(_Part):
    """The first scene."""

    method: str
    seconds: Number
    cpu_s: Cpu
    iterations: int
    stopped_by: Literal['iterations', 'seconds']
    gaussians: int
    psnr_train: Score
    psnr_test: Score
    index: int | UnsetType = UNSET  # its frame
    psnr_train_fitted: Score | UnsetType = UNSET
    psnr_test_fitted: Score | UnsetType = UNSET
    views: dict[str, View] | UnsetType = UNSET  # each test view


class Frame(_Part):
    """One frame that was shown."""

    index: int
    kind: Literal['key', 'candidate']
    psnr: Score
    ssim: Score
    psnr_moving: Score
    motion_s: Number
    motion_cpu_s: Cpu
    refine_s: Number
    refine_cpu_s: Cpu
    render_s: Number
    step_s: Number
    step_cpu_s: Cpu
    gaussians: int
    moved: InsideCount
    state_bytes: InsideCount
    psnr_fitted: Score | UnsetType = UNSET
    ssim_fitted: Score | UnsetType = UNSET
    psnr_moving_fitted: Score | UnsetType = UNSET
    views: dict[str, View] | UnsetType = UNSET  # each test view


class StepTimes(_Part):
    """Over the frames' `step_s`."""

    mean: Score
    p50: Score
    p95: Score
    p99: Score
    max: Score


class Summary(_Part):
    """Means and sizes of the whole run."""

    frames_scored: int
    psnr: Score
    ssim: Score
    psnr_moving: Score
    psnr_keys: Score
    psnr_first_two_keys: Score
    psnr_last_two_keys: Score
    flicker: Score
    flicker_truth: Score
    step_s: StepTimes
    step_cpu_s_mean: Score
    state_bytes_mean: Score
    peak_rss_mb: Number
    wall_s: Number
    psnr_fitted: Score | UnsetType = UNSET
    ssim_fitted: Score | UnsetType = UNSET
    psnr_moving_fitted: Score | UnsetType = UNSET


class Results(_Part):
    """All of results.json."""

    scene: str
    version: str
    device: str
    machine: str
    threads: int
    seed: int
    test_view: str | None
    train_views: list[str]
    config: dict[str, Any]
    bootstrap: Bootstrap
    frames: list[Frame]
    summary: Summary
    test_views: list[str] | UnsetType = UNSET  # all that are scored, `test_view` first
    motion: str | UnsetType = UNSET  # the motion model, also where the settings say auto
    confidence: dict[str, Any] | UnsetType = UNSET  # see docs/confidence.md
    live: dict[str, Any] | UnsetType = UNSET  # of live runs and the demo: latencies, drops, ...
    detail: dict[str, Any] | UnsetType = UNSET  # of runs in lockstep, see evaluation/detail.py

    def __post_init__(self) -> None:
        if self.test_view is None and self.summary.frames_scored:
            raise ValueError(f'{self.summary.frames_scored} frames scored without a test view')


def validate_results(results: dict) -> Results:
    """`results` as they are written: floats to six significant digits, NaN and infinite ones null.

    Raises:
        ValueError: naming the first field that breaks the contract.
    """
    try:
        return msgspec.convert(_plain(results), Results)
    except msgspec.ValidationError as error:
        raise ValueError(f'results.json: {error}') from error


def write_results(path: str | Path, results: dict) -> None:
    """Check `results` and write them as JSON, fields in the order of the contract.

    Raises:
        OutputError: the file cannot be written.
        ValueError: as `validate_results` does.
    """
    ordered = msgspec.to_builtins(validate_results(results))
    text = json.dumps(ordered, indent=1, allow_nan=False)
    with replaced(Path(path)) as draft:
        draft.write_text(text + '\n', encoding='utf-8')


def read_results(path: str | Path) -> dict:
    """What `write_results` has written.

    Raises:
        InputError: anything else, or a file that cannot be read.
    """
    found = read_json(Path(path), 'what `igs run` writes')
    try:
        return msgspec.to_builtins(msgspec.convert(found, Results))
    except msgspec.ValidationError as error:
        raise InputError(f'{path}: {error}; expected what this version of `igs run` writes. '
                         f'Remove the file, and run again.') from error


def _plain(value: object) -> object:
    """`value` as JSON can hold it."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f'{value:.{DIGITS}g}') if math.isfinite(value) else None
    return value
