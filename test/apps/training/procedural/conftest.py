# SPDX-License-Identifier: Apache-2.0
import pytest

from igs_ros.apps.training.config import Views
from igs_ros.apps.training.procedural.source import ProceduralSource
from igs_ros.render.cpu.rasterizer import CpuRasterizer


@pytest.fixture(scope='session')
def source():
    """Samples of two frames, four input views and three loss views."""
    return ProceduralSource(7, CpuRasterizer(1), Views(4, 3), frames=2)


@pytest.fixture(scope='session')
def sample(source):
    """A small one: 320x240 pictures of a few cameras side by side."""
    return source.sample(0)
