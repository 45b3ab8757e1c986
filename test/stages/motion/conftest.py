# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for stage.py

from stage import make_stage  # noqa: E402


@pytest.fixture(scope='session')
def stage():
    return make_stage()


@pytest.fixture(scope='session')
def sets(stage):
    """What the cameras see at steps 0 to 4."""
    return [stage.frame_set(step) for step in range(5)]
