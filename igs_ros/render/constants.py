# SPDX-License-Identifier: Apache-2.0
"""The numbers that define what a rasterizer draws."""
from __future__ import annotations

from dataclasses import dataclass


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
