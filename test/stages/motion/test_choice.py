# SPDX-License-Identifier: Apache-2.0
"""Which motion model is taken, and what is said about it."""
import logging
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
import torch

from igs_ros.apps.cli.options import SceneOptions
from igs_ros.core.config import Config, MotionConfig
from igs_ros.core.errors import InputError
from igs_ros.core.logs import log_once
from igs_ros.node import params
from igs_ros.stages.motion import choose as motion
from igs_ros.stages.motion.adjust import AdjustedMotion
from igs_ros.stages.motion.agm_small import weights
from igs_ros.stages.motion.choose import check_motion, make_motion
from igs_ros.stages.motion.models import PRECISIONS
from igs_ros.stages.motion.static import StaticMotion


@pytest.fixture(autouse=True)
def fresh():
    log_once.cache_clear()
    motion.agm_net.cache_clear()
    yield
    motion.agm_net.cache_clear()


@pytest.fixture
def loaded(monkeypatch):
    """Weights that fit, whatever the folder."""
    monkeypatch.setattr(motion, 'agm_net', lambda folder: SimpleNamespace(folder=folder))


def with_small(monkeypatch, there):
    """The weights of the small network ship, or do not."""
    monkeypatch.setattr(weights, 'available', lambda: there)


def test_every_list_of_names_is_the_same():
    hint = get_type_hints(SceneOptions)['motion']
    choices = {name for part in get_args(hint) for name in get_args(part)}
    rules = {parameter.name: parameter.allowed for parameter in params.parameters()}
    assert choices == {'auto', *motion._MAKERS} == set(rules['motion'].values)
    assert set(rules['motion_model.precision'].values) == set(PRECISIONS)
    assert Config().motion == 'auto' and MotionConfig().bbox == 'auto'


def test_auto_without_weights_is_geometric_and_says_so_once(stage, monkeypatch, caplog):
    with_small(monkeypatch, False)
    with caplog.at_level(logging.INFO):
        models = [make_motion('auto', stage.rig, stage.rasterizer, MotionConfig())
                  for _ in range(2)]
    assert [model.name for model in models] == ['geometric'] * 2
    said = [r.message for r in caplog.records if r.name == 'igs_ros.stages.motion.choose']
    assert said == ['motion: geometric (auto: no weights of agm are given)']


@pytest.mark.parametrize('better, there, name', [
    (True, True, 'agm_small'), (True, False, 'geometric'), (False, True, 'geometric')])
def test_auto_takes_the_small_network_where_it_ships_and_is_better(
        stage, monkeypatch, caplog, better, there, name):
    with_small(monkeypatch, there)
    monkeypatch.setattr(motion, '_AGM_SMALL_IS_BETTER', better)
    with caplog.at_level(logging.INFO):
        assert make_motion('auto', stage.rig, stage.rasterizer, MotionConfig()).name == name
    assert f'motion: {name} (auto: ' in caplog.text


@pytest.mark.parametrize('device, cost', [('cpu', True), ('cuda', False)])
def test_auto_with_weights_is_agm(loaded, device, cost):
    name, reason = motion._best(MotionConfig(weights='here'), torch.device(device))
    assert name == 'agm' and ('seconds per frame' in reason) == cost


def test_bad_weights_are_one_error_at_the_start(tmp_path):
    for name in ('auto', 'agm'):
        with pytest.raises(InputError, match='no such folder'):
            check_motion(name, MotionConfig(weights=str(tmp_path / 'nowhere')))
        with pytest.raises(InputError, match='bbox'):
            check_motion(name, MotionConfig(weights=str(tmp_path), bbox='1 2 3'))
    check_motion('auto', MotionConfig())
    check_motion('geometric', MotionConfig(weights=str(tmp_path / 'nowhere')))  # not asked for


def test_unknown_precision():
    with pytest.raises(InputError, match='precision is .float8.; expected float32, bfloat16'):
        check_motion('auto', MotionConfig(precision='float8'))


def test_small_network_that_does_not_ship(stage, monkeypatch):
    with_small(monkeypatch, False)
    for attempt in (lambda: check_motion('agm_small', MotionConfig()),
                    lambda: make_motion('agm_small', stage.rig, stage.rasterizer, MotionConfig())):
        with pytest.raises(InputError, match='agm_small needs the weights that ship'):
            attempt()
    with_small(monkeypatch, True)
    model = make_motion('agm_small', stage.rig, stage.rasterizer, MotionConfig())
    assert model.name == 'agm_small'


def test_what_auto_stands_for_is_told():
    cpu = torch.device('cpu')
    assert motion.resolved_name('static', MotionConfig(), cpu) == 'static'
    assert motion.resolved_name('auto', MotionConfig(), cpu) == 'geometric'
    assert motion.resolved_name('auto', MotionConfig(weights='somewhere'), cpu) == 'agm'


def test_a_model_of_ones_own(stage, monkeypatch):
    monkeypatch.setattr(motion, '_MAKERS', dict(motion._MAKERS))
    with pytest.raises(InputError, match="motion model 'own' is unknown; expected auto, agm,"):
        check_motion('own', MotionConfig())
    given = []

    def make(*arguments):
        given.append(arguments)
        return StaticMotion('own')
    motion.register('own', make)
    plain = MotionConfig(adjust_iterations=0)
    check_motion('own', plain)
    assert make_motion('own', stage.rig, stage.rasterizer, plain, 3).name == 'own'
    assert given == [(stage.rig, stage.rasterizer, plain, 3)]
    adjusted = make_motion('own', stage.rig, stage.rasterizer, MotionConfig(adjust_iterations=5))
    assert isinstance(adjusted, AdjustedMotion)
    with pytest.raises(InputError, match='auto, agm, agm_small, geometric, static or own'):
        check_motion('others', MotionConfig())


@pytest.mark.parametrize('name', ['auto', 'static', 'agm'])
def test_a_name_that_is_taken(name):
    with pytest.raises(ValueError, match=f"'{name}' already"):
        motion.register(name, lambda *_: None)
