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

from igs_ros.core.jit import njit
from igs_ros.render.cpu import records as at
from igs_ros.render.cpu.bins import tiles_around
from igs_ros.render.cpu.records import MIN_ALPHA, STRICT

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
    """Weighted sum: a factor_a + b factor_b."""
    return (a[0] * factor_a + b[0] * factor_b, a[1] * factor_a + b[1] * factor_b,
            a[2] * factor_a + b[2] * factor_b)


@njit(**STRICT)
def _sum3(a, factor_a, b, factor_b, c, factor_c):
    """Weighted sum: a factor_a + b factor_b + c factor_c."""
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

    Far outside the image the linearization degenerates, so the slopes stop 30 % of half the image
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
    reach = TWO * math.log(record[at.OPACITY] * np.float32(255)) * OUTLINE_FACTOR + OUTLINE_MARGIN
    extent_y = math.sqrt(reach * cov_vv)
    span[at.EXTENT_X], span[at.EXTENT_Y] = math.sqrt(reach * cov_uu), extent_y
    span[at.SLOPE] = cov_uv / cov_uu
    span[at.HALF_HEIGHT] = math.sqrt(determinant) / cov_uu
    span[at.TURN_X] = extent_y * cov_uv / cov_vv


@njit(**STRICT)
def project(start: int, stop: int, means: np.ndarray, quats: np.ndarray, scales: np.ndarray,
            opacities: np.ndarray, view: np.ndarray, lens: np.ndarray, limits: np.ndarray,
            antialiased: bool, width: int, height: int, tile_sums: np.ndarray,
            records: np.ndarray, spans: np.ndarray, max_pairs: np.ndarray) -> None:
    """Project the Gaussians start..stop; their color is left to `shade`.

    Gaussians that cannot be drawn, or meet no tile to draw, get opacity 0; comparisons are written
    so that NaN is refused.

    Args:
        start: first Gaussian.
        stop: last Gaussian, itself left out.
        means: [N, 3] float32 m, world.
        quats: [N, 4] float32 wxyz, of any length.
        scales: [N, 3] float32 m.
        opacities: [N] float32 0..1.
        view: [4, 4] float32 camera_from_world.
        lens: [8] float32, as the entries named above: px, and slopes x/z, y/z.
        limits: [3] float32 near m, far m, eps2d px^2.
        antialiased: whether opacities are lowered where eps2d widens Gaussians.
        width: of the picture, px.
        height: of the picture, px.
        tile_sums: `tiles_before` of the tiles to draw.
        records: [N, 11] float32 (records.py); written, all but the color.
        spans: [N, 5] float32; written.
        max_pairs: [N] int32; gets the number of tiles to draw in the box around a Gaussian.
    """
    near, far, blur = limits[0], limits[1], limits[2]
    for i in range(start, stop):
        record = records[i]
        record[at.OPACITY], max_pairs[i] = ZERO, 0
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
        record[at.MEAN_X], record[at.MEAN_Y], record[at.DEPTH] = mean_x, mean_y, local[2]
        record[at.CONIC_XX] = cov_vv / determinant
        record[at.CONIC_XY] = -cov_uv / determinant
        record[at.CONIC_YY] = cov_uu / determinant
        record[at.OPACITY], record[at.COMPENSATION] = opacity, compensation
        _write_outline(record, spans[i], cov_uu, cov_uv, cov_vv, determinant)
        max_pairs[i] = tiles_around(record, spans[i], width, height, tile_sums)
        if max_pairs[i] == 0:
            record[at.OPACITY] = ZERO


@njit(**STRICT)
def _covariance_gradient(record, sums, opacity, blur, determinant, antialiased):
    """Symmetric (dL/dcov_uu, dL/dcov_uv / 2, dL/dcov_vv).

    sigma = (xx dx^2 + yy dy^2) / 2 + xy dx dy gives dL/dconic = M/2 with M the second moments of
    dL/dsigma, and a matrix inverse has dL/dcov = -conic (dL/dconic) conic. In antialiased mode
    compensation^2 = det(cov - eps I) / det(cov) has the derivative
    (1 - compensation^2) conic - eps / det(cov) I.
    """
    xx, xy, yy = record[at.CONIC_XX], record[at.CONIC_XY], record[at.CONIC_YY]
    m_xx, m_xy, m_yy = HALF * sums[at.SUM_GXX], HALF * sums[at.SUM_GXY], HALF * sums[at.SUM_GYY]
    left_x, left_y = xx * m_xx + xy * m_xy, xx * m_xy + xy * m_yy
    right_x, right_y = xy * m_xx + yy * m_xy, xy * m_xy + yy * m_yy
    grad_uu = -(left_x * xx + left_y * xy)
    grad_uv = -(left_x * xy + left_y * yy)
    grad_vv = -(right_x * xy + right_y * yy)
    if antialiased:
        compensation = record[at.COMPENSATION]
        grad_compensation = -sums[at.SUM_G] / record[at.OPACITY] * opacity
        grad_square = HALF * grad_compensation / (compensation + TINY_COMPENSATION)
        rest = ONE - compensation * compensation
        spread = blur / determinant
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


