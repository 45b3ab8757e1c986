# SPDX-License-Identifier: Apache-2.0
"""Settings, what of them may not change, and the packages that training asks for."""
import importlib.util
import json
import math

import pytest

from igs_ros.apps.training import checkpoint
from igs_ros.apps.training import config as training
from igs_ros.apps.training.config import OptimizerConfig, TrainConfig, checked_training
from igs_ros.core.config import Bound, allowed, numbers
from igs_ros.core.errors import InputError


def test_every_number_has_bounds():
    assert {name for name, _ in numbers(TrainConfig())} == {
        name for name, rule in allowed(TrainConfig).items() if isinstance(rule, Bound)}
    with pytest.raises(InputError, match='optimizer.lr'):
        checked_training(TrainConfig(optimizer=OptimizerConfig(lr=math.nan)))


def test_a_plan_is_what_may_not_change():
    plan = checkpoint.plan(TrainConfig(), 10, 4)
    assert plan['optimizer.lr'] == 4e-4 and plan['steps in all'] == 10
    assert not {'threads', 'device', 'batch', 'checkpoint_every'} & plan.keys()
    assert plan == json.loads(json.dumps(plan)), 'plain values, for a safe file'


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    training.require_extra()
    monkeypatch.setattr(importlib.util, 'find_spec',
                        lambda name: None if name == 'accelerate' else name)
    with pytest.raises(InputError, match='pip install accelerate '):
        training.require_extra()
