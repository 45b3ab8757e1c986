# SPDX-License-Identifier: Apache-2.0
"""Color from spherical harmonics, and its gradient.

Real basis up to degree 3 in the order and with the signs of 3DGS; polynomials as in Sloan,
"Efficient Spherical Harmonic Evaluation" (JCGT 2013), for the unit direction from the camera to
the Gaussian. color = max(0, sum_k basis_k sh_k + 0.5).
"""
import math

import numpy as np

from igs_ros.core.jit import njit
from igs_ros.render.cpu import records as at
from igs_ros.render.cpu.records import STRICT

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
C0 = np.float32(0.2820947917738781)
C1 = np.float32(0.48860251190292)
C2 = np.float32(1.092548430592079)  # xy, yz, xz
C2_ZZ = np.float32(0.9461746957575601)
C2_CONSTANT = np.float32(0.3153915652525201)
C2_XX_YY = np.float32(0.5462742152960395)
C3_XXX = np.float32(0.5900435899266435)
C3_XYZ = np.float32(1.445305721320277)
C3_ZZ = np.float32(2.285228997322329)
C3_LINEAR = np.float32(0.4570457994644658)
C3_ZZZ = np.float32(1.865881662950577)
C3_Z = np.float32(1.119528997770346)
THREE, SIX = np.float32(3), np.float32(6)


@njit(**STRICT)
def _basis(degree, x, y, z, basis):
    """Write the values at the unit direction (x, y, z) to basis [16], as far as `degree` goes."""
    basis[0] = C0
    if degree > 0:
        basis[1], basis[2], basis[3] = -C1 * y, C1 * z, -C1 * x
    if degree > 1:
        basis[4], basis[5], basis[7] = C2 * x * y, -C2 * y * z, -C2 * x * z
        basis[6] = C2_ZZ * z * z - C2_CONSTANT
        basis[8] = C2_XX_YY * (x * x - y * y)
    if degree > 2:
        ring = C3_LINEAR - C3_ZZ * z * z
        basis[9] = -C3_XXX * y * (THREE * x * x - y * y)
        basis[10] = TWO * C3_XYZ * x * y * z
        basis[11], basis[13] = ring * y, ring * x
        basis[12] = z * (C3_ZZZ * z * z - C3_Z)
        basis[14] = C3_XYZ * z * (x * x - y * y)
        basis[15] = -C3_XXX * x * (x * x - THREE * y * y)


@njit(**STRICT)
def _direction_gradient(degree, x, y, z, w):
    """Gradient of sum_k w_k basis_k by (x, y, z), for weights w [16]."""
    gx, gy, gz = -C1 * w[3], -C1 * w[1], C1 * w[2]
    if degree > 1:
        gx += C2 * (y * w[4] - z * w[7]) + TWO * C2_XX_YY * x * w[8]
        gy += C2 * (x * w[4] - z * w[5]) - TWO * C2_XX_YY * y * w[8]
        gz += TWO * C2_ZZ * z * w[6] - C2 * (y * w[5] + x * w[7])
    if degree > 2:
        ring = C3_LINEAR - C3_ZZ * z * z
        gx += -SIX * C3_XXX * x * y * w[9] + TWO * C3_XYZ * y * z * w[10] + ring * w[13] \
            + TWO * C3_XYZ * x * z * w[14] - THREE * C3_XXX * (x * x - y * y) * w[15]
        gy += -THREE * C3_XXX * (x * x - y * y) * w[9] + TWO * C3_XYZ * x * z * w[10] \
            + ring * w[11] - TWO * C3_XYZ * y * z * w[14] + SIX * C3_XXX * x * y * w[15]
        gz += TWO * C3_XYZ * x * y * w[10] - TWO * C3_ZZ * z * (y * w[11] + x * w[13]) \
            + (THREE * C3_ZZZ * z * z - C3_Z) * w[12] + C3_XYZ * (x * x - y * y) * w[14]
    return gx, gy, gz


@njit(**STRICT)
def _direction(means, i, center):
    """Unit direction from the camera center to Gaussian i, and 1 / distance."""
    x, y, z = means[i, 0] - center[0], means[i, 1] - center[1], means[i, 2] - center[2]
    inverse = ONE / math.sqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


@njit(**STRICT)
def shade(start: int, stop: int, means: np.ndarray, sh: np.ndarray, center: np.ndarray,
          degree: int, records: np.ndarray) -> None:
    """Write the colors of the Gaussians start..stop that are drawn.

    Args:
        start: first Gaussian.
        stop: last Gaussian, itself left out.
        means: [N, 3] float32 m, world.
        sh: [N, K, 3] float32.
        center: [3] float32 m, of the camera in the world.
        degree: of `sh`, 0..3.
        records: [N, 11] float32 of `project`; RED, GREEN and BLUE are written.
    """
    basis = np.empty(16, np.float32)
    terms = (degree + 1) * (degree + 1)
    for i in range(start, stop):
        if records[i, at.OPACITY] == ZERO:
            continue
        x, y, z, _ = _direction(means, i, center)
        _basis(degree, x, y, z, basis)
        for channel in range(3):
            value = HALF
            for k in range(terms):
                value += basis[k] * sh[i, k, channel]
            records[i, at.RED + channel] = max(value, ZERO)


@njit(**STRICT)
def shade_backward(start: int, stop: int, means: np.ndarray, sh: np.ndarray, center: np.ndarray,
                   degree: int, records: np.ndarray, sums: np.ndarray, grad_sh: np.ndarray,
                   grad_means: np.ndarray) -> None:
    """From gradients of the colors to those of the coefficients and positions.

    Rows of Gaussians that were not drawn are left as they are.

    Args:
        start: first Gaussian.
        stop: last Gaussian, itself left out.
        means: [N, 3] float32 m, world.
        sh: [N, K, 3] float32.
        center: [3] float32 m, of the camera in the world.
        degree: of `sh`, 0..3.
        records: [N, 11] float32 of `shade`.
        sums: [N, 10] float32, gradients in the image (records.py).
        grad_sh: [N, K, 3] float32; written.
        grad_means: [N, 3] float32; the gradient through the direction is added.
    """
    basis = np.empty(16, np.float32)
    weights = np.empty(16, np.float32)
    terms = (degree + 1) * (degree + 1)
    for i in range(start, stop):
        if records[i, at.OPACITY] == ZERO:
            continue
        x, y, z, inverse = _direction(means, i, center)
        _basis(degree, x, y, z, basis)
        # a color that was raised to 0 passes no gradient
        red = sums[i, at.GRAD_RED] if records[i, at.RED] > ZERO else ZERO
        green = sums[i, at.GRAD_GREEN] if records[i, at.GREEN] > ZERO else ZERO
        blue = sums[i, at.GRAD_BLUE] if records[i, at.BLUE] > ZERO else ZERO
        for k in range(terms):
            grad_sh[i, k, 0] = basis[k] * red
            grad_sh[i, k, 1] = basis[k] * green
            grad_sh[i, k, 2] = basis[k] * blue
            weights[k] = sh[i, k, 0] * red + sh[i, k, 1] * green + sh[i, k, 2] * blue
        if degree > 0:
            gx, gy, gz = _direction_gradient(degree, x, y, z, weights)
            radial = gx * x + gy * y + gz * z
            grad_means[i, 0] += (gx - radial * x) * inverse
            grad_means[i, 1] += (gy - radial * y) * inverse
            grad_means[i, 2] += (gz - radial * z) * inverse
