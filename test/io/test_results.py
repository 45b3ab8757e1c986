# SPDX-License-Identifier: Apache-2.0
"""results.json: the contract of the issue, field by field."""
import copy
import json

import numpy as np
import pytest

from igs_ros.io.results import validate_results, write_results

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
    with pytest.raises(AssertionError, match='2 frames scored without a test view'):
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
    (('seed',), None, r'results.seed is None; expected a whole number'),
    (('frames', 1, 'kind'), 'frame', r'results.frames\[1\].kind is .frame.; expected key or cand'),
    (('frames', 0, 'gaussians'), 2.5, r'frames\[0\].gaussians is 2.5; expected a whole'),
    (('frames', 0, 'step_s'), float('nan'), r'step_s is nan; expected a number'),
    (('bootstrap', 'stopped_by'), 'hand', r'bootstrap.stopped_by'),
    (('train_views',), 'cam00', r'results.train_views is .*expected a list'),
    (('summary', 'step_s'), 0.5, r'summary.step_s is 0.5; expected an object'),
    (('summary', 'psnr'), True, r'summary.psnr is True'),
    (('extra',), 1, r"results: missing \[\], unknown \['extra'\]"),
])
def test_what_breaks_the_contract_is_named(results, where, value, message):
    validate_results(results)
    target = results
    for step in where[:-1]:
        target = target[step]
    target[where[-1]] = value
    with pytest.raises(AssertionError, match=message):
        validate_results(results)


def test_every_field_is_needed(results):
    for part, names in ((None, FIELDS), ('bootstrap', BOOTSTRAP), ('summary', SUMMARY)):
        for name in names:
            broken = copy.deepcopy(results)
            (broken[part] if part else broken).pop(name)
            with pytest.raises(AssertionError, match=f"missing .*'{name}'"):
                validate_results(broken)
