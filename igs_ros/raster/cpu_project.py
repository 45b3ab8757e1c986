# SPDX-License-Identifier: Apache-2.0
"""Projection of Gaussians to the image and its gradient (EWA splatting, Zwicker et al. 2002).

Notation: row vectors of three are tuples. The columns of the rotation of a Gaussian, times its
standard deviations, are its three `axes` (world frame). With J the Jacobian of the projection at
the mean and W the rotation of the camera, the two rows `row_u`, `row_v` of J W map an axis to its
image, so that

    f_u = (row_u . axis_0, row_u . axis_1, row_u . axis_2),  f_v likewise,
    cov_uu = f_u . f_u + eps,  cov_uv = f_u . f_v,  cov_vv = f_v . f_v + eps.

No 3x3 covariance is ever formed, and the determinant is a sum of positive terms,

    det(cov - eps I) = |f_u x f_v|^2,   det(cov) = |f_u x f_v|^2 + eps (|f_u|^2 + |f_v|^2) + eps^2,

so needles and discs lose no digits to cancellation in float32.
"""
import math

import numpy as np
from numba import njit

from igs_ros.raster.cpu_records import (
    ABS_X,
    ABS_Y,
    COMPENSATION,
    CONIC_XX,
    CONIC_XY,
    CONIC_YY,
    DEPTH,
    EXTENT_X,
    EXTENT_Y,
    GRAD_DEPTH,
    HALF_WIDTH,
    MEAN_X,
    MEAN_Y,
    MIN_ALPHA,
    OPACITY,
    SLOPE,
    STRICT,
    SUM_G,
    SUM_GX,
    SUM_GXX,
    SUM_GXY,
    SUM_GY,
    SUM_GYY,
    TURN_Y,
)

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
LARGEST = np.float32(1e30)  # beyond this a covariance is refused: squares would overflow
# A little more than the outline alpha = 1/255, so that rounding never drops a visible pixel.
OUTLINE_FACTOR, OUTLINE_MARGIN = np.float32(1.0001), np.float32(1e-5)
TINY_COMPENSATION = np.float32(1e-6)  # as gsplat: keeps 1/compensation finite

# entries of `lens`
FX, FY, CX, CY, LEFT, RIGHT, TOP, BOTTOM = range(8)


@njit(**STRICT)
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**STRICT)
def _cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


@njit(**STRICT)
def _scaled(a, factor):
    return (a[0] * factor, a[1] * factor, a[2] * factor)


@njit(**STRICT)
def _sum2(a, factor_a, b, factor_b):
    """a factor_a + b factor_b."""
    return (a[0] * factor_a + b[0] * factor_b, a[1] * factor_a + b[1] * factor_b,
            a[2] * factor_a + b[2] * factor_b)


@njit(**STRICT)
def _sum3(a, factor_a, b, factor_b, c, factor_c):
    """a factor_a + b factor_b + c factor_c."""
    return (a[0] * factor_a + b[0] * factor_b + c[0] * factor_c,
            a[1] * factor_a + b[1] * factor_b + c[1] * factor_c,
            a[2] * factor_a + b[2] * factor_b + c[2] * factor_c)


@njit(**STRICT)
def _row3(array, i):
    return (array[i, 0], array[i, 1], array[i, 2])