@njit(**STRICT)
def _local_gradient(sums, grad_u, grad_v, local, view, lens, grad_row_u, grad_row_v, slopes):
    """dL/d(mean in the camera frame), through position, depth and the Jacobian's dependence on it.

    row_u = (fx/z) right - (fx slope_x/z) forward, with slope_x = x/z unless it was stopped.
    """
    inverse_z = ONE / local[2]
    scale_u, scale_v = lens[FX] * inverse_z, lens[FY] * inverse_z
    forward = _row3(view, 2)
    ratio_x, ratio_y = local[0] * inverse_z, local[1] * inverse_z
    # d row / dz of the factor 1/z, then the slopes
    along_u = _dot(grad_row_u, _sum2(_row3(view, 0), ONE, forward, -slopes[0]))
    along_v = _dot(grad_row_v, _sum2(_row3(view, 1), ONE, forward, -slopes[1]))
    grad_x, grad_y = grad_u * scale_u, grad_v * scale_v
    grad_z = sums[at.GRAD_DEPTH] - grad_x * ratio_x - grad_y * ratio_y \
        - (scale_u * along_u + scale_v * along_v) * inverse_z
    if slopes[0] == ratio_x:
        grad_slope = -scale_u * _dot(grad_row_u, forward) * inverse_z
        grad_x += grad_slope
        grad_z -= grad_slope * ratio_x
    if slopes[1] == ratio_y:
        grad_slope = -scale_v * _dot(grad_row_v, forward) * inverse_z
        grad_y += grad_slope
        grad_z -= grad_slope * ratio_y
    return grad_x, grad_y, grad_z


@njit(**STRICT)
def project_backward(start: int, stop: int, means: np.ndarray, quats: np.ndarray,
                     scales: np.ndarray, opacities: np.ndarray, view: np.ndarray,
                     lens: np.ndarray, limits: np.ndarray, antialiased: bool, records: np.ndarray,
                     sums: np.ndarray, grad_means: np.ndarray, grad_quats: np.ndarray,
                     grad_scales: np.ndarray, grad_opacities: np.ndarray, grad_mean2d: np.ndarray,
                     ) -> None:
    """From gradients in the image to those of the attributes.

    Rows of Gaussians that were not drawn are left as they are.

    Args:
        start: first Gaussian.
        stop: last Gaussian, itself left out.
        means: [N, 3] float32 m, world.
        quats: [N, 4] float32 wxyz, of any length.
        scales: [N, 3] float32 m.
        opacities: [N] float32 0..1.
        view: [4, 4] float32 camera_from_world.
        lens: [8] float32, as in `project`.
        limits: [3] float32, as in `project`.
        antialiased: as in `project`.
        records: [N, 11] float32 of `project`.
        sums: [N, 10] float32, gradients in the image (records.py).
        grad_means: [N, 3] float32; written.
        grad_quats: [N, 4] float32; written.
        grad_scales: [N, 3] float32; written.
        grad_opacities: [N] float32; written.
        grad_mean2d: [N, 2] float32, by the position in the image, px; written.
    """
    blur = limits[2]
    for i in range(start, stop):
        record, total = records[i], sums[i]
        if record[at.OPACITY] == ZERO:
            continue
        grad_u = record[at.CONIC_XX] * total[at.SUM_GX] + record[at.CONIC_XY] * total[at.SUM_GY]
        grad_v = record[at.CONIC_XY] * total[at.SUM_GX] + record[at.CONIC_YY] * total[at.SUM_GY]
        grad_mean2d[i, 0], grad_mean2d[i, 1] = grad_u, grad_v
        # alpha = opacity exp(-sigma): dL/dopacity = -sum(dL/dsigma) / opacity
        grad_opacities[i] = -total[at.SUM_G] / record[at.OPACITY] * record[at.COMPENSATION]

        local = _to_camera(means, i, view)
        quaternion, inverse_length = _unit_quaternion(quats, i)
        columns = _rotation_columns(quaternion)
        s0, s1, s2 = _row3(scales, i)
        axes = (_scaled(columns[0], s0), _scaled(columns[1], s1), _scaled(columns[2], s2))
        row_u, row_v, slope_x, slope_y = _screen_rows(local, view, lens)
        f_u, f_v = _footprint(row_u, row_v, axes)
        determinant = (_dot(f_u, f_u) + blur) / record[at.CONIC_YY]
        grad_uu, grad_uv, grad_vv = _covariance_gradient(record, total, opacities[i], blur,
                                                         determinant, antialiased)
        g_u = _sum2(f_u, TWO * grad_uu, f_v, TWO * grad_uv)
        g_v = _sum2(f_u, TWO * grad_uv, f_v, TWO * grad_vv)
        c0 = _sum2(row_u, g_u[0], row_v, g_v[0])
        c1 = _sum2(row_u, g_u[1], row_v, g_v[1])
        c2 = _sum2(row_u, g_u[2], row_v, g_v[2])
        grad_scales[i, 0] = _dot(columns[0], c0)
        grad_scales[i, 1] = _dot(columns[1], c1)
        grad_scales[i, 2] = _dot(columns[2], c2)
        _write_quaternion_gradient(grad_quats, i, quaternion, inverse_length,
                                   _scaled(c0, s0), _scaled(c1, s1), _scaled(c2, s2))
        grad_local = _local_gradient(
            total, grad_u, grad_v, local, view, lens,
            _sum3(axes[0], g_u[0], axes[1], g_u[1], axes[2], g_u[2]),
            _sum3(axes[0], g_v[0], axes[1], g_v[1], axes[2], g_v[2]), (slope_x, slope_y))
        grad_mean = _sum3(_row3(view, 0), grad_local[0], _row3(view, 1), grad_local[1],
                          _row3(view, 2), grad_local[2])
        grad_means[i, 0], grad_means[i, 1], grad_means[i, 2] = grad_mean
