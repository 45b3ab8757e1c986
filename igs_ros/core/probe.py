# SPDX-License-Identifier: Apache-2.0
"""Imports the parts that it is asked for, in a process of its own, and says what came of each.

Some imports end the process (rclpy with an RMW that is not installed), so nothing is imported
that the caller would miss: `probe` starts this file as `python -c`.
"""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

_PREFIX = '>>> igs '  # of the lines that are meant for us


@dataclass(frozen=True)
class Probed:
    """What came of one part; `error` is '' where it works."""

    error: str = ''
    installed: bool = True
    version: str = ''
    place: str = ''  # file
    note: str = ''  # what else is worth saying


def probe(names: Iterable[str], environment: Mapping[str, str] | None = None,
              ) -> dict[str, Probed]:
    """What comes of importing some modules, by name, in this order.

    Args:
        names: of modules, or of functions below.
        environment: of the process that imports; None = that of this one.
    """
    found, left = {}, list(names)
    while left:  # a part that ends the process is the first without a line
        ended = subprocess.run([sys.executable, '-c', Path(__file__).read_text(), *left],
                               text=True, capture_output=True, env=environment)
        for line in ended.stdout.splitlines():
            if line.startswith(_PREFIX):
                name, fields = json.loads(line.removeprefix(_PREFIX))
                found[name] = Probed(**fields)
        left = [name for name in left if name not in found]
        if left:
            said = [line for line in ended.stderr.splitlines() if line.strip()]
            found[left.pop(0)] = Probed(f'its import ends the process with code '
                                      f'{ended.returncode}: {said[-1] if said else "no word"}')
    return found


def _probed(name: str) -> dict:
    try:
        module = import_module(name.partition('/')[0])
    except ModuleNotFoundError as error:
        own = bool(error.name) and name.startswith(error.name)  # not what it imports in turn
        return {'error': 'is not installed' if own else _line(error), 'installed': not own}
    except Exception as error:  # a broken module may raise anything
        return {'error': _line(error)}
    found = {'version': _version(module), 'place': getattr(module, '__file__', None) or ''}
    try:
        return found | _MORE.get(name, lambda module: {})(module)
    except Exception as error:
        return found | {'error': _line(error)}


def _line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}'


def _version(module: ModuleType) -> str:
    distribution = {'cv2': 'opencv-python-headless', 'yaml': 'pyyaml',
                    'rclpy': 'ros-rclpy', 'sensor_msgs': 'ros-sensor-msgs'}
    name: str = module.__name__.partition('.')[0]
    try:
        return getattr(module, '__version__', '') or metadata.version(
            distribution.get(name, name.replace('_', '-')))
    except metadata.PackageNotFoundError:
        return ''  # apt's ROS has no metadata for pip


def _torch(torch) -> dict:
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ''
    return {'note': gpu or 'no CUDA GPU: CPU'}


def _kernels(host) -> dict:
    host.warm_up()
    return {'version': '', 'place': host._fps_brute_force.stats.cache_path or '',
            'note': '' if host._fps_brute_force.stats.cache_path else 'kept nowhere'}


def _rclpy(rclpy) -> dict:
    rclpy.init(args=[])  # loads the RMW
    note = rclpy.get_rmw_implementation_identifier()
    rclpy.try_shutdown()
    return {'note': note}


def _messages(messages) -> dict:
    # also what a foreign or half-built package lacks: the compiled type support
    import_module('rclpy.type_support').check_for_type_support(
        getattr(messages, 'SceneStatus', None) or messages.Image)
    return {}


def _gpu(raster) -> dict:
    raster.make_rasterizer('cuda')  # compiles its kernels where they are not
    return {'version': '', 'place': '', 'note': 'kernels load'}


_MORE = {'torch': _torch, 'igs_ros.vision.neighbors_host': _kernels, 'rclpy': _rclpy,
         'sensor_msgs.msg': _messages, 'igs_ros.msg': _messages,
         'igs_ros.render.choose/cuda': _gpu}


if __name__ == '__main__':
    for _name in sys.argv[1:]:
        print(_PREFIX + json.dumps([_name, _probed(_name)]), flush=True)
