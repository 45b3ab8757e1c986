# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for ball_world.py

from ball_world import prepared_folder  # noqa: E402

from igs_ros.stages.motion.agm import weights  # noqa: E402
from igs_ros.stages.motion.agm.net import AgmNet  # noqa: E402


@pytest.fixture(scope='session')
def flow_weights(tmp_path_factory):
    """A weights folder in which only the flow backbone lies, with random values."""
    folder = tmp_path_factory.mktemp('weights')
    torch.manual_seed(5)
    weights.save(AgmNet(), folder)
    next(folder.glob('igs/*/*')).unlink()
    return folder


@pytest.fixture(scope='session')
def prepared(tmp_path_factory):
    """A prepared recording of the little world; not to be written to."""
    return prepared_folder(tmp_path_factory.mktemp('prepared') / 'ball')
