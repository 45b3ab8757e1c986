# SPDX-License-Identifier: Apache-2.0
"""What `igs train` can train, by name."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from igs_ros.apps.training.config import TrainConfig
from igs_ros.apps.training.sample import Sample
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer

NAMES = ('agm', 'agm_small')


class TrainableMotion(Protocol):
    """A motion network with what training needs of it."""

    @property
    def name(self) -> str:
        """One of `NAMES`."""
        ...

    @property
    def module(self) -> nn.Module:
        """Parameters with `requires_grad` are trained, the others stay."""
        ...

    @property
    def consecutive(self) -> bool:
        """Whether samples have to hold all frames from the key to the last target."""
        ...

    def predict(self, sample: Sample, targets: Sequence[int]) -> list[GaussianScene]:
        """The key of `sample`, moved to each of `targets` (indices into its target pictures).

        Differentiable in the parameters of `module`; on the device of the module. Rows and
        attributes are those of the key.
        """
        ...

    def loss(self, sample: Sample, targets: Sequence[int], moved: Sequence[GaussianScene],
             ) -> Mapping[str, Tensor]:
        """Scalars that are added to the photometric loss, weighted already; may be none.

        Args:
            sample: the example.
            targets: indices into its target pictures.
            moved: what `predict` returned for `targets`.

        Returns:
            The scalars by name; the same names for every sample.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the weights below `folder`, in the layout that inference loads, atomically."""
        ...

    def load(self, folder: Path) -> None:
        """Take over weights that `save` wrote, to start from.

        Raises:
            InputError: they are others, or cannot be read.
        """
        ...


def build(config: TrainConfig, rasterizer: Rasterizer) -> TrainableMotion:
    """The network `config.model` before training, on the device of `rasterizer`.

    New weights are drawn with `config.seed`; `config.precision` is not 'auto'.

    Raises:
        InputError: the name is unknown, or a file that it needs cannot be had.
    """
    # imported here: each brings its own heavy modules
    if config.model == 'agm':
        from igs_ros.apps.training.agm import TrainableAgm as Trainable
    elif config.model == 'agm_small':
        from igs_ros.apps.training.agm_small import TrainableAgmSmall as Trainable
    else:
        raise InputError(f"--model '{config.model}' is unknown; expected {', '.join(NAMES)}.")
    model = Trainable.build(config, rasterizer)
    if config.start:
        model.load(Path(config.start))
    return model
