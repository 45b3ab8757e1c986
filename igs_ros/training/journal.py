# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to look at: TensorBoard files, and the same numbers as lines of JSON."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from igs_ros.files import replaced, writing

CURVE = 'curve.jsonl'
EVENTS = 'tensorboard'


class Journal:
    """Writes below `folder`; what an older process of this run wrote after `step` is dropped.

    All raise `OutputError`.
    """

    def __init__(self, folder: Path, step: int):
        self._folder, path = folder, folder / CURVE
        kept = [line for line in read_curve(folder) if line['step'] <= step]
        with replaced(path) as draft:
            draft.write_text(''.join(json.dumps(line) + '\n' for line in kept))
        with writing(folder):
            self._curve = path.open('a', buffering=1)  # a killed run keeps its whole lines
            self._events = SummaryWriter(str(folder / EVENTS),
                                         purge_step=step + 1 if step else None)

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        """Numbers after `step` steps, as group/name."""
        with writing(self._folder):
            for name, value in values.items():
                self._events.add_scalar(f'{group}/{name}', value, step)
            self._curve.write(json.dumps({'step': step, 'group': group, **values}) + '\n')

    def picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """A picture [H, W, 3] uint8 after `step` steps."""
        with writing(self._folder):
            self._events.add_image(name, picture, step, dataformats='HWC')

    def flush(self) -> None:
        """Bring everything to the disk."""
        with writing(self._folder):
            self._curve.flush()
            self._events.flush()

    def close(self) -> None:
        """Nothing is written after this."""
        with writing(self._folder):
            self._curve.close()
            self._events.close()


def read_curve(folder: Path) -> list[dict]:
    """The lines of curve.jsonl; [] where there is none. A last line cut off by a kill is left out.
    """
    path = folder / CURVE
    lines = path.read_text().split('\n')[:-1] if path.is_file() else []
    return [json.loads(line) for line in lines]
