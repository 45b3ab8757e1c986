# SPDX-License-Identifier: Apache-2.0
"""results.json: the contract of the issue, field by field."""
import copy
import json
import re

import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.io.results import read_results, validate_results, write_results

# The contract as the issue writes it.
FIELDS = ['scene', 'version', 'device', 'machine', 'threads', 'seed', 'test_view', 'train_views',
          'config', 'bootstrap', 'frames', 'summary']
BOOTSTRAP = ['method', 'seconds', 'cpu_s', 'iterations', 'stopped_by', 'gaussians', 'psnr_train',
             'psnr_test']
FRAME = ['index', 'kind', 'psnr', 'ssim', 'psnr_moving', 'motion_s', 'motion_cpu_s', 'refine_s',
         'refine_cpu_s', 'render_s', 'step_s', 'step_cpu_s', 'gaussians', 'moved', 'state_bytes']
SUMMARY = ['frames_scored', 'psnr', 'ssim', 'psnr_moving', 'psnr_keys', 'psnr_first_two_keys',
           'psnr_last_two_keys', 'flicker', 'flicker_truth', 'step_s', 'step_cpu_s_mean',
           'state_bytes_mean', 'peak_rss_mb', 'wall_s']


def test_the_file_has_the_fields_of_the_contract_in_its_order(tmp_path, results):
    write_results(tmp_path / 'results.json', results)
    text = (tmp_path / 'results.json').read_text()
    stored = json.loads(text)
    assert list(stored) == FIELDS
    assert list(stored['bootstrap']) == BOOTSTRAP
    assert list(stored['frames'][0]) == FRAME
    assert list(stored['summary']) == SUMMARY
    assert list(stored['summary']['step_s']) == ['mean', 'p50', 'p95', 'p99', 'max']
    assert stored['frames'][0]['psnr'] == 24.1235
    assert stored['train_views'] == ['cam00', 'cam01']


def test_scores_that_are_not_finite_become_null(tmp_path, results):
    results['summary']['psnr'] = float('inf')
    results['frames'][1]['psnr_moving'] = None
    results['frames'][0]['ssim'] = np.float64('nan')
    write_results(tmp_path / 'r.json', results)
    stored = json.loads((tmp_path / 'r.json').read_text())
    assert stored['summary']['psnr'] is None
    assert stored['frames'][1]['psnr_moving'] is None and stored['frames'][0]['ssim'] is None


def test_a_run_without_test_view_has_null_scores(results):
    results['test_view'] = None
    with pytest.raises(ValueError, match='2 frames scored without a test view'):
        validate_results(results)
    results['summary'] |= {'frames_scored': 0, 'psnr': None, 'flicker': None}
    results['bootstrap']['psnr_test'] = None
    validate_results(results)


def test_what_only_the_inside_knows_may_be_null(results):
    for name in ('motion_cpu_s', 'refine_cpu_s', 'step_cpu_s', 'moved', 'state_bytes'):
        results['frames'][0][name] = None
    for name in ('cpu_s', 'psnr_train', 'psnr_test'):
        results['bootstrap'][name] = None
    validate_results(results)


def test_a_live_section_may_follow(tmp_path, results):
    results['live'] = {'drops': {'late': 3}}
    write_results(tmp_path / 'r.json', results)
    assert list(json.loads((tmp_path / 'r.json').read_text())) == [*FIELDS, 'live']


@pytest.mark.parametrize('where, value, message', [
    (('seed',), None, 'Expected `int`, got `null` - at `$.seed`'),
    (('frames', 1, 'kind'), 'frame', "Invalid enum value 'frame' - at `$.frames[1].kind`"),
    (('frames', 0, 'gaussians'), 2.5, 'Expected `int`, got `float` - at `$.frames[0].gaussians`'),
    (('frames', 0, 'step_s'), float('nan'), 'got `null` - at `$.frames[0].step_s`'),
    (('bootstrap', 'stopped_by'), 'hand', 'at `$.bootstrap.stopped_by`'),
    (('train_views',), 'cam00', 'Expected `array`, got `str` - at `$.train_views`'),
    (('summary', 'step_s'), 0.5, 'Expected `object`, got `float` - at `$.summary.step_s`'),
    (('summary', 'psnr'), True, 'got `bool` - at `$.summary.psnr`'),
    (('extra',), 1, 'unknown field `extra`'),
])
def test_what_breaks_the_contract_is_named(results, where, value, message):
    validate_results(results)
    target = results
    for step in where[:-1]:
        target = target[step]
    target[where[-1]] = value
    with pytest.raises(ValueError, match='^results.json: .*' + re.escape(message)):
        validate_results(results)


def test_every_field_is_needed(results):
    for part, names in ((None, FIELDS), ('bootstrap', BOOTSTRAP), ('summary', SUMMARY)):
        for name in names:
            broken = copy.deepcopy(results)
            (broken[part] if part else broken).pop(name)
            with pytest.raises(ValueError, match=f'missing required field `{name}`'):
                validate_results(broken)


def test_what_was_written_is_read_again(tmp_path, results):
    path = tmp_path / 'results.json'
    results['live'] = {'drops': {'late': 3}}
    write_results(path, results)
    assert read_results(path) == json.loads(path.read_text())


@pytest.mark.parametrize('text, said', [
    ('{"scene": 3}', 'Expected `str`, got `int` - at `$.scene`; expected what this version'),
    ('[]', 'Expected `object`, got `array`'), ('{', 'results.json: no JSON')])
def test_a_file_that_is_none_is_one_clear_line(tmp_path, text, said):
    (tmp_path / 'results.json').write_text(text)
    with pytest.raises(InputError, match=re.escape(said)) as error:
        read_results(tmp_path / 'results.json')
    assert str(tmp_path) in str(error.value) and '\n' not in str(error.value)
