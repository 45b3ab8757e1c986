# SPDX-License-Identifier: Apache-2.0
"""Motion of bodies: rigid where it should be, with frames that are carried along."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from igs_ros.apps.training.procedural import bodies, surfaces
from igs_ros.apps.training.procedural.bodies import Body, Drift

DRIFT = Drift(np.array([0.5, -0.2, 0.1]), np.array([0.03, 0, 0.01]), np.array([0, 0.002, 0]),
              np.array([0.3, 0.2, -0.5]), np.array([0.05, -0.1, 0.2]))


def made(kind):
    rng = np.random.default_rng(3)
    if kind == 'rigid':
        return bodies.rigid(rng, 0.4, 0.02, DRIFT)
    return getattr(bodies, kind)(rng, 0.4, 0.02, DRIFT, 0.05)


@pytest.mark.parametrize('kind', ['rigid', 'soft', 'articulated', 'cloth'])
def test_frames_are_rotations_with_the_normal_last(kind):
    for time in (0.0, 2.5):
        points, frames = made(kind).at(time)
        assert np.isfinite(points).all()
        assert np.allclose(frames.transpose(0, 2, 1) @ frames, np.eye(3), atol=1e-6)
        assert np.allclose(np.linalg.det(frames), 1)


def test_a_drift_moves_a_body_as_newton_says():
    body = Body(surfaces.ball(0.1, 0.03), DRIFT)
    points, frames = body.at(3.0)
    turn = Rotation.from_rotvec(3 * DRIFT.spin) * Rotation.from_rotvec(DRIFT.attitude)
    center = DRIFT.center + 3 * DRIFT.velocity + 4.5 * DRIFT.acceleration
    assert np.allclose(points, turn.apply(body.surface.points) + center)
    assert np.allclose(frames[:, :, 2], turn.apply(body.surface.normals), atol=1e-6)


@pytest.mark.parametrize('kind', ['soft', 'articulated', 'cloth'])
def test_soft_things_change_shape_and_rigid_ones_do_not(kind):
    def shape(body, time):
        points = body.at(time)[0][::20]
        return np.linalg.norm(points[:, None] - points, axis=2)
    assert np.allclose(shape(made('rigid'), 0.0), shape(made('rigid'), 4.0))
    assert np.abs(shape(made(kind), 0.0) - shape(made(kind), 4.0)).max() > 1e-3


@pytest.mark.parametrize('kind', ['soft', 'articulated', 'cloth'])
def test_frames_carry_neighbors(kind):
    """A frame says where points nearby go, to first order."""
    body = made(kind)
    start, before = body.at(0.0)
    now, after = body.at(1.0)
    steps = start[1:] - start[:-1]
    near = np.linalg.norm(steps, axis=1) < 0.025  # rows that follow each other on the surface
    turns = after @ before.transpose(0, 2, 1)
    carried = np.einsum('nij,nj->ni', turns[:-1], steps)
    error = np.linalg.norm(carried - (now[1:] - now[:-1]), axis=1)[near]
    assert np.median(error) < 0.15 * 0.02


def test_what_is_born_or_gone_is_not_present():
    body = Body(surfaces.ball(0.1, 0.05), DRIFT, born=1.0, gone=3.0)
    assert [body.present(time) for time in (0.9, 1.0, 2.9, 3.0)] == [False, True, True, False]
