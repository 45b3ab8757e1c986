# SPDX-License-Identifier: Apache-2.0
"""Shapes against what geometry says of them."""
import numpy as np
import pytest

from igs_ros.apps.training.procedural import surfaces

SPACING = 0.02


def box():
    return surfaces.box(np.array([0.3, 0.5, 0.2]), SPACING), 2 * (0.15 + 0.06 + 0.1)


def ball():
    return surfaces.ball(0.25, SPACING), 4 * np.pi * 0.25 ** 2


def tube():
    return surfaces.tube(0.1, 0.4, SPACING), 2 * np.pi * 0.1 * (0.4 + 0.1)


def torus():
    return surfaces.torus(0.3, 0.08, SPACING), 4 * np.pi ** 2 * 0.3 * 0.08


CLOSED = [box, ball, tube, torus]


@pytest.mark.parametrize('make', CLOSED)
def test_points_cover_the_area_evenly(make):
    surface, area = make()
    assert len(surface.points) * SPACING ** 2 == pytest.approx(area, rel=0.1)
    gaps = np.linalg.norm(surface.points[:, None] - surface.points[None, ::7], axis=2)
    assert gaps.min(1).max() < 7 * SPACING  # no part is left out


@pytest.mark.parametrize('make', CLOSED)
def test_normals_have_length_one_and_point_outwards(make):
    surface, _ = make()
    assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1)
    # the divergence theorem: the flux of the position out of a closed body is 3 volumes
    flux = (surface.points * surface.normals).sum() * SPACING ** 2
    volumes = {'box': 0.03, 'ball': 4 / 3 * np.pi * 0.25 ** 3, 'tube': np.pi * 0.01 * 0.4,
               'torus': 2 * np.pi ** 2 * 0.3 * 0.08 ** 2}
    assert flux == pytest.approx(3 * volumes[make.__name__], rel=0.1)


def test_a_sheet_is_flat_centered_and_measured_in_meters():
    sheet = surfaces.sheet(0.4, 0.2, SPACING)
    assert len(sheet.points) == 200 and not sheet.points[:, 2].any()
    assert np.allclose(sheet.points.mean(0), 0)
    assert np.allclose(sheet.uv - sheet.uv[0], sheet.points[:, :2] - sheet.points[0, :2])


def test_joining_and_selecting_keep_rows():
    both = surfaces.joined([ball()[0], tube()[0]])
    count = len(ball()[0].points)
    assert np.array_equal(both.select(np.arange(count)).points, ball()[0].points)
