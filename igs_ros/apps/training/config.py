# SPDX-License-Identifier: Apache-2.0
"""Every setting of training, with its default, unit and reason.

Defaults are the published ones where there are such (reference/igs_reference.md 6);
docs/training.md says which are not, and why.
"""
from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from igs_ros.core.config import MAX_INT, Bound, checked
from igs_ros.core.errors import InputError

_EXTRA = ('accelerate', 'tensorboard')


@dataclass(frozen=True)
class Views:
    """How many views a sample has."""

    inputs: Annotated[int, Bound(1)] = 4
    """Given to the network."""
    losses: Annotated[int, Bound(1)] = 8
    """Compared: the inputs, then further ones, as many as there are."""


@dataclass(frozen=True)
class DataConfig:
    """What to learn from; procedural scenes where neither folder is given."""

    recordings: tuple[Path, ...] = ()
    """Folders that `igs prepare` has written."""
    igs_data: Path | None = None
    """Folder IGS_data in the layout of the authors, with bbox.json and the pairs."""
    pairs: str = 'N3D_train_gap_10.json'
    """Name of the pairs below `igs_data`."""
    bbox: Path | None = None
    """A bbox.json with what may move in each scene, by name; agm finds it in the pictures where
    it is not given."""
    reach: Annotated[int, Bound(1)] = 5
    """Frames from a key to its farthest target, either way (recordings)."""
    scenes: Annotated[int, Bound(0)] = 0
    """Different procedural samples, which come again in every pass; 0 = endless."""
    keep: Path | None = None
    """Folder that keeps procedural samples between passes and runs: making one takes seconds."""


@dataclass(frozen=True)
class LossConfig:
    """What a moved key is compared by; nothing is drawn where both weights are 0."""

    l1: Annotated[float, Bound(0)] = 1.0
    """Weight of the mean absolute difference; published: 1, where the paper has 0.8."""
    dssim: Annotated[float, Bound(0)] = 0.2
    """Weight of 1 - SSIM."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with one cycle of the learning rate."""

    lr: Annotated[float, Bound(0)] = 4e-4
    """Highest learning rate."""
    weight_decay: Annotated[float, Bound(0)] = 0.05
    """Decoupled weight decay."""
    beta1: Annotated[float, Bound(0, 0.9999)] = 0.9
    """Decay of the mean gradient; without effect while `cycle_momentum` sets it."""
    beta2: Annotated[float, Bound(0, 0.9999999)] = 0.95
    """Decay of the mean squared gradient."""
    warmup_steps: Annotated[int, Bound(0)] = 3000
    """Steps from lr / 25 up to lr; never more than 30 % of all steps."""
    cycle_momentum: bool = True
    """Let beta1 go from 0.95 to 0.85 and back against the learning rate: a default of torch's
    OneCycleLR, which the published training leaves on."""
    clip_norm: Annotated[float, Bound(1e-09)] = 1.0
    """Longest gradient, over all parameters; longer ones are scaled down."""


@dataclass(frozen=True)
class AgmTrainConfig:
    """The published network; weights of our own need not repeat its double division."""

    picture: Annotated[int, Bound(16, 4096)] = 512
    """Side of the square input pictures in px, a multiple of 16."""
    anchors: Annotated[int, Bound(1)] = 8192
    """Anchors at most."""
    double_division: bool = False
    """Divide pictures by 255 twice, as the authors do; needed to start from their weights."""


@dataclass(frozen=True)
class AgmSmallTrainConfig:
    """The small network of our own; its losses replace the photometric one."""

    rounds: Annotated[int, Bound(1, 64)] = 2
    """Rounds of correction per frame, each of which learns for itself."""
    displacement: Annotated[float, Bound(0)] = 0.02
    """Weight of how much farther, in px, moving Gaussians are from the truth than by geometry
    alone, where it is known; keeps motion from being bent to suit pictures."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run."""

    model: Literal['agm', 'agm_small'] = 'agm'
    """The network."""
    data: Annotated[DataConfig, tyro.conf.arg(name='')] = field(default_factory=DataConfig)
    """What to learn from."""
    weights: str = ''
    """Folder with what a network needs and does not learn: GMFlow's weights for agm."""
    start: str = ''
    """Folder with trained weights to start from, instead of anew; holds those of `weights`, too.
    """
    epochs: Annotated[int, Bound(1)] = 30
    """Passes over all samples."""
    steps: Annotated[int, Bound(0)] = 0
    """Optimizer steps; 0 = as many as `epochs` take, 22500 where samples have no end (published:
    30 passes over 12000 pairs, 16 per step)."""
    batch: Annotated[int, Bound(1)] = 4
    """Samples per step and process."""
    targets: Annotated[int, Bound(1)] = 1
    """Frames per sample and step that the key is moved to."""
    views: Views = field(default_factory=Views)
    """Views per sample."""
    loss: LossConfig = field(default_factory=LossConfig)
    """What a moved key is compared by."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How weights are changed."""
    agm: AgmTrainConfig = field(default_factory=AgmTrainConfig)
    """Settings of the network agm."""
    agm_small: AgmSmallTrainConfig = field(default_factory=AgmSmallTrainConfig)
    """Settings of the network agm_small."""
    precision: Literal['auto', 'float32', 'fp16', 'bf16'] = 'auto'
    """Of the network; auto is fp16 on a GPU, as published, else float32."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Where to compute."""
    threads: Annotated[int, Bound(1, 1024)] = 1
    """Threads of torch and of the CPU rasterizer, per process; results do not depend on the
    latter."""
    workers: Annotated[int, Bound(0, 64)] = 1
    """Threads that get samples ready ahead; 0 = each when it is needed."""
    seed: Annotated[int, Bound(0, MAX_INT)] = 0
    """Seed of everything random."""
    validate_every: Annotated[int, Bound(0)] = 500
    """Steps between validations; 0 = only before the first and after the last step."""
    validation_samples: Annotated[int, Bound(0)] = 8
    """Samples of a validation, always the same."""
    checkpoint_every: Annotated[int, Bound(1)] = 500
    """Steps between checkpoints; a killed run goes on from the last one."""


FREE_TO_CHANGE = frozenset({'batch', 'device', 'threads', 'workers', 'validate_every',
                            'validation_samples', 'checkpoint_every'})
"""Settings that may differ when a run goes on: they do not change what is learned.
`batch` may follow the number of processes; their product may not change."""


def checked_training(config: TrainConfig) -> TrainConfig:
    """`config` if its values can work, else `InputError` naming the first that cannot."""
    return checked(config, 'training setting')


def require_extra() -> None:
    """Make sure that the packages are there that only training needs.

    Raises:
        InputError: one is missing.
    """
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"igs train needs {' and '.join(missing)}, which the package does not "
                         f"bring by itself. Install it: pip install {' '.join(missing)} (or the "
                         f"package with '.[train]').")
