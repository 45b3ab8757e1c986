# SPDX-License-Identifier: Apache-2.0
"""A scene against pictures: what counts as wrong, and what as changed."""
import numpy as np
import pytest
import torch
from views_of import HEIGHT, WIDTH, camera, gaussians

from igs_ros.core.scene import SH_C0, empty_scene
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.residuals import compare_views


def gray(level: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def compared(scene, image, reference=None):
    views = {'a': camera('a'), 'without a picture': camera('without a picture')}
    found = compare_views(scene, {'a': image}, views, CpuRasterizer(1),
                          ReferenceImages({} if reference is None else {'a': reference}))
    assert list(found) == ['a']
    return found['a']


@pytest.mark.parametrize('level, expected', [(0, False), (30, False), (31, True), (255, True)])
def test_a_pixel_is_wrong_from_thirty_one_levels_on(level, expected):
    """0.12 of 255 are 30.6; nothing is drawn, which is black."""
    wrong = compared(empty_scene(), gray(level)).wrong
    assert wrong.all() == wrong.any() == expected


def wall(level: float):
    """Fills the picture, opaque to 0.999, in one color."""
    scene = gaussians([0.0, 0.0, 1.0], scale=50.0, opacity=0.999)
    return scene.replaced(sh=torch.full((1, 1, 3), (level - 0.5) / SH_C0))


@pytest.mark.parametrize('level, drawn, expected', [
    (255, 1.9, False),  # brighter than any picture can show is white
    (255, 0.8795 / 0.999, True), (255, 0.8805 / 0.999, False), (128, 1.9, True)])
def test_a_rendering_is_compared_as_a_picture_would_show_it(level, drawn, expected):
    wrong = compared(wall(drawn), gray(level)).wrong
    assert wrong.all() == wrong.any() == expected


@pytest.mark.parametrize('step, expected', [(0, False), (7, False), (9, True)])
def test_change_is_judged_by_what_was_fitted(step, expected):
    one = compared(empty_scene(), gray(100 + step), gray(100))
    assert one.changed.all() == one.changed.any() == expected
    np.testing.assert_allclose(one.change, step / 255, atol=1e-5)


def test_what_changed_is_dilated_and_how_much_is_not():
    image = gray(100)
    image[20, 30] = 255
    one = compared(empty_scene(), image, gray(100))
    small = one.change > 8 / 255
    assert small.any() and one.changed.sum() > small.sum() and (one.changed >= small).all()
    assert one.change[5, 5] == 0 and not one.changed[5, 5]


def test_without_a_reference_nothing_is_known_to_have_changed():
    one = compared(empty_scene(), gray(200))
    assert one.changed is None and one.change.shape == (HEIGHT, WIDTH) and not one.change.any()


class ByGradient:
    """A rasterizer whose weights are gathered by gradients."""

    device = torch.device('cpu')

    def __init__(self):
        self.render = CpuRasterizer(1).render


def test_every_rasterizer_gathers_the_same_weights():
    scene = gaussians([0.0, 0.0, 1.0], [0.3, 0.2, 2.0], scale=0.1)
    one, other = (compare_views(scene, {'a': gray(0)}, {'a': camera('a')}, rasterizer,
                                ReferenceImages())['a']
                  for rasterizer in (CpuRasterizer(1), ByGradient()))
    assert one.weight.min() > 1 and (one.wrong == other.wrong).all()
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-4)


def test_the_weight_of_a_gaussian_is_what_it_covers_of_the_picture():
    """Opaque to 0.999 in all pixels, and what lies behind it has a thousandth of each."""
    scene = gaussians([0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, -1.0], scale=50.0,
                      opacity=0.999)
    weight = compared(scene, gray(0)).weight
    assert weight.shape == (3,) and weight.dtype == np.float32
    np.testing.assert_allclose(weight[0], 0.999 * HEIGHT * WIDTH, rtol=2e-3)
    assert 0 <= weight[1] < 0.01 * HEIGHT * WIDTH and weight[2] == 0
