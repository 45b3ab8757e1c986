# SPDX-License-Identifier: Apache-2.0
"""Which rasterizer draws on a device; drawing without one in hand."""
from __future__ import annotations

import logging
from functools import cache

import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.logs import log_once
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import View
from igs_ros.render.rasterizer import Rasterizer, render_view

log = logging.getLogger(__name__)


def make_rasterizer(device: str = 'auto', threads: int = 2) -> Rasterizer:
    """The rasterizer for a device.

    Args:
        device: 'cpu', 'cuda', or 'auto': CUDA where it works, else the CPU; why a GPU that is
            there is not used is said once.
        threads: of the CPU rasterizer; pictures do not depend on them.

    Raises:
        InputError: another device, or 'cuda' without a GPU or without gsplat and its compiled
            kernels.
    """
    if device not in ('auto', 'cpu', 'cuda'):
        raise InputError(f"device '{device}' is unknown; expected auto, cpu or cuda.")
    if device == 'cuda' and not torch.cuda.is_available():
        raise InputError('device cuda was asked for, but torch finds no CUDA GPU here; install '
                         'torch with CUDA and a driver, or use --device cpu.')
    if device != 'cpu' and torch.cuda.is_available():
        try:
            return _on_gpu()
        except InputError as error:
            if device == 'cuda':
                raise
            log_once(log, logging.WARNING, f'{error} Until then the CPU draws.')
    from igs_ros.render.cpu.rasterizer import CpuRasterizer
    return CpuRasterizer(threads)


def render_scene(scene: GaussianScene, camera: Camera, *, device: str = 'auto',
                 threads: int = 2) -> View:
    """What `camera` sees of `scene`, wherever its tensors are; from any thread.

    The rasterizer of a device and a number of threads is made at its first use and kept.

    Args:
        scene: in the world frame of the camera.
        camera: without lens distortion (`Camera.undistorted`); the size of the picture is its own.
        device: auto (CUDA where it works), cpu or cuda.
        threads: of the CPU rasterizer; the picture does not depend on them.

    Raises:
        InputError: the device is not there, or the camera has distortion.
    """
    rasterizer = _kept_rasterizer(device, threads)
    return render_view(rasterizer, scene.to(rasterizer.device), camera)


@cache
def _kept_rasterizer(device: str, threads: int) -> Rasterizer:
    return make_rasterizer(device, threads)


def _on_gpu() -> Rasterizer:
    try:
        # gsplat is there with a GPU only
        from igs_ros.render.gsplat_rasterizer import GsplatRasterizer
    except ImportError as error:
        raise InputError(f"rasterizer: there is a CUDA GPU, but gsplat cannot be imported "
                         f"({error}); expected gsplat 1.5. Install it: pip install '.[cuda]' "
                         f"(its first use compiles kernels, which needs nvcc).") from error
    return GsplatRasterizer()
