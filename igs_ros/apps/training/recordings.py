# SPDX-License-Identifier: Apache-2.0
"""Samples of prepared recordings: each key with the frames around it."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from igs_ros.apps.training.config import DataConfig, Views
from igs_ros.apps.training.order import seed_of, shuffled
from igs_ros.apps.training.prepared import Prepared, read_prepared
from igs_ros.apps.training.sample import Sample
from igs_ros.apps.training.views import grouped, picked_views
from igs_ros.core.errors import InputError
from igs_ros.stages.motion.region import read_box
from igs_ros.vision.flow import spread_views


class RecordingSource:
    """Pairs of a key and a frame at most `data.reach` away, in an order drawn per pass.

    Args:
        data: folders of prepared recordings, boxes, and the reach.
        views: how many views a sample has.
        seed: fixes order and views.
        consecutive: samples hold all frames on the way to the target.
        held_out: for validation; the loss views are the cameras that no key was made from (where
            there are none: those that are no input), the inputs are spread over the rig. Else
            both are drawn from the other cameras.

    Raises:
        InputError: a folder is not prepared, or all together hold no pair.
    """

    def __init__(self, data: DataConfig, views: Views, seed: int, consecutive: bool,
                 held_out: bool = False):
        self._views, self._seed, self._held_out = views, seed, held_out
        self._recordings = [_Frames(read_prepared(Path(folder))) for folder in data.recordings]
        self._boxes = [None if data.bbox is None else read_box(f'{data.bbox}:{r.prepared.scene}')
                       for r in self._recordings]
        self._pairs = [(number, *pair) for number, recording in enumerate(self._recordings)
                       for pair in recording.pairs(data.reach, consecutive)]
        if not self._pairs:
            raise InputError(f"{', '.join(map(str, data.recordings))}: no key with a frame at "
                             f'most {data.reach} away; expected some. Prepare more frames.')

    @property
    def len_hint(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def sample(self, number: int) -> Sample:
        """See `SampleSource`.

        Raises:
            InputError: a file is gone or broken.
        """
        which, key, targets = self._pairs[shuffled(number, len(self._pairs), self._seed)]
        recording = self._recordings[which]
        rng = np.random.default_rng(seed_of(number, self._seed))
        inputs, losses = self._pick(recording, (key, *targets), rng)
        prepared, views = recording.prepared, dict.fromkeys((*inputs, *losses))
        shown = views if self._held_out else inputs
        return Sample(
            f'{prepared.folder.name} frame {key} to {targets[-1]}', prepared.key(key),
            {name: prepared.cameras[name] for name in views},
            {name: prepared.picture(name, key) for name in shown},
            tuple({name: prepared.picture(name, target) for name in views} for target in targets),
            inputs, losses, self._boxes[which],
            exposures={name: value for name, value in prepared.exposures[key].items()
                       if name in views})

    def _pick(self, recording: _Frames, frames: tuple[int, ...], rng: np.random.Generator,
              ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        cameras = {name: recording.prepared.cameras[name]
                   for name in recording.train if recording.has(name, frames)}
        if not self._held_out:
            return picked_views(grouped(cameras, self._views.inputs), self._views, rng)
        inputs = spread_views(cameras, self._views.inputs)
        tests = [name for name in recording.prepared.held_out if recording.has(name, frames)]
        others = [name for name in cameras if name not in inputs]
        return inputs, tuple(tests or others or inputs)[:self._views.losses]


class _Frames:
    """Which pictures of a prepared recording there are."""

    def __init__(self, prepared: Prepared):
        self.prepared = prepared
        self.train = tuple(n for n in prepared.cameras if n not in prepared.held_out)
        self._frames = {name: prepared.frames(name) for name in prepared.cameras}

    def has(self, camera: str, frames: tuple[int, ...]) -> bool:
        return self._frames[camera].issuperset(frames)

    def pairs(self, reach: int, consecutive: bool) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Keys, each with the targets of one sample, that some camera saw completely."""
        for key in self.prepared.keys:
            for away in (*range(-reach, 0), *range(1, reach + 1)):
                step = 1 if away > 0 else -1
                between = range(key + step, key + away + step, step)
                targets = tuple(between) if consecutive else (key + away,)
                if any(self.has(name, (key, *targets)) for name in self.train):
                    yield key, targets
