# SPDX-License-Identifier: Apache-2.0
"""Where compiled kernels are kept, also where nothing but the temporary folder can be written."""
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALL_OF_THEM = """
import igs_ros.render.cpu.rasterizer, igs_ros.render.loss, igs_ros.vision.stereo
import igs_ros.stages.motion.lift
from igs_ros.vision import neighbors_host as host
from igs_ros.core.jit import on_compiling
told = []
with on_compiling(lambda: told.append(1)):
    host.warm_up()
print('compiled' if told else 'loaded')
"""


def test_every_kernel_goes_through_it():
    direct = [path.name for path in (ROOT / 'igs_ros').rglob('*.py') if re.search(
        r'^\s*(from numba import|import numba$)', path.read_text(), re.MULTILINE)]
    assert direct == ['jit.py']


@pytest.fixture
def unwritable(tmp_path):
    """run(code, **environment): neither package nor home take a file, even from root."""
    shutil.copytree(ROOT / 'igs_ros', tmp_path / 'code' / 'igs_ros', ignore=lambda _, names: [
        name for name in names if name == '__pycache__' or name.endswith('.safetensors')])
    for folder, _, _ in os.walk(tmp_path / 'code' / 'igs_ros'):
        (Path(folder) / '__pycache__').touch()  # a file where numba would make a folder
    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    temporary.chmod(0o1777)

    def run(code, **environment):
        kept = {name: value for name, value in os.environ.items()
                if name not in ('NUMBA_CACHE_DIR', 'XDG_CACHE_HOME')}
        return subprocess.run([sys.executable, '-c', code], text=True, capture_output=True,
                              cwd=tmp_path / 'code', timeout=300, env={
                                  **kept, 'HOME': '/dev/null', 'TMPDIR': str(temporary),
                                  'PYTHONPATH': str(tmp_path / 'code'), **environment})
    run.temporary = temporary
    return run


def test_a_private_folder_takes_the_kernels(unwritable):
    folder = unwritable.temporary / f'igs_ros-numba-{os.geteuid()}'
    for outcome in ('compiled', 'loaded'):
        ended = unwritable(ALL_OF_THEM)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert ended.stdout.split() == [outcome]
        assert ended.stderr.count('compiled kernels are kept in') == 1
        assert f'kept in {folder}: the package and the cache of this user' in ended.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and list(folder.rglob('*.nbc'))


def test_processes_that_it_starts_use_the_same_and_say_nothing(unwritable):
    ended = unwritable('import subprocess, sys, igs_ros.vision.stereo\n'
                       'subprocess.run([sys.executable, "-c", "import igs_ros.vision.stereo"])')
    assert ended.stderr.count('compiled kernels are kept in') == 1, ended.stderr


def test_a_bad_choice_of_the_user_is_named(unwritable):
    ended = unwritable(ALL_OF_THEM, NUMBA_CACHE_DIR='/dev/null/kernels')
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert 'NUMBA_CACHE_DIR=/dev/null/kernels, the package and' in ended.stderr


def test_without_any_place_they_are_compiled_anew(unwritable):
    nowhere = "import tempfile; tempfile.tempdir = '/dev/null'\n" + ALL_OF_THEM
    for _ in range(2):
        ended = unwritable(nowhere)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert ended.stdout.split() == ['compiled']
        assert ended.stderr.count('compiled anew in every process') == 1
