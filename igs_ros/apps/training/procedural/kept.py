# SPDX-License-Identifier: Apache-2.0
"""Samples as files: making one takes seconds, reading it milliseconds."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from igs_ros.apps.training.sample import Pictures, Sample
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, error_line
from igs_ros.core.files import replaced
from igs_ros.core.scene import ATTRIBUTES, GaussianScene
from igs_ros.core.untrusted import read_arrays

MAX_BYTES = 2_000_000_000  # of one sample, unpacked


def write_sample(path: Path, sample: Sample) -> None:
    """Write `sample`, whose pictures all have one size, to `path` (.npz)."""
    names = list(sample.cameras)
    targets = list(sample.target_images[0])
    cameras = sample.cameras.values()
    values = {
        'name': sample.name, 'cameras': names,
        'size': [next(iter(cameras)).width, next(iter(cameras)).height],
        'K': [camera.K for camera in cameras],
        'poses': [camera.camera_from_world for camera in cameras],
        'inputs': list(sample.input_views), 'losses': list(sample.loss_views),
        'key_views': list(sample.key_images), 'key_pictures': list(sample.key_images.values()),
        'target_views': targets,
        'target_pictures': [[pictures[name] for name in targets]
                            for pictures in sample.target_images],
        'exposed': list(sample.exposures), 'exposures': list(sample.exposures.values()),
        'displacements': sample.displacements}
    values |= {name: getattr(sample.key_scene, name).numpy() for name in ATTRIBUTES}
    with replaced(path, synced=False) as draft:
        # pyright takes the arrays for `allow_pickle`, too
        np.savez(draft, **{name: np.asarray(value)  # pyright: ignore[reportArgumentType]
                           for name, value in values.items()})


def read_sample(path: Path) -> Sample:
    """What `write_sample` wrote, bit for bit.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        values = read_arrays(path, MAX_BYTES, 'a sample of procedural training')
        width, height = (int(value) for value in values['size'])
        cameras = {str(name): Camera(str(name), width, height, K, pose) for name, K, pose in zip(
            values['cameras'], values['K'], values['poses'], strict=True)}
        scene = GaussianScene(*(torch.tensor(values[name]) for name in ATTRIBUTES))
        return Sample(
            str(values['name']), scene, cameras,
            _pictures(values['key_views'], values['key_pictures']),
            tuple(_pictures(values['target_views'], pictures)
                  for pictures in values['target_pictures']),
            tuple(values['inputs'].tolist()), tuple(values['losses'].tolist()),
            displacements=values['displacements'],
            exposures=dict(zip(values['exposed'].tolist(), values['exposures'], strict=True)))
    except (KeyError, ValueError, TypeError, OverflowError, AssertionError) as error:
        raise InputError(f'{path}: no sample that can be read ({error_line(error)}); expected '
                         f'what procedural training keeps. Remove the file: it is made anew.'
                         ) from error


def _pictures(names: np.ndarray, pictures: np.ndarray) -> Pictures:
    return dict(zip(names.tolist(), pictures, strict=True))
