# SPDX-License-Identifier: Apache-2.0
"""Order, data and threads of the whole suite."""
import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

# Before torch and numba are imported: tests share small machines, and start processes themselves.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('NUMBA_NUM_THREADS', '2')

import msgspec  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

from igs_ros.io.results import Bootstrap, Frame, Summary  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'test'))  # picture_bytes, fake_cuda

# Jobs in the background (nohup, some CI) ignore Ctrl-C, and so do their children: tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture
def cuda():
    """A CUDA device in host memory, with gsplat's kernels: what runs on it, and what it waits for.

    See fake_cuda.py; `cuda.counted()` counts. `make_rasterizer('auto')` takes it, too.
    """
    if torch.version.cuda is not None:
        pytest.skip('torch is built with CUDA: no device can be put in its place')
    from fake_cuda import fake_cuda
    from fake_gsplat import fake_kernels
    with fake_cuda() as device, fake_kernels():
        yield device


def required(part: type) -> list[str]:
    """The fields that a part of results.json must have."""
    return [field.name for field in msgspec.structs.fields(part) if field.required]


@pytest.fixture
def results() -> dict:
    """What the contract of results.json demands, of two frames."""
    frame = {name: 1 for name in required(Frame)} | {'kind': 'key', 'psnr': 24.123456789}
    return {
        'summary': {name: 1.0 for name in required(Summary)} | {
            'frames_scored': 2,
            'step_s': dict.fromkeys(('max', 'mean', 'p50', 'p95', 'p99'), 0.5)},
        'scene': 'C_small', 'version': '0.1.0', 'device': 'cpu', 'machine': 'box', 'threads': 2,
        'seed': 0, 'test_view': 'cam02', 'train_views': ('cam00', 'cam01'),
        'config': {'motion': 'static', 'none': None},
        'bootstrap': {name: 1 for name in required(Bootstrap)} | {
            'method': 'points', 'stopped_by': 'iterations'},
        'frames': [dict(frame), dict(frame)],
    }


@pytest.fixture
def full_disk():
    """`with full_disk(size):` no file of this process grows beyond that, as on a full disk."""
    @contextlib.contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return limited
