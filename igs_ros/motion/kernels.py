# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of `lift`: robust least squares, local rotations, blending.

All of them in one file, because numba's cache does not see changes in other files. Written for
one thread, in float64: results repeat bit for bit.
"""
import numpy as np
from numba import njit

HUBER_ITERATIONS = 6
HUBER_PX = 1.0  # residuals above this count linearly
GEMAN_MCCLURE_PX = 2.0  # residuals far above this count for nothing
NEIGHBOR_WEIGHT = 0.1  # of all neighbours together, against one view
REST_WEIGHT = 1e-4  # of staying where it is, against one view
OWN_STEPS = 2  # steps from what the anchors say towards what the views say
ANCHOR_WEIGHT = 1.0  # of what the anchors say, against one view
LEAST_AGREEMENT = 1e-4  # an anchor that fits no view still counts where there is no other


@njit(cache=True, nogil=True)
def pixels_per_metre(view_rotations, translations, focals, centers, points, usable):
    """[M]: squared, of one view, the mean over those that can be used; 0 without any."""
    strength = np.zeros(points.shape[0])
    for i in range(points.shape[0]):
        count = 0
        for v in range(len(focals)):
            if usable[v, i]:
                z = np.dot(view_rotations[v, 2], points[i]) + translations[v, 2]
                strength[i] += focals[v, 0] * focals[v, 1] / (z * z)
                count += 1
        if count:
            strength[i] /= count
    return strength


@njit(cache=True, nogil=True)
def _gather(view_rotations, translations, focals, centers, point, targets, usable, i, moved,
            geman_mcclure, normal, right):
    """Add the linearised equations of all views: normal @ displacement = right."""
    x, y, z = point[0] + moved[0], point[1] + moved[1], point[2] + moved[2]
    row_u, row_v = np.empty(3), np.empty(3)
    for v in range(len(focals)):
        if not usable[v, i]:
            continue
        R, t = view_rotations[v], translations[v]
        depth = R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + t[2]
        if depth < 1e-6:
            continue
        ray_x = (R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + t[0]) / depth
        ray_y = (R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + t[1]) / depth
        error_u = targets[v, i, 0] - centers[v, 0] - focals[v, 0] * ray_x
        error_v = targets[v, i, 1] - centers[v, 1] - focals[v, 1] * ray_y
        squared = error_u * error_u + error_v * error_v
        if geman_mcclure:
            ratio = 1.0 + squared / (GEMAN_MCCLURE_PX * GEMAN_MCCLURE_PX)
            weight = 1.0 / (ratio * ratio)
        else:
            weight = HUBER_PX / max(np.sqrt(squared), HUBER_PX)
        for a in range(3):
            row_u[a] = focals[v, 0] / depth * (R[0, a] - ray_x * R[2, a])
            row_v[a] = focals[v, 1] / depth * (R[1, a] - ray_y * R[2, a])
            error_u += row_u[a] * moved[a]
            error_v += row_v[a] * moved[a]
        for a in range(3):
            right[a] += weight * (row_u[a] * error_u + row_v[a] * error_v)
            for b in range(3):
                normal[a, b] += weight * (row_u[a] * row_u[b] + row_v[a] * row_v[b])


@njit(cache=True, nogil=True)
def _solve_symmetric(A, b, solution):
    """solution = A^-1 b of a symmetric positive definite 3x3 system, by the adjugate."""
    c00 = A[1, 1] * A[2, 2] - A[1, 2] * A[1, 2]
    c01 = A[0, 2] * A[1, 2] - A[0, 1] * A[2, 2]
    c02 = A[0, 1] * A[1, 2] - A[0, 2] * A[1, 1]
    c11 = A[0, 0] * A[2, 2] - A[0, 2] * A[0, 2]
    c12 = A[0, 1] * A[0, 2] - A[0, 0] * A[1, 2]
    c22 = A[0, 0] * A[1, 1] - A[0, 1] * A[0, 1]
    determinant = A[0, 0] * c00 + A[0, 1] * c01 + A[0, 2] * c02
    if not determinant > 0.0:
        return
    solution[0] = (c00 * b[0] + c01 * b[1] + c02 * b[2]) / determinant
    solution[1] = (c01 * b[0] + c11 * b[1] + c12 * b[2]) / determinant
    solution[2] = (c02 * b[0] + c12 * b[1] + c22 * b[2]) / determinant


@njit(cache=True, nogil=True)
def solve_alone(view_rotations, translations, focals, centers, points, targets, usable, strength,
                 displacements):
    normal, right = np.empty((3, 3)), np.empty(3)
    for i in range(points.shape[0]):
        if strength[i] == 0.0:
            continue
        for _ in range(HUBER_ITERATIONS):
            normal[:] = 0.0
            right[:] = 0.0
            _gather(view_rotations, translations, focals, centers, points[i], targets, usable, i,
                    displacements[i], False, normal, right)
            for a in range(3):
                normal[a, a] += REST_WEIGHT * strength[i]
            _solve_symmetric(normal, right, displacements[i])


@njit(cache=True, nogil=True)
def solve_tied(view_rotations, translations, focals, centers, points, targets, usable, strength,
                neighbors, weights, rotations, before, displacements):
    """One sweep: every point anew, its neighbours as they were `before`."""
    normal, right, expected = np.empty((3, 3)), np.empty(3), np.empty(3)
    for i in range(points.shape[0]):
        total = 0.0
        expected[:] = 0.0
        for k in range(neighbors.shape[1]):
            j = neighbors[i, k]
            weight = weights[i, k]
            total += weight
            for a in range(3):
                turned = before[j, a] - (points[i, a] - points[j, a])
                for b in range(3):
                    turned += rotations[j, a, b] * (points[i, b] - points[j, b])
                expected[a] += weight * turned
        if total > 0.0:
            for a in range(3):
                expected[a] /= total
        tie = (NEIGHBOR_WEIGHT if total > 0.0 else REST_WEIGHT) * max(strength[i], 1e-12)
        for _ in range(2):
            normal[:] = 0.0
            right[:] = 0.0
            _gather(view_rotations, translations, focals, centers, points[i], targets, usable, i,
                    displacements[i], True, normal, right)
            for a in range(3):
                normal[a, a] += tie
                right[a] += tie * expected[a]
            _solve_symmetric(normal, right, displacements[i])


@njit(cache=True, nogil=True)
def local_rotations(points, displacements, neighbors, weights, rotations):
    """Rotation of the surroundings of each point: Kabsch over the point and its neighbours.

    points, displacements: [M, 3]; neighbors, weights: [M, K]; rotations: [M, 3, 3], in: a first
    guess, out: the result. The polar part is found by turning the guess until it fits best
    (Mueller et al. 2016), which stays near the guess where flat or few neighbours leave it open.
    """
    moments = np.empty((3, 3))
    for i in range(points.shape[0]):
        moments[:] = 0.0
        for k in range(neighbors.shape[1]):
            j = neighbors[i, k]
            for a in range(3):
                moved = points[j, a] + displacements[j, a] - points[i, a] - displacements[i, a]
                for b in range(3):
                    moments[a, b] += weights[i, k] * moved * (points[j, b] - points[i, b])
        turn_to(moments, rotations[i])


@njit(cache=True, nogil=True)
def turn_to(moments, rotation):
    axis, turned = np.empty(3), np.empty((3, 3))
    for _ in range(20):
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
        angle = min(angle, 1.0)
        sine, versine = np.sin(angle), 1.0 - np.cos(angle)
        for c in range(3):
            rx, ry, rz = rotation[0, c], rotation[1, c], rotation[2, c]
            along = (axis[0] * rx + axis[1] * ry + axis[2] * rz) * versine
            turned[0, c] = rx * (1 - versine) + (axis[1] * rz - axis[2] * ry) * sine + axis[0] * along
            turned[1, c] = ry * (1 - versine) + (axis[2] * rx - axis[0] * rz) * sine + axis[1] * along
            turned[2, c] = rz * (1 - versine) + (axis[0] * ry - axis[1] * rx) * sine + axis[2] * along
        rotation[:] = turned


@njit(cache=True, nogil=True)
def blend(view_rotations, translations, focals, centers, points, targets, usable, strength,
          anchors, anchor_displacements, anchor_rotations, indices, weights, displacements,
          rotations):
    """Motion of points from anchors nearby, preferring those that explain what the views saw."""
    normal, right, expected = np.empty((3, 3)), np.empty(3), np.empty(3)
    count = indices.shape[1]
    candidates, shares = np.empty((count, 3)), np.empty(count)
    mixed = np.empty((3, 3))
    for i in range(points.shape[0]):
        best = 0
        for k in range(count):
            j = indices[i, k]
            for a in range(3):
                moved = anchor_displacements[j, a] - (points[i, a] - anchors[j, a])
                for b in range(3):
                    moved += anchor_rotations[j, a, b] * (points[i, b] - anchors[j, b])
                candidates[k, a] = moved
            shares[k] = weights[i, k] * _agreement(view_rotations, translations, focals, centers,
                                                   points[i], targets, usable, i, candidates[k])
            if shares[k] > shares[best]:
                best = k
        expected[:] = 0.0
        mixed[:] = 0.0
        for k in range(count):
            expected += shares[k] * candidates[k]
            mixed += shares[k] * anchor_rotations[indices[i, k]]
        expected /= shares.sum()
        displacements[i] = expected
        rotations[i] = anchor_rotations[indices[i, best]]
        turn_to(mixed, rotations[i])
        if strength[i] == 0.0:
            continue
        for _ in range(OWN_STEPS):
            normal[:] = 0.0
            right[:] = 0.0
            _gather(view_rotations, translations, focals, centers, points[i], targets, usable, i,
                    displacements[i], True, normal, right)
            for a in range(3):
                normal[a, a] += ANCHOR_WEIGHT * strength[i]
                right[a] += ANCHOR_WEIGHT * strength[i] * expected[a]
            _solve_symmetric(normal, right, displacements[i])


@njit(cache=True, nogil=True)
def _agreement(view_rotations, translations, focals, centers, point, targets, usable, i, moved):
    """0..1: how well a displacement explains what the views saw of point i; 1 if none saw it."""
    fit, seen = 0.0, 0
    for v in range(len(focals)):
        if not usable[v, i]:
            continue
        R, t = view_rotations[v], translations[v]
        x, y, z = point[0] + moved[0], point[1] + moved[1], point[2] + moved[2]
        depth = max(R[2, 0] * x + R[2, 1] * y + R[2, 2] * z + t[2], 1e-6)
        error_u = targets[v, i, 0] - centers[v, 0] - focals[v, 0] / depth * (
            R[0, 0] * x + R[0, 1] * y + R[0, 2] * z + t[0])
        error_v = targets[v, i, 1] - centers[v, 1] - focals[v, 1] / depth * (
            R[1, 0] * x + R[1, 1] * y + R[1, 2] * z + t[1])
        squared = error_u * error_u + error_v * error_v
        ratio = 1.0 + squared / (GEMAN_MCCLURE_PX * GEMAN_MCCLURE_PX)
        fit += 1.0 / (ratio * ratio)
        seen += 1
    return max(fit / seen, LEAST_AGREEMENT) if seen else 1.0
