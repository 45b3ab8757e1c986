# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: procedural scenes, prepared recordings, the authors' layout."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from igs_ros.apps.training.config import TrainConfig, Views
from igs_ros.apps.training.sample import Source
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.vision.flow import spread_views


def build(config: TrainConfig, rasterizer: Rasterizer, consecutive: bool) -> tuple[Source, Source]:
    """What to learn from, and what to validate on, which is never learned from.

    consecutive: whether samples hold all frames from the key to the target. Raises `InputError`
    for folders that cannot be used.
    """
    data = config.data
    if data.recordings and data.igs_data:
        raise InputError('training: both --recordings and --igs-data are given; expected one of '
                         'them.')
    if data.recordings:
        from igs_ros.apps.training.recordings import RecordingSource
        make = RecordingSource
    elif data.igs_data:
        from igs_ros.apps.training.igs_data import IgsDataSource
        make = IgsDataSource
    else:
        from igs_ros.apps.training.procedural.source import ProceduralSource
        seeds = np.random.SeedSequence(config.seed).generate_state(2)
        return tuple(ProceduralSource(int(seed), rasterizer, config.views, count=count,
                                      folder=data.keep)
                     for seed, count in zip(seeds, (data.scenes, 0), strict=True))
    return tuple(make(data, config.views, config.seed, consecutive, held_out=held_out)
                 for held_out in (False, True))


def grouped(cameras: Mapping[str, Camera], count: int) -> list[tuple[str, ...]]:
    """The rig in `count` groups of neighbours (fewer where there are fewer cameras).

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
    """Input and loss views of one sample, as published: one random camera of each group for the
    network; these and further random ones are compared.
    """
    chosen = [groups[i] for i in sorted(rng.permutation(len(groups))[:views.inputs])]
    inputs = tuple(str(rng.choice(list(group))) for group in chosen)
    others = [name for group in groups for name in group if name not in inputs]
    further = [others[i] for i in rng.permutation(len(others))]
    return inputs, (*inputs, *further)[:views.losses]
