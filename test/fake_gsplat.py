# SPDX-License-Identifier: Apache-2.0
"""gsplat's compiled kernels for the device of `fake_cuda`, computed on the host.

Only what is compiled is replaced: gsplat's own Python code (`gsplat.rasterization`, its autograd
functions, what it returns) runs. Projection and spherical harmonics are gsplat's torch functions;
binning and compositing follow its CUDA sources, 1.5.3, tile by tile and pixel by pixel, and share
nothing with the CPU rasterizer. Memory that gsplat leaves uninitialized is NaN here.
"""
from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest
import torch
from fake_cuda import DeviceTensor, kernel
from gsplat.cuda._torch_impl import (
    _fully_fused_projection,
    _quat_scale_to_covar_preci,
    _spherical_harmonics,
)

from igs_ros.core.jit import njit

MIN_ALPHA, MAX_ALPHA, STOP = np.float32(1 / 255), np.float32(0.999), np.float32(1e-4)
HALF, ONE = np.float32(0.5), np.float32(1)
PIXEL = {'cache': True, 'error_model': 'numpy'}


@contextmanager
def fake_kernels():
    """Within the block gsplat finds its kernels; for use within `fake_cuda()`."""
    backend = ModuleType('gsplat.cuda._backend')  # the real one begins to compile when imported
    backend._C = Kernels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, backend.__name__, backend)
        yield


