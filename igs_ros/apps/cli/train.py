# SPDX-License-Identifier: Apache-2.0
"""`igs train`: learn the weights of a motion network."""
from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.apps.training.config import TrainConfig, checked_training
from igs_ros.core.signals import ShutdownFlag


@dataclass(frozen=True)
class Train:
    """Learn the weights of a motion network; the same command goes on with a killed run.

    Ctrl-C and SIGTERM finish the step in hand and save it; a second one ends at once.

    Learns from procedural scenes, from --recordings that `igs prepare` made ready, or from
    --igs-data in the authors' layout. docs/training.md goes through it.
    """

    out: Path
    """Folder for weights, checkpoint and curves; made if it is not there."""
    config: Annotated[TrainConfig, tyro.conf.arg(name='')] = field(default_factory=TrainConfig)
    """Settings of the run."""

    def main(self) -> int:
        """Train; 1 when a loss is not finite, 130 when stopped by Ctrl-C or SIGTERM."""
        from igs_ros.apps.training.config import require_extra  # heavy: not for --help
        require_extra()
        from igs_ros.apps.training.trainer import Diverged, Stopped, Trainer
        trainer = Trainer(checked_training(self.config), self.out)
        try:
            trained = trainer.run(ShutdownFlag)
        except Diverged as error:
            print(f'igs: {error}', file=sys.stderr)
            return 1
        except Stopped as stopped:
            if trainer.accelerator.is_main_process:
                print(f'igs: {stopped}', file=sys.stderr)
            return 130
        if trainer.accelerator.is_main_process:
            scores = ', '.join(f'{name} {value:.4g}' for name, value in trained.scores.items())
            print(f'{trained.steps} steps, weights in {trained.weights}'
                  f'{"; " + scores if scores else ""}')
        return 0
