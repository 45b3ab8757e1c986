# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: procedural scenes, prepared recordings, the authors' layout."""
from __future__ import annotations

import numpy as np

from igs_ros.apps.training.config import TrainConfig
from igs_ros.apps.training.sample import SampleSource
from igs_ros.core.errors import InputError
from igs_ros.render.rasterizer import Rasterizer


def build(config: TrainConfig, rasterizer: Rasterizer, consecutive: bool
          ) -> tuple[SampleSource, SampleSource]:
    """What to learn from, and what to validate on, which is never learned from.

    Args:
        config: checked.
        rasterizer: draws procedural samples.
        consecutive: whether samples hold all frames from the key to the target.

    Raises:
        InputError: a folder cannot be used, or both kinds of folders are given.
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
        seed, other = np.random.SeedSequence(config.seed).generate_state(2).tolist()
        return (ProceduralSource(seed, rasterizer, config.views, count=data.scenes,
                                 folder=data.keep),
                ProceduralSource(other, rasterizer, config.views, folder=data.keep))
    return (make(data, config.views, config.seed, consecutive),
            make(data, config.views, config.seed, consecutive, held_out=True))
