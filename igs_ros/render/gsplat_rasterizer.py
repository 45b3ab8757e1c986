# SPDX-License-Identifier: Apache-2.0
"""The CUDA rasterizer: gsplat 1.5.3 (1.6 has the same interface, and max alpha 0.99).

Never run on a GPU by its authors: tests run it with gsplat's kernels on the host (docs/gpu.md),
and test/render/test_backends.py on a GPU where there is one. Importing this module imports gsplat;
making a `GsplatRasterizer` has gsplat compile its kernels (minutes, once per machine) or load them
from its cache.
"""
from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import gsplat
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene, concatenated
from igs_ros.render.rasterizer import GSPLAT_1_5, Context, RasterConstants, Rendering


class GsplatScreenGradients:
    """Gradients in the image plane, px, read from gsplat's `means2d` after `backward`."""

    def __init__(self, means2d: torch.Tensor | None, count: int = 0):
        self._means2d = means2d
        self._count = count  # of the scene; the context comes after it

    @property
    def mean2d(self) -> torch.Tensor | None:
        """[N, 2], None before `backward`."""
        return self._first_camera(getattr(self._means2d, 'grad', None))

    @property
    def absgrad(self) -> torch.Tensor | None:
        """[N, 2], None before `backward` and where it was not asked for."""
        return self._first_camera(getattr(self._means2d, 'absgrad', None))

    def _first_camera(self, value):
        return None if value is None else value.reshape(-1, 2)[:self._count]


@dataclass(frozen=True, eq=False)
class GsplatContext:
    """Gaussians that are drawn along; made by `context`."""

    camera: Camera
    scene: GaussianScene


class GsplatRasterizer:
    """`Rasterizer` on the first CUDA device; conventions and constants as gsplat has them.

    Args:
        constants: of which `max_alpha` and `stop_transmittance` are compiled into gsplat and not
            settable here.

    Raises:
        InputError: torch finds no GPU, or gsplat's kernels cannot be had.
    """

    name = 'cuda'

    def __init__(self, constants: RasterConstants = GSPLAT_1_5):
        if not torch.cuda.is_available():
            raise InputError('rasterizer: gsplat needs an NVIDIA GPU and torch with CUDA; torch '
                             'finds none. Use --device cpu.')
        _load_kernels()
        self.device = torch.device('cuda')
        self.constants = constants
        # an upload waits for the device: once per camera, not once per picture
        self._cameras: WeakKeyDictionary[Camera, tuple] = WeakKeyDictionary()

    def render(self, scene: GaussianScene, camera: Camera, *,
               background: tuple[float, float, float] = (0.0, 0.0, 0.0),
               antialiased: bool = False, absgrad: bool = False, depth: bool = True,
               tiles: np.ndarray | None = None,
               context: Context | None = None) -> Rendering:
        """See `Rasterizer.render`.

        Args:
            scene: on the GPU.
            camera: without lens distortion.
            background: sRGB 0..1.
            antialiased: gsplat's rasterize_mode 'antialiased'.
            absgrad: whether to collect `ScreenGradients.absgrad`, too.
            depth: whether to draw it.
            tiles: passed over, all are drawn: gsplat takes a tile mask only below `rasterization`,
                and there it leaves alpha of the masked pixels uninitialized.
            context: drawn along, made by `context`.

        Raises:
            TypeError: `context` is of another rasterizer.
        """
        if context is not None and not isinstance(context, GsplatContext):
            raise TypeError(f'a {type(context).__name__} was not made by this rasterizer')
        count = len(scene)
        if context is not None and len(context.scene):
            scene = concatenated([scene, context.scene])
        if len(scene) == 0:
            return self._nothing(camera, background, depth)
        pose, intrinsics = self._uploaded(camera)
        picture, alpha, details = gsplat.rasterization(
            scene.means, scene.quats, scene.scales, scene.opacities, scene.sh,
            pose[None], intrinsics[None], camera.width, camera.height,
            near_plane=self.constants.near, far_plane=self.constants.far,
            eps2d=self.constants.eps2d, sh_degree=scene.sh_degree, packed=False,
            backgrounds=self._background(background)[None],
            render_mode='RGB+ED' if depth else 'RGB', absgrad=absgrad,
            rasterize_mode='antialiased' if antialiased else 'classic')
        means2d = details['means2d']
        if means2d.requires_grad:
            means2d.retain_grad()
        radii = details['radii'][0]  # [N, 2] since gsplat 1.5
        return Rendering(picture[0, ..., :3], picture[0, ..., 3] if depth else None,
                         alpha[0, ..., 0], (radii > 0).reshape(len(scene), -1).all(1)[:count],
                         GsplatScreenGradients(means2d, count))

    def context(self, scene: GaussianScene, camera: Camera, *, antialiased: bool = False,
                tiles: np.ndarray | None = None) -> GsplatContext:
        """See `Rasterizer.context`; gsplat projects it again for every picture.

        Args:
            scene: on the GPU.
            camera: of the pictures to come.
            antialiased: passed over: `render` decides.
            tiles: passed over: all of `scene` is kept.
        """
        return GsplatContext(camera, scene.detached())

    def warm_up(self) -> None:
        """Nothing is left to compile: that happened when this rasterizer was made."""

    def _nothing(self, camera, background, depth) -> Rendering:
        """The picture of no Gaussians, which gsplat cannot sort."""
        size = (camera.height, camera.width)
        empty = torch.zeros(size, device=self.device)
        return Rendering(self._background(background).expand(*size, 3).clone(),
                         empty if depth else None, empty.clone(),
                         torch.zeros(0, dtype=torch.bool, device=self.device),
                         GsplatScreenGradients(None))

    def _uploaded(self, camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
        """camera_from_world [4, 4] and K [3, 3]."""
        if camera not in self._cameras:
            self._cameras[camera] = (self._tensor(camera.camera_from_world),
                                     self._tensor(camera.K))
        return self._cameras[camera]

    def _background(self, color: tuple[float, float, float]) -> torch.Tensor:
        """[3], filled in on the device, which an upload would wait for."""
        return torch.stack([torch.full((), float(value), device=self.device)
                            for value in color])

    def _tensor(self, values) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32).to(self.device)


def _load_kernels() -> None:
    """Have gsplat compile or load its kernels; it leaves None where it finds no compiler.

    Raises `InputError`. A compiler that fails, or lacks ninja, ends in torch as RuntimeError, a
    missing CUDA_HOME as OSError.
    """
    try:
        # gsplat makes it when it is imported
        from gsplat.cuda._backend import _C as kernels  # pyright: ignore[reportAttributeAccessIssue]
        reason = 'it found no CUDA compiler' if kernels is None else ''
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    if reason:
        raise InputError(f"rasterizer: there is a CUDA GPU, but gsplat has no kernels for it: "
                         f"{reason}; expected compiled ones or nvcc to build them. Install the "
                         f"CUDA toolkit of torch's CUDA version {torch.version.cuda} (nvcc) and "
                         f"pip install '.[cuda]', or use --device cpu.")