@njit(**STRICT)
def _unit_quaternion(quats, i):
    """Unit (w, x, y, z) and 1 / length of row i."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    inverse = ONE / math.sqrt(w * w + x * x + y * y + z * z)
    return (w * inverse, x * inverse, y * inverse, z * inverse), inverse


@njit(**STRICT)
def _rotation_columns(q):
    """The three columns of the rotation matrix of a unit quaternion."""
    w, x, y, z = q
    return ((ONE - TWO * (y * y + z * z), TWO * (x * y + w * z), TWO * (x * z - w * y)),
            (TWO * (x * y - w * z), ONE - TWO * (x * x + z * z), TWO * (y * z + w * x)),
            (TWO * (x * z + w * y), TWO * (y * z - w * x), ONE - TWO * (x * x + y * y)))


@njit(**STRICT)
def _to_camera(means, i, view):
    mean = _row3(means, i)
    return (_dot(_row3(view, 0), mean) + view[0, 3], _dot(_row3(view, 1), mean) + view[1, 3],
            _dot(_row3(view, 2), mean) + view[2, 3])


@njit(**STRICT)
def _screen_rows(local, view, lens):
    """Rows of J W, and the slopes x/z, y/z at which J is taken.

    Far outside the image the linearisation degenerates, so the slopes stop 30 % of half the image
    size beyond its border (as gsplat does); the mean itself is not moved.
    """
    inverse_z = ONE / local[2]
    slope_x = min(max(local[0] * inverse_z, lens[LEFT]), lens[RIGHT])
    slope_y = min(max(local[1] * inverse_z, lens[TOP]), lens[BOTTOM])
    scale_u, scale_v = lens[FX] * inverse_z, lens[FY] * inverse_z
    forward = _row3(view, 2)
    row_u = _sum2(_row3(view, 0), scale_u, forward, -scale_u * slope_x)
    row_v = _sum2(_row3(view, 1), scale_v, forward, -scale_v * slope_y)
    return row_u, row_v, slope_x, slope_y


@njit(**STRICT)
def _footprint(row_u, row_v, axes):
    """(f_u, f_v): the images of the three axes."""
    return ((_dot(row_u, axes[0]), _dot(row_u, axes[1]), _dot(row_u, axes[2])),
            (_dot(row_v, axes[0]), _dot(row_v, axes[1]), _dot(row_v, axes[2])))


@njit(**STRICT)
def _write_outline(record, span, cov_uu, cov_uv, cov_vv, determinant):
    """Where alpha falls to 1/255: sigma = ln(255 opacity), an ellipse with known extents."""
    reach = TWO * math.log(record[OPACITY] * np.float32(255)) * OUTLINE_FACTOR + OUTLINE_MARGIN
    extent_x = math.sqrt(reach * cov_uu)
    record[EXTENT_Y] = math.sqrt(reach * cov_vv)
    span[EXTENT_X] = extent_x
    span[SLOPE] = cov_uv / cov_vv
    span[HALF_WIDTH] = math.sqrt(determinant) / cov_vv
    span[TURN_Y] = extent_x * cov_uv / cov_uu


@njit(**STRICT)
def project(start, stop, means, quats, scales, opacities, view, lens, limits, antialiased,
            records, spans):
    """Fill `records` (all but the colour) and `spans` for the Gaussians start..stop.

    view [4, 4] camera_from_world; lens [8] as the entry names above; limits [3] near, far, eps2d.
    Gaussians that cannot be drawn keep opacity 0; comparisons are written so that NaN is refused.
    """
    near, far, blur = limits[0], limits[1], limits[2]
    for i in range(start, stop):
        record = records[i]
        record[OPACITY] = ZERO
        local = _to_camera(means, i, view)
        if not (near <= local[2] <= far):
            continue
        columns = _rotation_columns(_unit_quaternion(quats, i)[0])
        axes = (_scaled(columns[0], scales[i, 0]), _scaled(columns[1], scales[i, 1]),
                _scaled(columns[2], scales[i, 2]))
        row_u, row_v, _, _ = _screen_rows(local, view, lens)
        f_u, f_v = _footprint(row_u, row_v, axes)
        sharp_uu, cov_uv, sharp_vv = _dot(f_u, f_u), _dot(f_u, f_v), _dot(f_v, f_v)
        normal = _cross(f_u, f_v)
        sharp_determinant = _dot(normal, normal)
        determinant = sharp_determinant + blur * (sharp_uu + sharp_vv) + blur * blur
        mean_x = lens[FX] * local[0] / local[2] + lens[CX]
        mean_y = lens[FY] * local[1] / local[2] + lens[CY]
        if not (ZERO < determinant < LARGEST and abs(mean_x) < LARGEST and abs(mean_y) < LARGEST):
            continue
        compensation = math.sqrt(sharp_determinant / determinant) if antialiased else ONE
        opacity = opacities[i] * compensation
        if not (MIN_ALPHA <= opacity < LARGEST):
            continue
        cov_uu, cov_vv = sharp_uu + blur, sharp_vv + blur
        record[MEAN_X], record[MEAN_Y], record[DEPTH] = mean_x, mean_y, local[2]
        record[CONIC_XX] = cov_vv / determinant
        record[CONIC_XY] = -cov_uv / determinant
        record[CONIC_YY] = cov_uu / determinant
        record[OPACITY], record[COMPENSATION] = opacity, compensation
        _write_outline(record, spans[i], cov_uu, cov_uv, cov_vv, determinant)


@njit(**STRICT)
def _covariance_gradient(record, sums, opacity, blur, antialiased):
    """Symmetric (dL/dcov_uu, dL/dcov_uv / 2, dL/dcov_vv).

    sigma = (xx dx^2 + yy dy^2) / 2 + xy dx dy gives dL/dconic = M/2 with M the second moments of
    dL/dsigma, and a matrix inverse has dL/dcov = -conic (dL/dconic) conic. In antialiased mode
    compensation^2 = det(cov - eps I) / det(cov) has the derivative
    (1 - compensation^2) conic - eps det(conic) I.
    """
    xx, xy, yy = record[CONIC_XX], record[CONIC_XY], record[CONIC_YY]
    m_xx, m_xy, m_yy = HALF * sums[SUM_GXX], HALF * sums[SUM_GXY], HALF * sums[SUM_GYY]
    left_x, left_y = xx * m_xx + xy * m_xy, xx * m_xy + xy * m_yy
    right_x, right_y = xy * m_xx + yy * m_xy, xy * m_xy + yy * m_yy
    grad_uu = -(left_x * xx + left_y * xy)
    grad_uv = -(left_x * xy + left_y * yy)
    grad_vv = -(right_x * xy + right_y * yy)
    if antialiased:
        compensation = record[COMPENSATION]
        grad_compensation = -sums[SUM_G] / record[OPACITY] * opacity
        grad_square = HALF * grad_compensation / (compensation + TINY_COMPENSATION)
        rest = ONE - compensation * compensation
        spread = blur * (xx * yy - xy * xy)
        grad_uu += grad_square * (rest * xx - spread)
        grad_uv += grad_square * rest * xy
        grad_vv += grad_square * (rest * yy - spread)
    return grad_uu, grad_uv, grad_vv


@njit(**STRICT)
def _write_quaternion_gradient(grad_quats, i, q, inverse_length, c0, c1, c2):
    """From the gradients c0, c1, c2 of the columns of the rotation matrix."""
    w, x, y, z = q
    # skew and symmetric parts of the gradient matrix G, G[row, column] = c_column[row]
    skew_x, skew_y, skew_z = c1[2] - c2[1], c2[0] - c0[2], c0[1] - c1[0]
    both_xy, both_xz, both_yz = c0[1] + c1[0], c0[2] + c2[0], c1[2] + c2[1]
    grad_w = TWO * (x * skew_x + y * skew_y + z * skew_z)
    grad_x = TWO * (w * skew_x + y * both_xy + z * both_xz - TWO * x * (c1[1] + c2[2]))
    grad_y = TWO * (w * skew_y + x * both_xy + z * both_yz - TWO * y * (c0[0] + c2[2]))
    grad_z = TWO * (w * skew_z + x * both_xz + y * both_yz - TWO * z * (c0[0] + c1[1]))
    radial = grad_w * w + grad_x * x + grad_y * y + grad_z * z
    grad_quats[i, 0] = (grad_w - radial * w) * inverse_length
    grad_quats[i, 1] = (grad_x - radial * x) * inverse_length
    grad_quats[i, 2] = (grad_y - radial * y) * inverse_length
    grad_quats[i, 3] = (grad_z - radial * z) * inverse_length
