# SPDX-License-Identifier: Apache-2.0
"""Which cameras a sample is made of."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from igs_ros.apps.training.config import Views
from igs_ros.core.camera import Camera
from igs_ros.vision.flow import spread_views


def grouped(cameras: Mapping[str, Camera], count: int) -> list[tuple[str, ...]]:
    """The rig in `count` groups of neighbors (fewer where there are fewer cameras).

    Each camera joins the nearest, by position, of `count` cameras that are spread over the rig.
    One random camera of each group sees the scene from all sides.
    """
    middles = spread_views(cameras, min(count, len(cameras)))
    groups: dict[str, list[str]] = {name: [] for name in middles}
    for name, camera in cameras.items():
        nearest = min(middles, key=lambda middle: (
            name != middle, float(np.linalg.norm(cameras[middle].center - camera.center))))
        groups[nearest].append(name)
    return [tuple(group) for group in groups.values()]


def picked_views(groups: Sequence[Sequence[str]], views: Views, rng: np.random.Generator,
                 ) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Input and loss views of one sample, as published.

    One random camera of each group is for the network; these and further random ones are
    compared.

    Args:
        groups: names of cameras; none is empty.
        views: how many are picked, at most.
        rng: decides.
    """
    chosen = [groups[i] for i in sorted(rng.permutation(len(groups))[:views.inputs])]
    inputs = tuple(str(rng.choice(list(group))) for group in chosen)
    others = [name for group in groups for name in group if name not in inputs]
    further = [others[i] for i in rng.permutation(len(others))]
    return inputs, (*inputs, *further)[:views.losses]
