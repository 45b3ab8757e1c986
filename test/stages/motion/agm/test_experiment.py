# SPDX-License-Identifier: Apache-2.0
import pytest

from igs_ros.stages.motion.agm.experiment import experiment_problems

TRAINED = """
system:
  local_ray: false
  up_sample: true
  backbone: {feature_channels: 128, num_scales: 1, nhead: 1}
  triplane_encoder: {combine_type: mask, grid_type: irgrid, res_cat: ${here.there}}
  renderer: {neighbor_size: 8, feature_channels: {xyz: 3, rotation: 4}, lbs: false, list: [{a: 1}]}
data: {neighbor_size: 3}
"""


def problems(tmp_path, text):
    path = tmp_path / 'experiment_config.yaml'
    path.write_text(text)
    return experiment_problems(path)


def test_published_values_fit(tmp_path):
    assert problems(tmp_path, TRAINED.replace('${', "'${").replace('there}', "there}'")) == ()


@pytest.mark.parametrize('change, said', [
    (('neighbor_size: 8', 'neighbor_size: 4'), 'neighbor_size is 4, expected 8'),
    (('mask', 'cat'), "combine_type is 'cat', expected 'mask'"),
    (('up_sample: true', 'up_sample: false'), 'up_sample is False, expected True')])
def test_other_values_do_not(tmp_path, change, said):
    problem, = problems(tmp_path, TRAINED.replace('${here.there}', 'false').replace(*change))
    assert said in problem and 'another network' in problem


@pytest.mark.parametrize('text', ['', '[1, 2]', 'system: 3', 'system: {a: ]', 'a: !!python/x y'])
def test_unreadable_files(tmp_path, text):
    problem, = problems(tmp_path, text)
    assert 'experiment_config.yaml' in problem and 'remove it' in problem
