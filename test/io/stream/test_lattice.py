# SPDX-License-Identifier: Apache-2.0
"""Steps and rotations of the lattice: against logarithms, and against SciPy's rotations."""
import math

import numpy as np
import pytest
from gaussians import scene, wxyz
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from igs_ros.io.stream import lattice, rotation
from igs_ros.io.stream.coded import Frame, target_of

few = settings(max_examples=100, deadline=None)


@few
@given(st.integers(1, 2 ** 46))
def test_quarter_log_is_one(value):
    assert lattice.quarter_log(value) == math.floor(4 * math.log2(value) + 1e-4) or \
        abs(4 * math.log2(value) - round(4 * math.log2(value))) < 2e-4  # 16 bits decide


@pytest.mark.parametrize('exponent', range(12, 64))
def test_four_exponents_more_double_a_step(exponent):
    step = lattice.step_of(exponent, 0, 63)
    assert abs(step - 2 ** (exponent / 4)) <= 0.5
    assert lattice.step_of(exponent, exponent + 1, 63) == lattice.step_of(exponent + 1, 0, 63)


def test_larger_and_more_opaque_gaussians_have_finer_colors():
    scales = np.array([[900, 900, 40], [3000, 3000, 40], [3000, 3000, 40]])
    steps = lattice.luma_steps(scales, np.array([1000, 1000, 4000]), 8)[:, 0]
    # inverse to size times opacity, from quarter to quarter
    assert steps[0] / steps[1] == pytest.approx(3804 / 921, rel=0.25)
    assert steps[1] / steps[2] == pytest.approx(4, rel=0.25)


def test_a_scale_and_its_u():
    values = scene(500)
    values['scales'][:] = np.exp(np.random.default_rng(0).uniform(-9, 3, (500, 3)))
    frame = Frame(1.5, (0.0, 0.0, 0.0))
    u = target_of(values, np.arange(500), frame).scales
    inside = values['scales'] / frame.unit < 2 ** 23
    assert np.allclose((u + u ** 3 / lattice.CUBE)[inside] * frame.unit,
                       values['scales'][inside], rtol=1e-5)


@pytest.mark.parametrize('quality', [8, 16, 20, 26])
def test_rotations_come_back_as_finely_as_they_matter(quality):
    """What a wrong rotation moves (the difference of two axes times the angle) is bounded."""
    rng = np.random.default_rng(quality)
    count = 2000
    scales = -np.sort(-np.exp(rng.uniform(3, 10, (count, 3))).astype(np.int64), 1)
    turns = Rotation.random(count, random_state=quality)
    bits, needles = lattice.rotation_bits(scales, quality)
    cells = rotation.cells_for(rotation.whole_quaternions(wxyz(turns)), bits, needles)
    assert (cells >= 0).all() and (cells < 1 << bits).all()
    quats = rotation.rotations_of(cells, bits, needles)
    assert np.allclose(np.linalg.norm(quats, axis=1), lattice.TURN, atol=2)
    decoded = Rotation.from_quat(quats[:, [1, 2, 3, 0]]).as_matrix()
    size = (scales + scales ** 3 / lattice.CUBE)[:, None, :]

    def shape(matrix):
        return matrix @ (np.eye(3) * size) @ np.swapaxes(matrix, 1, 2)
    wrong = np.linalg.norm(shape(decoded) - shape(turns.as_matrix()), axis=(1, 2))
    step = 177 * 2 ** ((8 - quality) / 4)
    coarse = (bits == 8).any(1)  # 8 bits are the most
    assert np.quantile(wrong[~coarse], 0.99) < 2.0 * step
    assert np.median(wrong[~coarse]) > 0.05 * step  # and no finer than it must be


@pytest.mark.parametrize('quality', [4, 20, 31])
def test_what_is_on_the_lattice_stays_there(quality):
    rng = np.random.default_rng(quality)
    scales = -np.sort(-np.exp(rng.uniform(0, 11, (4000, 3))).astype(np.int64), 1)
    bits, needles = lattice.rotation_bits(scales, quality)
    cells = rng.integers(0, 1 << bits)
    again = rotation.cells_for(rotation.rotations_of(cells, bits, needles), bits, needles)
    assert np.array_equal(again, cells)


def test_turns_are_those_of_scipy():
    rng = np.random.default_rng(0)
    before = Rotation.random(300, random_state=1)
    turn = Rotation.from_rotvec(rng.normal(0, 0.4, (300, 3)))
    whole = rotation.whole_quaternions(wxyz(before))
    turns = rotation.turns_to(whole / lattice.TURN, wxyz(turn * before))
    after = rotation.turned(whole, np.rint(turns).astype(np.int64))
    decoded = Rotation.from_quat(after[:, [1, 2, 3, 0]])
    halves = [Rotation.identity(), *(Rotation.from_rotvec(np.pi * axis) for axis in np.eye(3))]
    apart = np.min([((turn * before * half).inv() * decoded).magnitude() for half in halves], 0)
    assert apart.max() < 5e-4


@few
@given(st.lists(st.integers(1, 9), min_size=3, max_size=3), st.integers(0, 99))
def test_renamed_axes_fall_and_are_the_same_ellipsoid(sizes, seed):
    turn = Rotation.random(1, random_state=seed)
    scales = np.array([sizes]) * 100
    quats, fallen, order = rotation.renamed(rotation.whole_quaternions(wxyz(turn)), scales)
    assert (np.diff(fallen[0]) <= 0).all() and np.array_equal(scales[0, order[0]], fallen[0])
    after = Rotation.from_quat(quats[:, [1, 2, 3, 0]]).as_matrix()[0]
    before = turn.as_matrix()[0]
    assert np.allclose(after @ np.diag(fallen[0]) @ after.T,
                       before @ np.diag(scales[0]) @ before.T, atol=0.5)
    # as the encoder, which has floating point, names them
    named = Rotation.from_quat(rotation.permuted(wxyz(turn), order)[:, [1, 2, 3, 0]])
    named = named.as_matrix()[0]
    assert np.allclose(named @ np.diag(fallen[0]) @ named.T, after @ np.diag(fallen[0]) @ after.T,
                       atol=0.5)
