# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of `lift`: robust least squares, local rotations, blending.

All of them in one file, because numba's cache does not see changes in other files. For one
thread and in float64: results repeat bit for bit.

`sight` is what V views saw of the points, a tuple of
    rotations [V, 3, 3] and translations [V, 3] m   camera_from_world
    focals [V, 2] and centers [V, 2]                px, pixel centers at +0.5
    targets [V, N, 2]                               px, where the points are now
    usable [V, N]                                   bool, which targets count
"""
import numpy as np

from igs_ros.core.jit import njit

HUBER_ITERATIONS = 6
HUBER_PX = 1.0  # residuals above this count linearly
GEMAN_MCCLURE_PX = 2.0  # residuals far above this count for nothing
NEIGHBOR_WEIGHT = 0.1  # of all neighbors together, against one view
REST_WEIGHT = 1e-4  # of staying where it is, against one view
TIED_ITERATIONS = 2
ANCHOR_WEIGHT = 1.0  # of what the anchors say, against one view
MIN_AGREEMENT = 1e-4  # an anchor that fits no view still counts where there is no other
ROTATION_ITERATIONS = 20
NEAREST_DEPTH = 1e-6  # m


@njit(cache=True, nogil=True)
def _in_camera(sight, v, x, y, z):
    """Ray (x/z, y/z) and depth of a world point in view v; the depth is kept positive."""
    R, t = sight[0][v], sight[1][v]
    depth = max(R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + t[2], NEAREST_DEPTH)
    return ((R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + t[0]) / depth,
            (R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + t[1]) / depth, depth)


@njit(cache=True, nogil=True)
def pixels_per_meter(sight: tuple[np.ndarray, ...], points: np.ndarray) -> np.ndarray:
    """[N] squared, of one view: the mean over the views that count, 0 without any."""
    focals, usable = sight[2], sight[5]
    strength = np.zeros(len(points))
    for i in range(len(points)):
        count = 0
        for v in range(len(focals)):
            if usable[v, i]:
                _, _, depth = _in_camera(sight, v, points[i, 0], points[i, 1], points[i, 2])
                strength[i] += focals[v, 0] * focals[v, 1] / (depth * depth)
                count += 1
        if count:
            strength[i] /= count
    return strength


@njit(cache=True, nogil=True)
def _gather(sight, i, point, moved, geman_mcclure, normal, right):
    """The weighted equations of all views, linearized at `moved`: normal @ moved = right."""
    _, _, focals, centers, targets, usable = sight
    rotations = sight[0]
    normal[:] = 0.0
    right[:] = 0.0
    row_u, row_v = np.empty(3), np.empty(3)
    for v in range(len(focals)):
        if not usable[v, i]:
            continue
        ray_x, ray_y, depth = _in_camera(sight, v, point[0] + moved[0], point[1] + moved[1],
                                         point[2] + moved[2])
        error_u = targets[v, i, 0] - centers[v, 0] - focals[v, 0] * ray_x
        error_v = targets[v, i, 1] - centers[v, 1] - focals[v, 1] * ray_y
        squared = error_u * error_u + error_v * error_v
        if geman_mcclure:
            ratio = 1.0 + squared / (GEMAN_MCCLURE_PX * GEMAN_MCCLURE_PX)
            weight = 1.0 / (ratio * ratio)
        else:
            weight = HUBER_PX / max(np.sqrt(squared), HUBER_PX)
        for a in range(3):
            row_u[a] = focals[v, 0] / depth * (rotations[v, 0, a] - ray_x * rotations[v, 2, a])
            row_v[a] = focals[v, 1] / depth * (rotations[v, 1, a] - ray_y * rotations[v, 2, a])
            error_u += row_u[a] * moved[a]
            error_v += row_v[a] * moved[a]
        for a in range(3):
            right[a] += weight * (row_u[a] * error_u + row_v[a] * error_v)
            for b in range(3):
                normal[a, b] += weight * (row_u[a] * row_u[b] + row_v[a] * row_v[b])


@njit(cache=True, nogil=True)
def _solve_symmetric(A, b, solution):
    """Write A^-1 b of a symmetric positive definite 3x3 system to `solution`, by the adjugate."""
    c00 = A[1, 1] * A[2, 2] - A[1, 2] * A[1, 2]
    c01 = A[0, 2] * A[1, 2] - A[0, 1] * A[2, 2]
    c02 = A[0, 1] * A[1, 2] - A[0, 2] * A[1, 1]
    c11 = A[0, 0] * A[2, 2] - A[0, 2] * A[0, 2]
    c12 = A[0, 1] * A[0, 2] - A[0, 0] * A[1, 2]
    c22 = A[0, 0] * A[1, 1] - A[0, 1] * A[0, 1]
    determinant = A[0, 0] * c00 + A[0, 1] * c01 + A[0, 2] * c02
    if determinant > 0.0:
        solution[0] = (c00 * b[0] + c01 * b[1] + c02 * b[2]) / determinant
        solution[1] = (c01 * b[0] + c11 * b[1] + c12 * b[2]) / determinant
        solution[2] = (c02 * b[0] + c12 * b[1] + c22 * b[2]) / determinant


@njit(cache=True, nogil=True)
def _solve_tied(sight, i, point, expected, tie, moved, normal, right):
    """Geman-McClure steps of one point, tied to an expected displacement."""
    for _ in range(TIED_ITERATIONS):
        _gather(sight, i, point, moved, True, normal, right)
        for a in range(3):
            normal[a, a] += tie
            right[a] += tie * expected[a]
        _solve_symmetric(normal, right, moved)


@njit(cache=True, nogil=True)
def solve_alone(sight: tuple[np.ndarray, ...], points: np.ndarray, strength: np.ndarray,
                displacements: np.ndarray) -> None:
    """Huber steps of every point by itself.

    Args:
        sight: what the views saw of the points.
        points: [N, 3] m, world, where they were.
        strength: [N] `pixels_per_meter`; points with 0 stay.
        displacements: [N, 3] m, world; in: a first guess, out: the result.
    """
    normal, right = np.empty((3, 3)), np.empty(3)
    for i in range(len(points)):
        if strength[i] == 0.0:
            continue
        for _ in range(HUBER_ITERATIONS):
            _gather(sight, i, points[i], displacements[i], False, normal, right)
            for a in range(3):
                normal[a, a] += REST_WEIGHT * strength[i]
            _solve_symmetric(normal, right, displacements[i])


@njit(cache=True, nogil=True)
def _carried(point, anchor, displacement, rotation, moved):
    """Displacement of `point` if it is fixed to a body that moved like `anchor`."""
    for a in range(3):
        moved[a] = displacement[a] - (point[a] - anchor[a])
        for b in range(3):
            moved[a] += rotation[a, b] * (point[b] - anchor[b])


@njit(cache=True, nogil=True)
def sweep(sight: tuple[np.ndarray, ...], points: np.ndarray, strength: np.ndarray,
          neighbors: np.ndarray, weights: np.ndarray, rotations: np.ndarray, before: np.ndarray,
          displacements: np.ndarray) -> None:
    """Every point anew, tied to the local rigid motion of its neighbors as they were before.

    Args:
        sight: what the views saw of the points.
        points: [N, 3] m, world, where they were.
        strength: [N] `pixels_per_meter`.
        neighbors: [N, K] int64 rows of points.
        weights: [N, K] of the neighbors, >= 0, any scale.
        rotations: [N, 3, 3] of the surroundings of each point.
        before: [N, 3] m, displacements from which the neighbors' motion is taken.
        displacements: [N, 3] m, world; in: a first guess, out: the result; not `before` itself.
    """
    normal, right = np.empty((3, 3)), np.empty(3)
    expected, moved = np.empty(3), np.empty(3)
    for i in range(len(points)):
        total = 0.0
        expected[:] = 0.0
        for k in range(neighbors.shape[1]):
            j = neighbors[i, k]
            _carried(points[i], points[j], before[j], rotations[j], moved)
            expected += weights[i, k] * moved
            total += weights[i, k]
        if total > 0.0:
            expected /= total
        # without any view the tie alone decides: its strength means nothing then
        tie = max(NEIGHBOR_WEIGHT * strength[i], 1e-12)
        _solve_tied(sight, i, points[i], expected, tie, displacements[i], normal, right)


@njit(cache=True, nogil=True)
def local_rotations(points: np.ndarray, displacements: np.ndarray, neighbors: np.ndarray,
                    weights: np.ndarray, spread: int, rotations: np.ndarray) -> None:
    """Rotation around each point: Kabsch over it, its neighbors, and theirs, `spread` times.

    Args:
        points: [N, 3] m, world, where they were.
        displacements: [N, 3] m, world.
        neighbors: [N, K] int64 rows of points.
        weights: [N, K] of the neighbors, >= 0, any scale.
        spread: how often to add those of the neighbors: eight neighbors alone are so close that
            the noise of their motion turns them.
        rotations: [N, 3, 3]; in: a first guess, out: the result.
    """
    moments = np.zeros((len(points), 3, 3))
    for i in range(len(points)):
        for k in range(neighbors.shape[1]):
            j = neighbors[i, k]
            for a in range(3):
                now = points[j, a] + displacements[j, a] - points[i, a] - displacements[i, a]
                for b in range(3):
                    moments[i, a, b] += weights[i, k] * now * (points[j, b] - points[i, b])
    for _ in range(spread):
        narrow = moments.copy()
        for i in range(len(points)):
            for k in range(neighbors.shape[1]):
                moments[i] += weights[i, k] * narrow[neighbors[i, k]]
    for i in range(len(points)):
        turn_to(moments[i], rotations[i])


@njit(cache=True, nogil=True)
def turn_to(moments: np.ndarray, rotation: np.ndarray) -> None:
    """Turn `rotation` until it is the rotation nearest to `moments` (Mueller et al. 2016).

    It stays near the first guess where flat or few moments leave the rotation open.
    """
    axis = np.empty(3)
    for _ in range(ROTATION_ITERATIONS):
        axis[:] = 0.0
        agreement = 0.0
        for c in range(3):
            rx, ry, rz = rotation[0, c], rotation[1, c], rotation[2, c]
            mx, my, mz = moments[0, c], moments[1, c], moments[2, c]
            axis[0] += ry * mz - rz * my
            axis[1] += rz * mx - rx * mz
            axis[2] += rx * my - ry * mx
            agreement += rx * mx + ry * my + rz * mz
        axis /= abs(agreement) + 1e-30
        angle = np.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
        if angle < 1e-9:
            return
        axis /= angle
        # a long axis means that the guess is far off, not that the angle is large
        angle = min(angle, 1.0)
        sine, cosine = np.sin(angle), np.cos(angle)
        for c in range(3):
            rx, ry, rz = rotation[0, c], rotation[1, c], rotation[2, c]
            along = (axis[0] * rx + axis[1] * ry + axis[2] * rz) * (1.0 - cosine)
            rotation[0, c] = rx * cosine + (axis[1] * rz - axis[2] * ry) * sine + axis[0] * along
            rotation[1, c] = ry * cosine + (axis[2] * rx - axis[0] * rz) * sine + axis[1] * along
            rotation[2, c] = rz * cosine + (axis[0] * ry - axis[1] * rx) * sine + axis[2] * along


@njit(cache=True, nogil=True)
def _agreement(sight, i, point, moved):
    """0..1: how well a displacement explains what the views saw of point i; 1 if none did."""
    _, _, focals, centers, targets, usable = sight
    fit, seen = 0.0, 0
    for v in range(len(focals)):
        if not usable[v, i]:
            continue
        ray_x, ray_y, _ = _in_camera(sight, v, point[0] + moved[0], point[1] + moved[1],
                                     point[2] + moved[2])
        error_u = targets[v, i, 0] - centers[v, 0] - focals[v, 0] * ray_x
        error_v = targets[v, i, 1] - centers[v, 1] - focals[v, 1] * ray_y
        squared = error_u * error_u + error_v * error_v
        ratio = 1.0 + squared / (GEMAN_MCCLURE_PX * GEMAN_MCCLURE_PX)
        fit += 1.0 / (ratio * ratio)
        seen += 1
    return max(fit / seen, MIN_AGREEMENT) if seen else 1.0


@njit(cache=True, nogil=True)
def blend(sight: tuple[np.ndarray, ...], points: np.ndarray, strength: np.ndarray,
          anchors: np.ndarray, anchor_displacements: np.ndarray, anchor_rotations: np.ndarray,
          indices: np.ndarray, weights: np.ndarray, displacements: np.ndarray,
          rotations: np.ndarray) -> None:
    """Motion of points from anchors nearby.

    Args:
        sight: what the views saw of the points.
        points: [N, 3] m, world, where they were.
        strength: [N] `pixels_per_meter`; with 0 the anchors alone decide.
        anchors: [M, 3] m, world, where they were.
        anchor_displacements: [M, 3] m, world.
        anchor_rotations: [M, 3, 3] of their surroundings.
        indices: [N, K] int64 rows of anchors, K >= 1.
        weights: [N, K] of these anchors, > 0, any scale.
        displacements: [N, 3] m, world; written.
        rotations: [N, 3, 3]; written.
    """
    normal, right, expected = np.empty((3, 3)), np.empty(3), np.empty(3)
    count = indices.shape[1]
    candidates, shares, mixed = np.empty((count, 3)), np.empty(count), np.empty((3, 3))
    for i in range(len(points)):
        expected[:] = 0.0
        mixed[:] = 0.0
        best = 0
        for k in range(count):
            j = indices[i, k]
            _carried(points[i], anchors[j], anchor_displacements[j], anchor_rotations[j],
                     candidates[k])
            shares[k] = weights[i, k] * _agreement(sight, i, points[i], candidates[k])
            expected += shares[k] * candidates[k]
            mixed += shares[k] * anchor_rotations[j]
            if shares[k] > shares[best]:
                best = k
        expected /= shares.sum()
        displacements[i] = expected
        rotations[i] = anchor_rotations[indices[i, best]]
        turn_to(mixed, rotations[i])
        if strength[i] > 0.0:
            _solve_tied(sight, i, points[i], expected, ANCHOR_WEIGHT * strength[i],
                        displacements[i], normal, right)
