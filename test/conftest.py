# SPDX-License-Identifier: Apache-2.0
"""Order, data and threads of the whole suite."""
import os
import sys
from pathlib import Path

# Before torch and numba are imported: tests share small machines, and start processes themselves.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('NUMBA_NUM_THREADS', '2')

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'test'))  # picture_bytes

torch.set_num_threads(1)
# No deadlines: they measure the machine. The same examples on every run: failures repeat.
settings.register_profile('igs', deadline=None, derandomize=True)
settings.load_profile('igs')


def pytest_collection_modifyitems(items):
    """Fast tests first, then those with ROS processes, slow ones last; skip gpu without one."""
    def cost(item):
        in_node = (ROOT / 'test' / 'node') in item.path.parents
        return (item.get_closest_marker('slow') is not None, in_node)
    items.sort(key=cost)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='needs an NVIDIA GPU'))


@pytest.fixture(scope='session')
def test_data() -> Path:
    """The folder of test recordings: $IGS_TEST_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get('IGS_TEST_DATA') or ROOT.parent / 'shared' / 'data')
    if not folder.is_dir():
        pytest.skip(f'no test recordings at {folder}; IGS_TEST_DATA names another place')
    return folder


@pytest.fixture(scope='session')
def workbench() -> Path:
    """The recording that ships with the package."""
    return ROOT / 'recordings' / 'workbench'
