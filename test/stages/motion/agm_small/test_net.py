# SPDX-License-Identifier: Apache-2.0
"""The correction network by itself."""
import torch

from igs_ros.stages.motion.agm_small.net import FEATURES, STEPS, VIEW_FEATURES, Neighborhood

VIEWS, COUNT, ANCHORS = 3, 40, 6


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator)
    anchor = torch.randint(ANCHORS, (COUNT,), generator=generator)
    neighbors = (torch.arange(ANCHORS)[:, None] + torch.arange(1, 3)) % ANCHORS
    return (random(VIEWS, COUNT, VIEW_FEATURES), random(COUNT, FEATURES), random(VIEWS, COUNT, 3),
            random(VIEWS, COUNT).abs() + 0.1, Neighborhood(anchor, neighbors))


def test_untrained_takes_no_step_and_has_weighted_mean_colors(untrained):
    views, features, errors, weights, neighborhood = inputs()
    colors, steps = untrained(views, features, errors, weights, neighborhood)
    assert colors.shape == (COUNT, 3) and steps.shape == (COUNT, STEPS)
    assert not steps.any()
    torch.testing.assert_close(colors, errors.sum(0) / (weights.sum(0)[:, None] + 0.5))


def test_the_order_of_views_does_not_matter(arbitrary):
    views, features, errors, weights, neighborhood = inputs()
    turned = [2, 0, 1]
    for one, other in zip(arbitrary(views, features, errors, weights, neighborhood),
                          arbitrary(views[turned], features, errors[turned], weights[turned],
                                    neighborhood), strict=True):
        assert one.abs().max() > 0.01
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_change_is_felt_around_its_anchor_and_the_next_one_only(arbitrary):
    views, features, errors, weights, neighborhood = inputs()
    _, before = arbitrary(views, features, errors, weights, neighborhood)
    features[0] += 3
    _, after = arbitrary(views, features, errors, weights, neighborhood)
    felt = (before != after).any(1)
    at = int(neighborhood.anchor[0])
    # anchor a residuals at a + 1 and a + 2, so `at` is seen from itself and two before
    near = torch.isin(neighborhood.anchor, torch.tensor([at, at - 1, at - 2]) % ANCHORS)
    assert felt[near].all() and not felt[~near].any()


def test_means_around_anchors_are_weighted():
    neighborhood = Neighborhood(torch.tensor([0, 0, 2]), torch.zeros(3, 1, dtype=torch.int64))
    means = neighborhood.mean(torch.tensor([[1.0], [4.0], [7.0]]), torch.tensor([2e3, 1e3, 5e3]))
    torch.testing.assert_close(means, torch.tensor([[2.0], [0.0], [7.0]]), rtol=1e-5, atol=1e-5)
