# SPDX-License-Identifier: Apache-2.0
"""The interface of all rasterizers, and views; choose.py makes one for a device.

Semantics (constants, thresholds, gradients) are those of gsplat 1.5.3 for every backend:
reference/cpu_core.md section 1, restated in docs/conventions.md.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import View


@dataclass(frozen=True)
class RasterConstants:
    """Thresholds of gsplat 1.5.3 (reference/cpu_core.md section 1).

    gsplat 1.6 differs in `max_alpha` only: 0.99.
    """

    max_alpha: float = 0.999  # an opaque Gaussian still lets a little light through
    near: float = 0.01  # m; nearer Gaussians are left out
    far: float = 1e10  # m; farther Gaussians are left out
    eps2d: float = 0.3  # px^2 added to the diagonal of the projected covariance
    stop_transmittance: float = 1e-4  # a pixel takes no Gaussian that brings it this low


GSPLAT_1_5 = RasterConstants()


class ScreenGradients(Protocol):
    """Gradients in the image plane, there after `backward` on something drawn."""

    @property
    def mean2d(self) -> torch.Tensor | None:
        """[N, 2] dL/d(pixel position), summed over pixels; None before `backward`."""
        ...

    @property
    def absgrad(self) -> torch.Tensor | None:
        """[N, 2] sum over pixels of |dL/d(pixel position)|; None where it was not asked for."""
        ...


@dataclass(eq=False)
class Rendering:
    """A differentiable picture."""

    rgb: torch.Tensor  # [H, W, 3] sRGB, background blended in; not clamped above 1
    depth: torch.Tensor | None  # [H, W] m, sum(w z) / max(sum(w), 1e-10); None: not asked for
    alpha: torch.Tensor  # [H, W] 0..1
    visible: torch.Tensor  # [N] bool: drawn in at least one tile
    screen: ScreenGradients

    def require_depth(self) -> torch.Tensor:
        """`depth`, [H, W] m.

        Raises:
            ValueError: it was not asked for.
        """
        if self.depth is None:
            raise ValueError('drawn without depth: call render with depth=True')
        return self.depth


class Context(Protocol):
    """Gaussians that stay as they are, ready to be drawn along in pictures of one camera."""

    @property
    def camera(self) -> Camera:
        """The camera of these pictures."""
        ...


class Rasterizer(Protocol):
    """Draws Gaussians; differentiable in every Gaussian attribute."""

    name: str
    device: torch.device

    def render(self, scene: GaussianScene, camera: Camera, *,
               background: tuple[float, float, float] = (0.0, 0.0, 0.0),
               antialiased: bool = False, absgrad: bool = False, depth: bool = True,
               tiles: np.ndarray | None = None, context: Context | None = None) -> Rendering:
        """Draw `scene` as `camera` sees it.

        Args:
            scene: natural values; its tensors may require gradients. Quaternions need not be unit:
                they are normalized inside and the gradient goes through that.
            camera: without lens distortion.
            background: sRGB 0..1, behind all Gaussians.
            antialiased: whether opacities are lowered where the blur widens Gaussians
                (Mip-Splatting).
            absgrad: whether to collect `ScreenGradients.absgrad`, too.
            depth: whether to draw it; without, it costs nothing, forward and backward, and
                `Rendering.depth` is None.
            tiles: bool [rows, columns] (render/tiles.py), the tiles to draw; None: all. Pixels in
                them, and the gradients of a loss that looks at nothing else, are those of the
                whole picture; the other pixels may hold anything finite, so no loss may look at
                them. A backend may draw more than it is asked for: `visible` then counts these
                tiles too.
            context: drawn along, made by `context` for this very `camera` with the same
                `antialiased` and `tiles`. It gets no gradients, which makes it cheaper than a part
                of `scene`, and the rows of `Rendering` are those of `scene` alone.
        """
        ...

    def context(self, scene: GaussianScene, camera: Camera, *, antialiased: bool = False,
                tiles: np.ndarray | None = None) -> Context:
        """Make Gaussians ready to be drawn along, see `render`; what no tile shows is left out.

        Args:
            scene: of these Gaussians; no gradients flow back to it.
            camera: of the pictures to come.
            antialiased: as these will be drawn.
            tiles: bool [rows, columns], those that will be drawn; None: all.
        """
        ...

    def warm_up(self) -> None:
        """Compile what the first picture and the first gradient would wait for."""
        ...


@torch.no_grad()
def render_view(rasterizer: Rasterizer, scene: GaussianScene, camera: Camera, stamp_ns: int = 0,
                age_s: float = 0.0) -> View:
    """What a camera sees, as arrays: colors clamped to 0..1, depth NaN where alpha < 0.5.

    Args:
        rasterizer: to draw with.
        scene: on its device.
        camera: without lens distortion.
        stamp_ns: of the scene, for `View`.
        age_s: of the scene, s, for `View`.

    Raises:
        InputError: the camera has lens distortion, which no rasterizer draws.
    """
    if camera.distorted:
        raise InputError(f"camera '{camera.name}': views have no lens distortion, and it has "
                         f'{camera.distortion.tolist()}; expected a camera without. Give its '
                         f'undistorted().')
    drawn = rasterizer.render(scene, camera)
    alpha = drawn.alpha.cpu().numpy()
    depth = np.where(alpha < 0.5, np.float32(np.nan), drawn.require_depth().cpu().numpy())
    return View(drawn.rgb.clamp(0, 1).cpu().numpy(), depth, alpha, camera, stamp_ns, age_s)
