# SPDX-License-Identifier: Apache-2.0
"""Which motion model is used, and what it needs before it can be.

A new one is named in `MotionName` and made in `_MAKERS`: command line, ROS parameters and checks
take the names from here; one of a user's own is made known with `register`. Importing this module
loads no torch, so that `igs --help` is quick.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from igs_ros.core.config import Choice, MotionConfig, checked
from igs_ros.core.errors import InputError
from igs_ros.core.logs import log_once

if TYPE_CHECKING:
    import torch

    from igs_ros.core.camera import Camera
    from igs_ros.render.rasterizer import Rasterizer
    from igs_ros.stages.motion.agm.net import AgmNet
    from igs_ros.stages.motion.models import MotionModel

MotionName = Literal['auto', 'agm', 'agm_small', 'geometric', 'static']
_LOG = logging.getLogger(__name__)
_AGM_SMALL_IS_BETTER = False  # than geometric, by the table in docs/results.md


def make_motion(name: str, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                config: MotionConfig, threads: int = 1) -> MotionModel:
    """The motion model `name` for a rig.

    'auto' is the best there is for the rasterizer's device, and says once what and why.

    Args:
        name: one of `MotionName`, or a registered one.
        cameras: working cameras that feed the scene.
        rasterizer: draws; networks run on its device.
        config: settings of all models.
        threads: of models that compute with torch on a CPU.

    Raises:
        InputError: the name is unknown, a setting cannot work, or a file that the model needs is
            missing or does not fit.
    """
    check_motion(name, config)
    if name == 'auto':
        name, reason = _best(config, rasterizer.device)
        log_once(_LOG, logging.INFO, f'motion: {name} (auto: {reason})')
    model = _MAKERS[name](cameras, rasterizer, config, threads)
    if name == 'static' or not config.adjust_iterations:
        return model
    from igs_ros.stages.motion.adjust import AdjustedMotion
    return AdjustedMotion(model, cameras, rasterizer, config.adjust_iterations,
                          config.adjust_views)


def _agm(cameras, rasterizer, config, threads) -> MotionModel:
    from igs_ros.stages.motion.agm.model import AgmMotion
    return AgmMotion(cameras, rasterizer, config, agm_net(config.weights),
                     threads=threads)


def _agm_small(cameras, rasterizer, config, threads) -> MotionModel:
    from igs_ros.stages.motion.agm_small.model import AgmSmallMotion
    return AgmSmallMotion(cameras, rasterizer, config)


def _geometric(cameras, rasterizer, config, threads) -> MotionModel:
    from igs_ros.stages.motion.geometric import GeometricMotion
    return GeometricMotion(cameras, rasterizer, config)


def _static(cameras, rasterizer, config, threads) -> MotionModel:
    from igs_ros.stages.motion.static import StaticMotion
    return StaticMotion()


_MAKERS: dict[str, Callable[..., MotionModel]] = {
    'agm': _agm, 'agm_small': _agm_small, 'geometric': _geometric, 'static': _static}


def register(name: str, maker: Callable[
        [Mapping[str, Camera], Rasterizer, MotionConfig, int], MotionModel]) -> None:
    """Make a motion model of one's own known in this process, as setting `motion`.

    Args:
        name: what to call it.
        maker: makes it from what `make_motion` is given; like those that ship, it is adjusted to
            the pictures afterwards unless `motion_model.adjust_iterations` is 0.

    Raises:
        ValueError: there is a model of that name.
    """
    if name == 'auto' or name in _MAKERS:
        raise ValueError(f"there is a motion model '{name}' already; register another name")
    _MAKERS[name] = maker


def check_motion(name: str, config: MotionConfig) -> None:
    """Look before there are cameras and a scene whether `make_motion` can work.

    Raises:
        InputError: as `make_motion`.
    """
    names = Choice(('auto', *_MAKERS))
    if not names.allows(name):
        raise InputError(f"motion model '{name}' is unknown; expected {names}.")
    checked(config, 'motion_model setting')
    if name == 'agm' or (name == 'auto' and config.weights):
        from igs_ros.stages.motion.region import follows_data, read_box
        if not follows_data(config.bbox):
            read_box(config.bbox)
        agm_net(config.weights)
    if name == 'agm_small' and not has_agm_small():
        raise InputError('motion agm_small needs the weights that ship with the package, and they '
                         'are not there; install the package again, or use --motion geometric.')


def resolved_name(name: str, config: MotionConfig, device: torch.device) -> str:
    """`name`, or what 'auto' stands for.

    Args:
        name: as in the settings.
        config: settings of all models.
        device: of the rasterizer.
    """
    return _best(config, device)[0] if name == 'auto' else name


def _best(config: MotionConfig, device: torch.device) -> tuple[str, str]:
    """The name of a model, and why it is the best."""
    if config.weights:
        cost = '' if device.type == 'cuda' else '; without a GPU it takes many seconds per frame'
        return 'agm', f'weights are given{cost}'
    if _AGM_SMALL_IS_BETTER and has_agm_small():
        return 'agm_small', 'no weights of agm are given, and the small network ships'
    return 'geometric', 'no weights of agm are given'


def has_agm_small() -> bool:
    """Whether the weights of the small network ship with this package."""
    from igs_ros.stages.motion.agm_small import weights
    return weights.available()


@lru_cache(maxsize=1)  # a scene that starts anew must not need the files again
def agm_net(folder: str) -> AgmNet:
    """AGM-Net with the weights of `folder`, read once.

    Raises:
        InputError: no folder is given, or its weights do not fit.
    """
    from igs_ros.stages.motion.agm import weights  # heavy: only for those who use it
    if not folder:
        raise InputError('motion agm needs weights, and none are given; set --weights DIR '
                         '(parameter motion_model.weights) to the folder of the published files, '
                         'or use --motion geometric, which needs none.')
    return weights.load(folder)
