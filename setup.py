# SPDX-License-Identifier: Apache-2.0
"""pip's side of the build: runs the CMakeLists.txt that colcon runs, packs what it installs."""
import atexit
import hashlib
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / 'tools'))
from build_tools import find_tools, ros_prefixes, run_logged  # noqa: E402
from preflight import sourced  # noqa: E402

XML = ElementTree.parse(HERE / 'package.xml').getroot()
NAME, VERSION = XML.findtext('name'), XML.findtext('version')
# A sourced ROS 2 brings its own rclpy and generators; elsewhere they are wheels.
SOURCED = sourced()
# The wheels have no tf2_msgs, the type of /tf: it is made where there is none.
TF2 = 'tf2_msgs'


def is_loaded(relative, site):
    """True for what is used at run time outside site-packages, as the ROS wheels have it."""
    path = relative.as_posix()
    # CMake must not find the tf2_msgs that this package brings, or the next build would leave it
    # out for the sake of the one that it replaces.
    return not path.startswith(('include/', f'{site}/', f'share/{TF2}/cmake/'))


class CMakeBuild(build_ext):
    """Configure, build and install with CMake into a staging folder."""

    def run(self):
        """Fill build_lib and data_files from the staging folder."""
        prefixes = ros_prefixes(SOURCED)
        program, ninja = find_tools(SOURCED)
        # Another ROS, interpreter or place gets a build folder of its own, never a stale CMake
        # cache.
        key = repr((str(HERE), prefixes, sys.executable, bool(ninja))).encode()
        work = Path(self.build_temp).resolve() / hashlib.sha1(key).hexdigest()[:8]
        stage = work / 'stage'
        site = f'lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages'
        shutil.rmtree(stage, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        (work / 'build.log').unlink(missing_ok=True)
        self._cmake(HERE, program, ninja, prefixes, work, stage, site)
        if not SOURCED:
            self._cmake(HERE / 'tools' / TF2, program, ninja, prefixes, work, stage, site)

        # Not merged into an older build: a deleted module must not live on in the wheel.
        for name in NAME, TF2:
            library = Path(self.build_lib) / name
            shutil.rmtree(library, ignore_errors=True)
            if (stage / site / name).is_dir():
                shutil.copytree(stage / site / name, library,
                                ignore=shutil.ignore_patterns('__pycache__', '*.c'))
        # Everything else goes below the environment's prefix.
        data = {}
        for path in sorted(stage.rglob('*')):
            relative = path.relative_to(stage)
            if path.is_file() and is_loaded(relative, site):
                data.setdefault(relative.parent.as_posix(), []).append(str(path))
        self.distribution.data_files = list(data.items())

    def _cmake(self, source, program, ninja, prefixes, work, stage, site):
        """Build the CMake project in `source`; it adds what it installs to `stage`."""
        env = dict(os.environ, AMENT_PREFIX_PATH=os.pathsep.join(prefixes))
        # The generators are run as `python -m ...`, outside pip's isolated sys.path.
        env['PYTHONPATH'] = os.pathsep.join(
            [os.path.join(p, site) for p in prefixes]
            + [p for p in sys.path if p.rstrip('/').endswith('site-packages')]
            + [p for p in [os.environ.get('PYTHONPATH')] if p])
        log = work / 'build.log'
        build = work / ('cmake' if source == HERE else source.name)

        def cmake(*arguments):
            run_logged([program, *map(str, arguments)], env, log)

        cmake('-S', source, '-B', build,
              *(['-G', 'Ninja', f'-DCMAKE_MAKE_PROGRAM={ninja}'] if ninja else []),
              '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF',
              f'-DCMAKE_INSTALL_PREFIX={stage}', f'-DPYTHON_INSTALL_DIR={site}',
              f'-DPython3_EXECUTABLE={sys.executable}', '-DPython3_FIND_VIRTUALENV=ONLY',
              f'-DCMAKE_PREFIX_PATH={";".join(prefixes)}',
              f'-DCMAKE_PROJECT_TOP_LEVEL_INCLUDES={HERE / "tools" / "ros_wheels.cmake"}')
        cmake('--build', build, '--parallel', os.environ.get('MAX_JOBS', '2'))
        cmake('--install', build)

    def get_source_files(self):
        """No sources that setuptools should know of."""
        return []

    def get_outputs(self):
        """Nothing that setuptools should look for."""
        return []


class Build(build):
    """CMake installs the Python modules too, so there is no build_py."""

    sub_commands = [('build_ext', None)]


class Binary(Distribution):
    """The wheel is bound to a platform and an interpreter."""

    def has_ext_modules(self):
        """True: the generated messages are compiled."""
        return True


REQUIRES = [
    'av',
    # 0.3.3 has wheels up to Python 3.12; elsewhere a slower sampling of our own takes its place.
    'fpsample==0.3.3; python_version < "3.13"',
    'matplotlib',
    'msgspec',
    'numba',
    'numpy',
    'opencv-python-headless',
    'pillow',
    'plyfile',
    'pyyaml',
    'rich',
    'rosbags',
    'safetensors',
    'scipy',
    'simplejpeg',
    'torch>=2.6',
    'tomli; python_version < "3.11"',
    'tyro',
]
# One distribution (Kilted) on both sides: pyproject.toml builds against the same versions.
ROS_WHEELS = [
    'ros-diagnostic-msgs==5.5.*',
    'ros-geometry-msgs==5.5.*',
    'ros-lifecycle-msgs==2.3.*',
    'ros-nav-msgs==5.5.*',
    'ros-rclpy==9.1.*',
    'ros-rmw-fastrtps-cpp==9.3.*',
    'ros-sensor-msgs==5.5.*',
    'ros-std-msgs==5.5.*',
    'ros-std-srvs==5.5.*',
    'ros-visualization-msgs==5.5.*',
]

TRAIN = ['accelerate', 'tensorboard']

# A read-only checkout: what setuptools writes beside it goes elsewhere.
ELSEWHERE = {}
if not os.access(HERE, os.W_OK):
    scratch = tempfile.mkdtemp(prefix=f'{NAME}-build-')
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    ELSEWHERE = {'build': {'build_base': scratch}, 'egg_info': {'egg_base': scratch}}

setup(
    name=NAME,
    version=VERSION,
    description=XML.findtext('description').strip(),
    long_description=(HERE / 'README.md').read_text() if (HERE / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license=XML.findtext('license'),
    license_files=['LICENSE', 'NOTICE'],
    maintainer=XML.findtext('maintainer'),
    maintainer_email=XML.find('maintainer').get('email'),
    python_requires='>=3.10',
    install_requires=REQUIRES + ([] if SOURCED else ROS_WHEELS),
    extras_require={
        'cuda': ['gsplat==1.5.3'],
        # gsplat's functions in plain torch serve as an independent reference in the tests.
        'dev': ['basedpyright', 'gsplat==1.5.3', 'hypothesis', 'pytest', 'pytest-xdist', 'ruff',
                *TRAIN],
        'train': TRAIN,
    },
    entry_points={'console_scripts': ['igs = igs_ros.apps.cli.main:main']},
    distclass=Binary,
    options=ELSEWHERE,
    cmdclass={'build': Build, 'build_ext': CMakeBuild},
    packages=[NAME],
    zip_safe=False,
)
