# SPDX-License-Identifier: Apache-2.0
"""The comparison of arms: one first scene for all, kept when asked for."""
import json
import shutil

import pytest

from igs_ros.apps.bench import quality, quality_table
from igs_ros.apps.bench.arms import arms, chosen
from igs_ros.apps.cli.main import main
from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.core.presets import preset

FLAGS = ('--width 96 --max-gaussians 1500 --bootstrap-iterations 20 --refine-iterations 5 '
         '--key-interval 2 --frames 0:4 --seeds 3').split()


def bench(workbench, capsys, *flags):
    with pytest.raises(SystemExit) as ended:
        main(['bench', 'quality', str(workbench), *FLAGS, *flags, '--json'])
    assert ended.value.code == 0
    return json.loads(capsys.readouterr().out)


def test_arms_share_their_first_scene(workbench, tmp_path, capsys):
    for _ in range(2):
        results = bench(workbench, capsys, '--arms', 'frozen', 'key5', '--keep', str(tmp_path))
    rows = results['rows']
    assert [row['arm'] for row in rows] == ['frozen', 'key5']
    assert rows[0]['bootstrap'] == rows[1]['bootstrap']
    assert rows[0]['bootstrap']['iterations'] == 20
    assert len(list(tmp_path.iterdir())) == 1  # the second run took it from there
    assert {frame['kind'] for frame in rows[0]['frames']} == {'candidate'}
    assert [frame['kind'] for frame in rows[1]['frames']] == ['candidate', 'key', 'candidate']
    assert min(results['raster_reference_ms']) > 0


def test_an_arm_at_equal_time_brings_its_yardstick_along(workbench, capsys):
    results = bench(workbench, capsys, '--arms', 'no-births')
    reference, matched = results['rows']
    assert (reference['arm'], matched['arm']) == ('key5', 'no-births')
    assert reference['time_share'] is None and matched['time_share'] > 0
    assert matched['iterations'] != reference['iterations'] == 5
    assert all(frame['born'] == 0 for frame in matched['detail']['frames'] if 'born' in frame)


def test_iterations_are_corrected_by_the_time_that_they_took():
    def result(step_s):
        return {'config': {'refine': {'iterations': 100}}, 'frames': [{}] * 10,
                'detail': {'frames': [{}, {'refine_cpu_s': {'optimize': 4.0, 'stereo': 1.0}},
                                      {'refine_cpu_s': {'optimize': 6.0, 'stereo': 1.0}}]},
                'summary': {'step_cpu_s_mean': step_s}}
    assert quality._corrected(result(2.0), 2.0) == 100
    assert quality._corrected(result(2.0), 2.5) == 150  # 5 s more for 10 s of 200 iterations
    assert quality._corrected(result(2.0), 1.5) == 50
    assert quality._corrected(result(2.0), 0.1) == 1


def test_arms_change_what_they_say(workbench):
    base = Config(seed=3, max_gaussians=777)
    made = {name: arm.config(base) for name, arm in arms().items()}
    assert made['key5'] == base
    assert all(config.seed == 3 and config.max_gaussians == 777 for config in made.values())
    assert made['frozen'].key_interval == 0 and made['frozen'].motion == 'static'
    assert (made['every'].key_interval, made['every'].refine.iterations) == (1, 50)
    assert made['igs-s'].refine == preset('igs-s').refine
    assert not made['per-frame'].refine.selective and made['per-frame'].motion == 'static'
    assert made['no-chain'].motion_model != base.motion_model
    assert all(arm.like in made for arm in arms().values() if arm.like)


def test_unknown_arms_are_refused():
    with pytest.raises(InputError, match="arm 'best' is unknown; expected frozen, key5"):
        chosen(['key5', 'best'])


def test_first_scenes_do_not_outlive_changes_of_the_code(tmp_path):
    copy = tmp_path / 'igs_ros'
    shutil.copytree(quality.PACKAGE, copy, ignore=shutil.ignore_patterns('__pycache__'))
    before = quality.sources_digest()
    assert quality.sources_digest(copy) == before
    for name in ('io/report.py', 'apps/cli/main.py', 'vision/flow.py'):  # no part of a first scene
        (copy / name).write_text('changed')
    assert quality.sources_digest(copy) == before
    for name in ('stages/bootstrap/seeds.py', 'render/cpu/rasterizer.py', 'render/optimize.py',
                 'vision/stereo.py', 'core/frames.py'):
        seen = quality.sources_digest(copy)
        (copy / name).write_text((copy / name).read_text() + '# changed')
        assert quality.sources_digest(copy) != seen, name


def test_the_table_shows_means_over_seeds(capsys):
    def row(seed, psnr, test):
        return {'scene': 'desk', 'arm': 'every', 'seed': seed, 'iterations': 50,
                'time_share': None, 'bootstrap': {'psnr_test': test},
                'summary': dict.fromkeys(('ssim', 'psnr_moving', 'psnr_keys', 'flicker',
                                          'flicker_truth', 'step_cpu_s_mean')) | {'psnr': psnr},
                'detail': {'summary': dict.fromkeys(
                    ('psnr_least', 'psnr_per_frame', 'psnr_gain_over_copy', 'flicker_at_keys',
                     'motion_cpu_s_mean', 'gaussians_most', 'motion_error_median_m')) | {
                         'motion_error_p90_m': 0.0025,
                         'key_cpu_s': {'stereo': 0.5, 'optimize': 1.5}}}}
    results = {'rows': [row(0, 20.0, None), row(1, 25.5, None)], 'machine': 'box',
               'raster_reference_ms': [30.0, 36.0], 'arms': {'every': 'all'}}
    entry = quality_table.means(results)[0]
    assert entry['psnr'] == 22.75 and entry['first'] is None
    assert entry['mm'] is None and entry['mm p90'] == 2.5
    assert entry['s/key'] == 2.0 and entry['stereo'] == 0.5
    quality_table.print_means(results)
    text = capsys.readouterr().out
    cells = next([cell.strip() for cell in line.split('│')] for line in text.splitlines()
                 if 'desk' in line)
    assert cells[1:7] == ['desk', 'every', '2', '50', '-', '22.75']
    assert 'multiply by 1.00' in text
