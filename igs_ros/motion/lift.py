# SPDX-License-Identifier: Apache-2.0
"""3-D motion of points from their 2-D motion in several views.

Robust least squares per point, first alone, then tied to its neighbours, whose local rotation is
followed (reference/cpu_core.md 6; the local rigid tie is our own addition).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from igs_ros.camera import Camera

_HUBER_ITERATIONS = 6
_SWEEPS = 6
_HUBER_PX = 1.0  # residuals above this count linearly
_GEMAN_MCCLURE_PX = 2.0  # residuals far above this count for nothing
_NEIGHBOR_WEIGHT = 0.1  # of all neighbours together, against one view
_REST_WEIGHT = 1e-4  # of staying where it is, against one view


@dataclass(frozen=True, eq=False)
class Views:
    """The calibration of V views as arrays."""

    rotations: np.ndarray  # [V, 3, 3] float64, camera_from_world
    translations: np.ndarray  # [V, 3] m
    focals: np.ndarray  # [V, 2] px
    centers: np.ndarray  # [V, 2] px, pixel centres at +0.5

    @classmethod
    def of(cls, cameras: Sequence[Camera]) -> Views:
        """The views of some cameras, in that order."""
        poses = np.array([camera.camera_from_world for camera in cameras]).reshape(-1, 4, 4)
        K = np.array([camera.K for camera in cameras]).reshape(-1, 3, 3)
        return cls(np.ascontiguousarray(poses[:, :3, :3]),
                   np.ascontiguousarray(poses[:, :3, 3]),
                   np.ascontiguousarray(K[:, [0, 1], [0, 1]]),
                   np.ascontiguousarray(K[:, :2, 2]))


def lift(views: Views, points: np.ndarray, targets: np.ndarray, usable: np.ndarray,
         neighbors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """3-D displacements and local rotations of points.

    views: of V cameras; points: [M, 3] float64 m, world; targets: [V, M, 2] px, where each view
    sees them now; usable: [V, M] bool, whose targets count; neighbors: [M, K] int64 rows of
    points, without the point itself; weights: [M, K] float64, >= 0, any scale.

    Returns displacements [M, 3] float64 m and rotations [M, 3, 3] float64 of the surroundings.
    A point that only one view saw gets the depth part of its motion from its neighbours, one
    that no view saw all of it.
    """
    displacements = np.zeros((len(points), 3))
    rotations = np.tile(np.eye(3), (len(points), 1, 1))
    if len(points) == 0:
        return displacements, rotations
    calibration = (views.rotations, views.translations, views.focals, views.centers)
    targets = np.ascontiguousarray(targets, dtype=np.float64)
    strength = _pixels_per_metre(*calibration, points, usable)
    _solve_alone(*calibration, points, targets, usable, strength, displacements)
    for _ in range(_SWEEPS):
        local_rotations(points, displacements, neighbors, weights, rotations)
        before = displacements.copy()
        _solve_tied(*calibration, points, targets, usable, strength, neighbors, weights,
                    rotations, before, displacements)
    local_rotations(points, displacements, neighbors, weights, rotations)
    return displacements, rotations


@njit(cache=True, nogil=True)
def _pixels_per_metre(view_rotations, translations, focals, centers, points, usable):
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
            ratio = 1.0 + squared / (_GEMAN_MCCLURE_PX * _GEMAN_MCCLURE_PX)
            weight = 1.0 / (ratio * ratio)
        else:
            weight = _HUBER_PX / max(np.sqrt(squared), _HUBER_PX)
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
def _solve_alone(view_rotations, translations, focals, centers, points, targets, usable, strength,
                 displacements):
    normal, right = np.empty((3, 3)), np.empty(3)
    for i in range(points.shape[0]):
        if strength[i] == 0.0:
            continue
        for _ in range(_HUBER_ITERATIONS):
            normal[:] = 0.0
            right[:] = 0.0
            _gather(view_rotations, translations, focals, centers, points[i], targets, usable, i,
                    displacements[i], False, normal, right)
            for a in range(3):
                normal[a, a] += _REST_WEIGHT * strength[i]
            _solve_symmetric(normal, right, displacements[i])


@njit(cache=True, nogil=True)
def _solve_tied(view_rotations, translations, focals, centers, points, targets, usable, strength,
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
        tie = (_NEIGHBOR_WEIGHT if total > 0.0 else _REST_WEIGHT) * max(strength[i], 1e-12)
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
        _turn_to(moments, rotations[i])


@njit(cache=True, nogil=True)
def _turn_to(moments, rotation):
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
