# SPDX-License-Identifier: Apache-2.0
"""Refinement on the CUDA device of fake_cuda.py: as on the CPU, and what it costs."""
from dataclasses import replace

import pytest

from igs_ros.core.config import RefineConfig
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.optimize import _CHECK_EVERY
from igs_ros.stages.refine.optimization import TUNED
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.refiner import Refiner

CONFIG = RefineConfig(iterations=12)
FIXED = replace(TUNED, rates=replace(TUNED.rates, means=4e-4))


def refiner(world, rasterizer, limit=5000, threshold=1e9, every=1000, **config):
    """threshold, every: of splits, which are for pictures of the usual size."""
    fixed = replace(FIXED, densify_threshold=threshold, densify_every=every)
    return Refiner(rasterizer, world.cameras, replace(CONFIG, **config), limit, 0, 1, fixed)


def refined(world, device, limit=5000, **config):
    """A board appears before the wall."""
    before, wanted = world.pictures(world.wall), world.pictures(world.both)
    rasterizer = make_rasterizer(device, 1)
    return refiner(world, rasterizer, limit, **config).refine(
        world.wall.to(rasterizer.device), wanted, 1,
        reference=ReferenceImages.of(before)), before, wanted


def same_key(world, options):
    keys = [refined(world, device, **options) for device in ('cpu', 'cuda')]
    (slow, before, wanted), (fast, *_) = keys
    assert fast.scene.device.type == 'cuda'
    assert abs(fast.born - slow.born) <= 3 and abs(fast.free - slow.free) <= 0.02 * slow.free
    assert abs(len(fast.scene) - len(slow.scene)) <= 3
    errors = [world.error(one.scene.to('cpu'), wanted, before) for one in (slow, fast)]
    assert errors[1] == pytest.approx(errors[0], rel=0.05)
    assert fast.loss == pytest.approx(slow.loss, rel=0.05)
    return slow, fast


@pytest.mark.parametrize('options', [
    {}, {'births': False}, {'selective': False}, {'limit': 1350},
    {'threshold': 1e-7, 'every': 4}],
    ids=['usual', 'no births', 'everything', 'limit', 'splits'])
def test_a_key_is_that_of_the_cpu(cuda, world, options):
    slow, fast = same_key(world, options)
    if 'limit' in options:
        assert len(fast.scene) <= options['limit']
    if 'every' in options:
        assert fast.split > 0


def test_polish(cuda, world):
    rasterizer = make_rasterizer('cuda')
    wanted = world.pictures(world.both, light=10)
    done = refiner(world, rasterizer).polish(world.both.to('cuda'), wanted, 1, 4)
    assert len(done.scene) == len(world.both) and done.scene.device.type == 'cuda'


def test_costs_of_a_key_at_most_as_today(cuda, world):
    """What is per view, per iteration and per key; gsplat's own waits apart."""
    before, wanted = world.pictures(world.wall), world.pictures(world.both)
    rasterizer, wall = make_rasterizer('cuda'), world.wall.to('cuda')
    def cost(iterations):
        made = refiner(world, rasterizer, iterations=iterations)
        with cuda.counted() as costs:
            made.refine(wall, wanted, 1, reference=ReferenceImages.of(before))
        return costs
    cost(1)  # uploads the cameras
    few, many = cost(4), cost(4 + _CHECK_EVERY)
    assert many.own_waits() <= few.own_waits() + 1, many
    assert many.uploads == few.uploads, many
    views = len(world.cameras)
    assert few.own_waits() <= 7 * views + 14, few
    assert few.uploads.total() <= 3 * views + 8, few
    assert few.downloads.total() <= 4 * views + 6, few
