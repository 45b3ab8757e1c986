# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for moving_world.py

from moving_world import MovingWorld  # noqa: E402


@pytest.fixture(scope='session')
def moving_world():
    """A ball before a wall, and a rig that may move."""
    return MovingWorld()
