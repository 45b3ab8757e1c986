# SPDX-License-Identifier: Apache-2.0
"""The package as such: versions, licenses, messages' comments, file sizes, what is installed."""
import ast
import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest

import igs_ros

ROOT = Path(__file__).resolve().parents[1]
XML = ElementTree.parse(ROOT / 'package.xml').getroot()
VERSION = XML.findtext('version')
SOURCE_SUFFIXES = {'.py', '.sh', '.cmake', '.msg', '.srv', '.action', '.xml', '.yaml', '.yml',
                   '.toml', '.rviz', '.rst'}
SOURCE_NAMES = {'CMakeLists.txt', 'Makefile', '.gitignore'}
LIMIT = 400


def files():
    """Paths of all files that git has or would take; without git, or of a tarball, the same."""
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return files_without_git()
    if listed.returncode:
        return files_without_git()
    names = listed.stdout.split('\0')
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


def files_without_git():
    """Paths of all files but those in folders that .gitignore names."""
    ignored = [line.strip('/') for line in (ROOT / '.gitignore').read_text().splitlines()
               if line.endswith('/')] + ['.git', '.venv']
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders
                      if not any(fnmatch(name, pattern) for pattern in ignored)]
        found += [Path(folder, name) for name in names]
    return sorted(path for path in found if path.is_file())


def test_without_git_no_file_is_overlooked():
    found = set(files_without_git())
    assert ROOT / 'test/test_package.py' in found
    assert set(files()) <= found
    assert not {'.venv', '.git', '__pycache__'} & {part for path in found for part in path.parts}


def is_source(path):
    return (path.suffix in SOURCE_SUFFIXES or path.name in SOURCE_NAMES
            or path.parent.name in ('scripts', 'constraints', '.ci'))


def test_one_version():
    assert igs_ros.__version__ == VERSION
    try:
        assert metadata.version('igs_ros') == VERSION, 'installed from another version: make venv'
    except metadata.PackageNotFoundError:
        pass  # built by colcon
    headings = re.findall(r'^(Forthcoming|\d+\.\d+\.\d+.*)\n-+$',
                          (ROOT / 'CHANGELOG.rst').read_text(), re.M)
    released = [heading.split()[0] for heading in headings if heading != 'Forthcoming']
    assert headings, 'CHANGELOG.rst: no section'
    assert headings[0] == 'Forthcoming' or released[0] == VERSION
    assert not released or released[0] == VERSION, 'newest release of CHANGELOG.rst'


def test_build_and_run_name_the_same_ros_versions():
    pins = [dict(re.findall(r"'(ros-[a-z-]+)==([\d.*]+)'", (ROOT / name).read_text()))
            for name in ('setup.py', 'tools/preflight.py')]
    common = pins[0].keys() & pins[1].keys()
    assert common
    assert all(pins[0][name] == pins[1][name] for name in common)


def names(requirements):
    """Names of distributions, without versions and comments."""
    lines = (line.split('#')[0] for line in requirements)
    return {re.match(r'\s*([\w.-]+)', line)[1].lower() for line in lines if line.strip()}


def test_a_workspace_has_all_that_pip_installs():
    """rosdep and requirements-ros.txt together are REQUIRES of setup.py."""
    known = {'python3-matplotlib': 'matplotlib', 'python3-numpy': 'numpy', 'python3-rich': 'rich',
             'python3-opencv': 'opencv-python-headless', 'python3-scipy': 'scipy',
             'python3-pil': 'pillow', 'python3-yaml': 'pyyaml'}
    rosdep = {e.text for e in XML.iter('exec_depend') if e.text.startswith('python3-')}
    assert rosdep == known.keys()
    source = re.search(r'^REQUIRES = (\[.*?^\])', (ROOT / 'setup.py').read_text(), re.M | re.S)
    ours = (ROOT / 'requirements-ros.txt').read_text().splitlines()
    wanted = ast.literal_eval(source[1])
    assert names(ours) | set(known.values()) == names(wanted)
    pins = {line for line in ours if '==' in line}
    assert pins == {line for line in wanted if '==' in line}


def test_license_line_in_every_source_file():
    sources = [path for path in files() if is_source(path)]
    assert len(sources) > 20
    lacking = [str(path.relative_to(ROOT)) for path in sources if path.read_text().strip()
               and 'SPDX-License-Identifier: Apache-2.0'
               not in '\n'.join(path.read_text().split('\n')[:3])]
    assert not lacking, f'no SPDX line in the first three lines of {lacking}'


def test_files_stay_short():
    long = {str(path.relative_to(ROOT)): lines for path in files() if path.suffix == '.py'
            and (lines := len(path.read_text().splitlines())) > LIMIT}
    assert not long, f'more than {LIMIT} lines: {long}'


@pytest.mark.parametrize('path', sorted((ROOT / 'msg').glob('*.msg')), ids=lambda p: p.name)
def test_every_message_field_has_a_comment(path):
    lines = path.read_text().splitlines()
    fields = [i for i, line in enumerate(lines) if line.strip() and not line.startswith('#')]
    assert fields
    bare = [lines[i] for i in fields if not lines[i - 1].startswith('#')]
    assert not bare
    assert any('QoS' in line for line in lines), 'how to subscribe'


def test_executables_start_modules_that_exist():
    scripts = sorted((ROOT / 'scripts').iterdir())
    assert {path.name for path in scripts} >= {'igs', 'reconstruct', 'play'}
    for path in scripts:
        assert path.stat().st_mode & stat.S_IXUSR, f'{path.name} is not executable'
        module = re.search(r'-m (igs_ros[\w.]*)', path.read_text())[1]
        assert (ROOT / (module.replace('.', '/') + '.py')).exists(), module


def test_shipped_recording_is_complete(workbench):
    cameras = json.loads((workbench / 'rig.json').read_text())['cameras']
    assert len(cameras) == 4
    for name in [*(f'cam{i:02d}.mp4' for i in range(4)), 'points3d.ply', 'poses_bounds.npy']:
        assert (workbench / name).stat().st_size > 500


def test_installed_modules_are_typed():
    """PEP 561: type checkers read the annotations of an installed package that says so."""
    installed = Path(sysconfig.get_path('platlib')) / 'igs_ros'
    if not installed.is_dir():
        pytest.skip('igs_ros is not installed by pip here')
    assert (installed / 'py.typed').exists(), 'installed before there was one: make venv'


def test_installed_beside_python():
    """What ROS tools and launch files look for lies below the environment's prefix."""
    prefix = Path(sys.prefix)
    try:
        metadata.version('igs_ros')
    except metadata.PackageNotFoundError:
        pytest.skip('igs_ros is not installed by pip here')
    for path in ['share/ament_index/resource_index/packages/igs_ros', 'lib/igs_ros/reconstruct',
                 'share/igs_ros/package.xml', 'share/igs_ros/msg/GaussianCloud.msg',
                 'share/igs_ros/recordings/workbench/rig.json']:
        assert (prefix / path).exists(), f'{path} is not installed'
