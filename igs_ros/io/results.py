# SPDX-License-Identifier: Apache-2.0
"""results.json: the contract, the check and the file (definitions: docs/metrics.md).

`CONTRACT` lists every field in the order of the file. A number may be null only where the
contract says so: scores without a test view, `psnr_moving` where nothing moves, means of nothing,
and what the demo cannot know of the node that it watches from outside.
"""
from __future__ import annotations

import json
import math
from pathlib import Path

from igs_ros.core.files import replaced

DIGITS = 6  # significant digits kept of a float


class Kind:
    """What one field holds: some types, or also null."""

    def __init__(self, name: str, *types: type, null: bool = False, choices=None):
        self.name = name + (' or null' if null else '')
        self.types = types
        self.null = null
        self.choices = choices

    def fits(self, value) -> bool:
        """Whether `value` is of this kind; a bool is no number, a NaN no finite one."""
        if value is None:
            return self.null
        if isinstance(value, bool) or not isinstance(value, self.types):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return self.null  # written as null
        return self.choices is None or value in self.choices


TEXT = Kind('text', str)
TEXT_OR_NULL = Kind('text', str, null=True)
COUNT = Kind('a whole number', int)
NUMBER = Kind('a number', int, float)
SCORE = Kind('a number', int, float, null=True)
OBJECT = Kind('an object', dict)
CPU = SCORE  # null in live runs: threads side by side cannot be told apart by stage
INSIDE_COUNT = Kind('a whole number', int, null=True)  # null in the demo: seen from inside only

FRAME = {
    'index': COUNT, 'kind': Kind('key or candidate', str, choices=('key', 'candidate')),
    'psnr': SCORE, 'ssim': SCORE, 'psnr_moving': SCORE,
    'motion_s': NUMBER, 'motion_cpu_s': CPU, 'refine_s': NUMBER, 'refine_cpu_s': CPU,
    'render_s': NUMBER, 'step_s': NUMBER, 'step_cpu_s': CPU,
    'gaussians': COUNT, 'moved': INSIDE_COUNT, 'state_bytes': INSIDE_COUNT,
}
CONTRACT = {
    'scene': TEXT, 'version': TEXT, 'device': TEXT, 'machine': TEXT, 'threads': COUNT,
    'seed': COUNT, 'test_view': TEXT_OR_NULL, 'train_views': [TEXT], 'config': OBJECT,
    'bootstrap': {
        'method': TEXT, 'seconds': NUMBER, 'cpu_s': CPU, 'iterations': COUNT,
        'stopped_by': Kind('iterations or seconds', str, choices=('iterations', 'seconds')),
        'gaussians': COUNT, 'psnr_train': SCORE, 'psnr_test': SCORE,
    },
    'frames': [FRAME],
    'summary': {
        'frames_scored': COUNT, 'psnr': SCORE, 'ssim': SCORE, 'psnr_moving': SCORE,
        'psnr_keys': SCORE, 'psnr_first_two_keys': SCORE, 'psnr_last_two_keys': SCORE,
        'flicker': SCORE, 'flicker_truth': SCORE,
        'step_s': dict.fromkeys(('mean', 'p50', 'p95', 'p99', 'max'), SCORE),
        'step_cpu_s_mean': SCORE, 'state_bytes_mean': SCORE, 'peak_rss_mb': NUMBER,
        'wall_s': NUMBER,
    },
}
OPTIONAL = {
    'motion': TEXT,  # the motion model, also where the settings say auto
    'live': OBJECT,  # of live runs and the demo: latencies, drops, frames not scored
    'detail': OBJECT,  # of runs in lockstep: where time and quality come from (detail.py)
}


def validate_results(results: dict) -> None:
    """Raise `AssertionError` naming the first field that breaks the contract.

    Every field of `CONTRACT` has to be there, and no other but those of `OPTIONAL`.
    """
    present = {name: kind for name, kind in OPTIONAL.items() if name in results}
    _check(results, {**CONTRACT, **present}, 'results')
    without_test_view = results['test_view'] is None
    scored = results['summary']['frames_scored']
    assert not (without_test_view and scored), f'{scored} frames scored without a test view'


def write_results(path: str | Path, results: dict) -> None:
    """Check `results` and write them as JSON: fields in the order of the contract, floats to six
    significant digits, NaN and infinite ones as null. Raises `OutputError`.
    """
    validate_results(results)
    ordered = _ordered(results, {**CONTRACT, **OPTIONAL})
    text = json.dumps(_plain(ordered), indent=1, allow_nan=False)
    with replaced(Path(path)) as draft:
        draft.write_text(text + '\n', encoding='utf-8')


def _check(value, kind, where: str) -> None:
    if isinstance(kind, Kind):
        assert kind.fits(value), f'{where} is {value!r}; expected {kind.name}'
    elif isinstance(kind, list):
        assert isinstance(value, list | tuple), f'{where} is {value!r}; expected a list'
        for number, item in enumerate(value):
            _check(item, kind[0], f'{where}[{number}]')
    else:
        assert isinstance(value, dict), f'{where} is {value!r}; expected an object'
        missing, unknown = kind.keys() - value.keys(), value.keys() - kind.keys()
        assert not missing and not unknown, \
            f'{where}: missing {sorted(missing)}, unknown {sorted(unknown)}'
        for name, inner in kind.items():
            _check(value[name], inner, f'{where}.{name}')


def _ordered(value, kind):
    if isinstance(kind, list) and isinstance(kind[0], dict):
        return [_ordered(item, kind[0]) for item in value]
    if isinstance(kind, dict):
        return {name: _ordered(value[name], inner) for name, inner in kind.items()
                if name in value}
    return value


def _plain(value):
    """`value` as JSON can hold it."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f'{value:.{DIGITS}g}') if math.isfinite(value) else None
    return value