class Kernels:
    """gsplat's compiled module, as far as `gsplat.rasterization` comes by it for one camera."""

    CameraModelType, PINHOLE = 'CameraModelType', 'pinhole'

    @staticmethod
    def projection_ewa_3dgs_fused_fwd(means, covars, quats, scales, opacities, viewmats,
                                      intrinsics, width, height, eps2d, near, far, radius_clip,
                                      compensated, _):
        """radii [C, N, 2] int32, means2d, depths, conics, compensations."""
        inputs = [means, quats, scales, opacities, viewmats, intrinsics]
        assert covars is None and radius_clip == 0
        means, quats, scales, opacities, *views = _hosts(inputs)
        positions, depths, conics, factors, covariances = _projected(
            means, quats, scales, views, width, height, eps2d)
        strength = opacities * factors if compensated else opacities.expand_as(factors)
        reach = torch.sqrt(2 * torch.log(strength / MIN_ALPHA)).clamp_max(3.33)
        spread = torch.sqrt(covariances.diagonal(dim1=-2, dim2=-1))
        radii = torch.ceil(reach[..., None] * spread)
        size = torch.tensor([width, height])
        shown = (depths >= near) & (depths <= far) & (strength >= MIN_ALPHA) \
            & (positions + radii > 0).all(-1) & (positions - radii < size).all(-1)
        radii = torch.where(shown[..., None], radii, 0).int()
        unwritten = [torch.where(shown.reshape(*shown.shape, *[1] * (value.ndim - 2)), value,
                                 torch.nan) for value in (positions, depths, conics)]
        return kernel(inputs, [radii, *unwritten, torch.where(shown, factors, 0)])

    @staticmethod
    def projection_ewa_3dgs_fused_bwd(means, covars, quats, scales, viewmats, intrinsics, width,
                                      height, eps2d, _, radii, conics, compensations, v_means2d,
                                      v_depths, v_conics, v_compensations, views_too):
        inputs = [means, quats, scales, viewmats, intrinsics, radii, conics, v_means2d, v_depths,
                  v_conics] + [one for one in (compensations, v_compensations) if one is not None]
        hosts = _hosts(inputs)
        assert not views_too and len(viewmats) == 1
        rows = torch.nonzero((hosts[5][0] > 0).all(-1)).flatten()
        with torch.enable_grad():
            leaves = [value[rows].requires_grad_() for value in hosts[:3]]
            made = list(_projected(*leaves, hosts[3:5], width, height, eps2d)[:4])
            given = [value[:, rows] for value in hosts[7:10]]
            if v_compensations is None:
                made.pop()
            else:
                given.append(hosts[-1][:, rows])
            found = torch.autograd.grad(made, leaves, given)
        v_means, v_quats, v_scales = (torch.zeros_like(value).index_copy(0, rows, gradient)
                                      for value, gradient in zip(hosts, found))
        v_means, v_quats, v_scales = kernel(inputs, [v_means, v_quats, v_scales])
        return v_means, None, v_quats, v_scales, None

    @staticmethod
    def spherical_harmonics_fwd(degree, directions, coefficients, masks):
        inputs = [directions, coefficients, masks]
        directions, coefficients, masks = _hosts(inputs)
        colors = torch.full_like(directions, torch.nan)
        colors[masks] = _spherical_harmonics(degree, directions[masks], coefficients[masks])
        return kernel(inputs, [colors])[0]

    @staticmethod
    def spherical_harmonics_bwd(bases, degree, directions, coefficients, masks, v_colors, _):
        inputs = [directions, coefficients, masks, v_colors]
        directions, coefficients, masks, v_colors = _hosts(inputs)
        v_coefficients, v_directions = map(torch.zeros_like, (coefficients, directions))
        with torch.enable_grad():
            leaves = [value[masks].requires_grad_() for value in (coefficients, directions)]
            colors = _spherical_harmonics(degree, leaves[1], leaves[0])
            found = torch.autograd.grad(colors, leaves, v_colors[masks], allow_unused=True)
        v_coefficients[masks] = found[0]
        if found[1] is not None:  # the constant one hangs on no direction
            v_directions[masks] = found[1]
        return tuple(kernel(inputs, [v_coefficients, v_directions]))

    @staticmethod
    def intersect_tile(positions, radii, depths, images, gaussians, count, tile_size, columns,
                       rows, sort, segmented):
        """Waits for the device: the host has to know how many pairs there are."""
        inputs = [positions, radii, depths]
        positions, radii, depths = (one.numpy()[0] for one in _hosts(inputs))
        assert images is None and gaussians is None and count == 1 and sort and not segmented
        shown = np.flatnonzero((radii > 0).all(1))
        grid = np.array([columns, rows])
        first = np.clip(np.floor((positions - radii)[shown] / tile_size), 0, grid).astype(int)
        last = np.clip(np.ceil((positions + radii)[shown] / tile_size), 0, grid).astype(int)
        wide, high = (last - first).T
        per_gaussian = np.zeros(len(radii), np.int32)
        per_gaussian[shown] = wide * high
        pairs = np.repeat(np.arange(len(shown)), wide * high)
        within = np.arange(len(pairs)) - np.repeat(np.cumsum(wide * high) - wide * high,
                                                   wide * high)
        tiles = (first[pairs, 1] + within // wide[pairs]) * columns \
            + first[pairs, 0] + within % wide[pairs]
        order = np.lexsort((depths[shown][pairs], tiles))
        found = [per_gaussian[None], tiles[order].astype(np.int64) << 32,
                 shown[pairs][order].astype(np.int32)]
        return tuple(kernel(inputs, [torch.from_numpy(one) for one in found],
                            'gsplat intersect_tile'))

    @staticmethod
    def intersect_offset(pairs, count, columns, rows):
        tiles = _hosts([pairs])[0].numpy() >> 32
        starts = np.searchsorted(tiles, np.arange(rows * columns)).astype(np.int32)
        return kernel([pairs], [torch.from_numpy(starts.reshape(1, rows, columns))])[0]

    @staticmethod
    def rasterize_to_pixels_3dgs_fwd(positions, conics, colors, opacities, backgrounds, masks,
                                     width, height, tile_size, offsets, pairs):
        inputs = [positions, conics, colors, opacities, backgrounds, offsets, pairs]
        assert masks is None
        arrays = _arrays(inputs)
        picture = np.zeros((1, height, width, colors.shape[-1]), np.float32)
        alpha, last = np.zeros((1, height, width, 1), np.float32), np.zeros((1, height, width),
                                                                            np.int32)
        _composite(*arrays, tile_size, picture[0], alpha[0], last[0])
        return tuple(kernel(inputs, [torch.from_numpy(one) for one in (picture, alpha, last)]))

    @staticmethod
    def rasterize_to_pixels_3dgs_bwd(positions, conics, colors, opacities, backgrounds, masks,
                                     width, height, tile_size, offsets, pairs, alphas, last,
                                     v_picture, v_alphas, absgrad):
        inputs = [positions, conics, colors, opacities, backgrounds, offsets, pairs, alphas, last,
                  v_picture, v_alphas]
        gradients = [np.zeros(value.shape, np.float32)
                     for value in (positions, positions, conics, colors, opacities)]
        _composite_backward(*_arrays(inputs), tile_size, *(value[0] for value in gradients))
        made = kernel(inputs, [torch.from_numpy(value) for value in gradients])
        return (made[0] if absgrad else None, *made[1:])


def _hosts(tensors) -> list[torch.Tensor]:
    """As CHECK_INPUT of gsplat: contiguous tensors of the device."""
    for tensor in tensors:
        assert isinstance(tensor, DeviceTensor), 'tensor must be a CUDA tensor'
        assert tensor.is_contiguous(), 'tensor must be contiguous'
    return [tensor.host.detach() for tensor in tensors]


def _arrays(tensors) -> list[np.ndarray]:
    """Of the one picture; pairs have none."""
    return [host.numpy() if host.ndim == 1 else host.numpy()[0] for host in _hosts(tensors)]


def _projected(means, quats, scales, views, width, height, eps2d):
    """[C, N, ...] positions, depths, conics, compensations, and covariances of the picture."""
    covariances, _ = _quat_scale_to_covar_preci(quats, scales, compute_preci=False)
    _, positions, depths, conics, factors = _fully_fused_projection(
        means, covariances, *views, width, height, eps2d=eps2d, near_plane=-math.inf,
        far_plane=math.inf, calc_compensations=True)
    xx, xy, yy = conics.detach().unbind(-1)
    inverse = torch.stack([torch.stack([yy, -xy], -1), torch.stack([-xy, xx], -1)], -2)
    return positions, depths, conics, factors, inverse / (xx * yy - xy * xy)[..., None, None]


@njit(**PIXEL)
def _strength(position, conic, opacity, x, y):
    """(exp(-sigma), whether it counts) at a pixel."""
    dx, dy = position[0] - x, position[1] - y
    sigma = HALF * (conic[0] * dx * dx + conic[2] * dy * dy) + conic[1] * dx * dy
    falloff = np.exp(-sigma)
    return falloff, sigma >= 0 and min(MAX_ALPHA, opacity * falloff) >= MIN_ALPHA


@njit(**PIXEL)
def _end(offsets, pairs, row, column):
    """Where the pairs of a tile end."""
    tile = row * offsets.shape[1] + column + 1
    return len(pairs) if tile == offsets.size else offsets.ravel()[tile]


@njit(**PIXEL)
def _composite(positions, conics, colors, opacities, background, offsets, pairs, tile_size,
               picture, alphas, last):
    for i in range(picture.shape[0]):
        for j in range(picture.shape[1]):
            row, column, left = i // tile_size, j // tile_size, ONE
            for index in range(offsets[row, column], _end(offsets, pairs, row, column)):
                g = pairs[index]
                falloff, counts = _strength(positions[g], conics[g], opacities[g],
                                            np.float32(j) + HALF, np.float32(i) + HALF)
                if not counts:
                    continue
                alpha = min(MAX_ALPHA, opacities[g] * falloff)
                if left * (ONE - alpha) <= STOP:
                    break
                picture[i, j] += colors[g] * (alpha * left)
                last[i, j] = index
                left *= ONE - alpha
            alphas[i, j, 0] = ONE - left
            picture[i, j] += left * background


@njit(**PIXEL)
def _composite_backward(positions, conics, colors, opacities, background, offsets, pairs, alphas,
                        last, v_picture, v_alphas, tile_size, v_absolute, v_positions, v_conics,
                        v_colors, v_opacities):
    behind = np.zeros(colors.shape[1], np.float32)
    for i in range(last.shape[0]):
        for j in range(last.shape[1]):
            row, column = i // tile_size, j // tile_size
            rest = ONE - alphas[i, j, 0]
            left, v, behind[:] = rest, v_picture[i, j], 0
            end = min(last[i, j] + 1, _end(offsets, pairs, row, column))
            for index in range(end - 1, offsets[row, column] - 1, -1):
                g = pairs[index]
                falloff, counts = _strength(positions[g], conics[g], opacities[g],
                                            np.float32(j) + HALF, np.float32(i) + HALF)
                if not counts:
                    continue
                alpha = min(MAX_ALPHA, opacities[g] * falloff)
                inverse = ONE / (ONE - alpha)
                left *= inverse
                v_alpha = rest * inverse * v_alphas[i, j, 0]
                for k in range(len(v)):
                    v_colors[g, k] += alpha * left * v[k]
                    v_alpha += (colors[g, k] * left - behind[k] * inverse
                                - rest * inverse * background[k]) * v[k]
                    behind[k] += colors[g, k] * alpha * left
                if opacities[g] * falloff > MAX_ALPHA:
                    continue
                dx = positions[g, 0] - np.float32(j) - HALF
                dy = positions[g, 1] - np.float32(i) - HALF
                v_sigma = -opacities[g] * falloff * v_alpha
                v_conics[g, 0] += HALF * v_sigma * dx * dx
                v_conics[g, 1] += v_sigma * dx * dy
                v_conics[g, 2] += HALF * v_sigma * dy * dy
                v_x = v_sigma * (conics[g, 0] * dx + conics[g, 1] * dy)
                v_y = v_sigma * (conics[g, 1] * dx + conics[g, 2] * dy)
                v_positions[g, 0] += v_x
                v_positions[g, 1] += v_y
                v_absolute[g, 0] += abs(v_x)
                v_absolute[g, 1] += abs(v_y)
                v_opacities[g] += falloff * v_alpha
