# SPDX-License-Identifier: Apache-2.0
"""A live, moving 3D Gaussian scene from calibrated cameras.

The names below are the public ones (docs/api.md); each is imported when it is first used. The
rooms beside this file may change from release to release. `igs_ros.msg` is generated when the
package is built.
"""
import importlib
import os
from pkgutil import extend_path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from igs_ros.core.camera import Camera
    from igs_ros.core.config import Config
    from igs_ros.core.errors import InputError
    from igs_ros.core.frames import RawFrameSet
    from igs_ros.core.scene import GaussianScene
    from igs_ros.core.snapshot import Snapshot
    from igs_ros.io.codec.ply import load_ply, save_ply
    from igs_ros.io.recordings.open import open_recording
    from igs_ros.live.pipeline import LivePipeline
    from igs_ros.node.scene_subscriber import SceneSubscriber
    from igs_ros.pipeline import Pipeline, reconstruct
    from igs_ros.render.choose import render_scene

__all__ = [
    'Camera', 'Config', 'GaussianScene', 'InputError', 'LivePipeline', 'Pipeline', 'RawFrameSet',
    'SceneSubscriber', 'Snapshot', 'load_ply', 'open_recording', 'reconstruct', 'render_scene',
    'save_ply',
]
_PLACES = {
    'Camera': 'core.camera', 'Config': 'core.config', 'GaussianScene': 'core.scene',
    'InputError': 'core.errors', 'LivePipeline': 'live.pipeline', 'Pipeline': 'pipeline',
    'RawFrameSet': 'core.frames', 'SceneSubscriber': 'node.scene_subscriber',
    'Snapshot': 'core.snapshot', 'load_ply': 'io.codec.ply',
    'open_recording': 'io.recordings.open', 'reconstruct': 'pipeline',
    'render_scene': 'render.choose', 'save_ply': 'io.codec.ply'}

# OpenCV reads it when it is first imported. A backstop of 16384 x 16384 px: pictures are held
# against their calibration before they are decoded.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(16384 ** 2))

__version__ = '0.1.0'  # that of package.xml (tested); colcon installs no other metadata

# A checkout on sys.path still finds the igs_ros.msg of the installed copy.
__path__ = extend_path(__path__, __name__)


if not TYPE_CHECKING:  # which would take any name for one that is there
    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        value = getattr(importlib.import_module(f'{__name__}.{_PLACES[name]}'), name)
        globals()[name] = value  # next time it is found without this function
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, '__version__'])
