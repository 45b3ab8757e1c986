# SPDX-License-Identifier: Apache-2.0
"""A slow, dense rasterizer in float64 that shares nothing with igs_ros.render.rasterizer.

Projection and spherical harmonics are gsplat's torch functions, gradients are torch's. What those
leave to gsplat's CUDA code is written here after cpu_core.md section 1: culling by depth and by
opacity, compositing with its thresholds, the antialiasing factor, expected depth.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from gsplat.cuda._torch_impl import (
    _fully_fused_projection,
    _quat_scale_to_covar_preci,
    _spherical_harmonics,
)

from igs_ros.core.camera import pixel_grid

MIN_ALPHA, MAX_ALPHA, STOP, NEAR, FAR = 1 / 255, 0.999, 1e-4, 0.01, 1e10
# Where a number is this close (relative) to a threshold, float32 may decide otherwise.
UNSURE = 2e-5


@dataclass(eq=False)
class OraclePicture:
    """[...] stands for [H, W], or [P] where single pixels were asked for."""

    rgb: torch.Tensor  # [..., 3]
    depth: torch.Tensor  # [...]
    alpha: torch.Tensor  # [...]
    sure: torch.Tensor  # [...] bool: no decision was close to its threshold
    positions: torch.Tensor  # [M, P, 2] mean in the image, separately for each pixel
    rows: torch.Tensor  # [M] the Gaussians that were drawn, near to far


def render(attributes, camera, background, antialiased, pixels=None) -> OraclePicture:
    """attributes: float64 means, quats, scales, opacities, sh; pixels: [P, 2], None = all."""
    rows = _drawable(attributes, camera, antialiased)
    means, quats, scales, opacities, sh = (value[rows] for value in attributes)
    positions, depths, conics, compensations = _project(means, quats, scales, camera, antialiased)
    if antialiased:
        opacities = opacities * compensations
    degree = int(sh.shape[1] ** 0.5) - 1
    direction = means - torch.as_tensor(camera.center)
    colors = (_spherical_harmonics(degree, direction, sh) + 0.5).clamp_min(0)

    shape = (camera.height, camera.width) if pixels is None else (len(pixels),)
    pixels = torch.tensor((pixel_grid(camera) if pixels is None else pixels).reshape(-1, 2))
    each = positions[:, None].expand(-1, len(pixels), -1)
    if torch.is_grad_enabled() and each.requires_grad:
        each.retain_grad()
    d = each - pixels
    a, b, c = conics[:, None].unbind(-1)
    sigma = 0.5 * (a * d[..., 0] ** 2 + c * d[..., 1] ** 2) + b * d[..., 0] * d[..., 1]
    alphas = (opacities[:, None] * torch.exp(-sigma)).clamp_max(MAX_ALPHA)
    weights, left_over, sure = _composite(alphas)

    rgb = weights.T @ colors + left_over[:, None] * torch.tensor(background).double()
    alpha = 1 - left_over
    depth = (weights.T @ depths) / alpha.clamp_min(1e-10)
    return OraclePicture(rgb.reshape(*shape, 3), depth.reshape(shape), alpha.reshape(shape),
                         sure.reshape(shape), each, rows)


def _project(means, quats, scales, camera, antialiased):
    covariances, _ = _quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    _, positions, depths, conics, compensations = _fully_fused_projection(
        means, covariances, torch.tensor(camera.camera_from_world)[None],
        torch.tensor(camera.K)[None], camera.width, camera.height,
        calc_compensations=antialiased)
    return positions[0], depths[0], conics[0], None if compensations is None else compensations[0]


@torch.no_grad()
def _drawable(attributes, camera, antialiased):
    """Gaussians in depth range that are not too faint, near to far (ties by index)."""
    means, quats, scales, opacities, _ = attributes
    pose = torch.tensor(camera.camera_from_world)
    depth = means @ pose[2, :3] + pose[2, 3]
    rows = torch.nonzero((depth >= NEAR) & (depth <= FAR))[:, 0]
    _, depths, _, compensations = _project(means[rows], quats[rows], scales[rows], camera,
                                           antialiased)
    strength = opacities[rows] * (compensations if antialiased else 1)
    kept = strength >= MIN_ALPHA
    return rows[kept][torch.argsort(depths[kept].float(), stable=True)]


def _composite(alphas):
    """Weights [M, P], what is left of the background [P], and the pixels without close calls."""
    pixels = alphas.shape[1]
    remaining = torch.ones(pixels, dtype=alphas.dtype)
    finished = torch.zeros(pixels, dtype=torch.bool)
    sure = torch.ones(pixels, dtype=torch.bool)
    nothing = torch.zeros(1, pixels, dtype=alphas.dtype)
    weights = [nothing[:0]]
    anywhere = (alphas > 0.99 * MIN_ALPHA).any(1)
    for row, alpha in enumerate(alphas):
        if not anywhere[row]:
            weights.append(nothing)
            continue
        touched = (alpha >= MIN_ALPHA) & ~finished
        after = remaining * (1 - alpha)
        stops = touched & (after <= STOP)
        added = touched & ~stops
        with torch.no_grad():
            close = ((alpha / MIN_ALPHA - 1).abs() < UNSURE) | \
                (touched & ((after / STOP - 1).abs() < 100 * UNSURE))
            sure &= finished | ~close
        weights.append(torch.where(added, alpha * remaining, 0)[None])
        remaining = torch.where(added, after, remaining)
        finished = finished | stops
    return torch.cat(weights), remaining, sure
