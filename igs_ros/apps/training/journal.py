# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to look at: TensorBoard files, and the same numbers as lines of JSON."""
from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from igs_ros.core.errors import InputError, error_line, shown
from igs_ros.core.files import read_text, replaced, writing

log = logging.getLogger(__name__)
CURVE = 'curve.jsonl'
MAX_CURVE = 100_000_000  # bytes; a step takes about 200
_WHAT = 'lines of numbers as `igs train` writes them, such as {"step": 1, "loss": 0.5}'
EVENTS = 'tensorboard'


class Journal:
    """Writes below `folder`; what an older process of this run wrote after `step` is dropped.

    Raises:
        OutputError: a file cannot be written; every method raises it, too.
        InputError: what the older process wrote cannot be read.
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
        """Numbers of one group, in TensorBoard as group/name.

        Args:
            group: such as 'train'.
            step: how many steps are done.
            values: by name.
        """
        with writing(self._folder):
            for name, value in values.items():
                self._events.add_scalar(f'{group}/{name}', value, step)
            self._curve.write(json.dumps({'step': step, 'group': group, **values}) + '\n')

    def picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """A picture, in TensorBoard only.

        Args:
            name: what TensorBoard calls it.
            step: how many steps are done.
            picture: [H, W, 3] uint8, sRGB.
        """
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
    """The lines of curve.jsonl; [] where there is none.

    A last line cut off by a kill is left out, which is logged.

    Raises:
        InputError: any other line is none of a journal.
    """
    path = folder / CURVE
    if not path.is_file():
        return []
    *lines, torn = read_text(path, _WHAT, MAX_CURVE).split('\n')
    if torn:
        log.warning('%s: the last line is cut off (%d characters); going on without it', path,
                    len(torn))
    return [_line(line, f'{path}: line {number}') for number, line in enumerate(lines, 1)]


def _line(text: str, who: str) -> dict:
    line, reason = None, f'is {shown(text)}'
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f'is no JSON ({error_line(error)})'
    if not isinstance(line, dict) or type(line.get('step')) is not int:
        raise InputError(f'{who} {reason}; expected {_WHAT}. Remove that line, or take another '
                         f'--out.')
    return line
