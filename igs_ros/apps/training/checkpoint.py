# SPDX-License-Identifier: Apache-2.0
"""The state of a run on disk: complete or not there, and only taken up by the same run."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from igs_ros.apps.training.config import FREE_TO_CHANGE, TrainConfig
from igs_ros.core.config import settings
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import replaced
from igs_ros.core.untrusted import read_tensors, unusable_tensor

NAME = 'checkpoint.pt'


@dataclass(frozen=True, eq=False)
class State:
    """What a run needs to go on. Random numbers are not in it: they follow from `step`."""

    step: int  # steps done
    plan: Mapping[str, str | int | float | bool]  # see `plan`; the same for the whole run
    module: dict[str, Any]  # state dicts
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any] | None  # of fp16


def plan(config: TrainConfig, steps: int, samples_per_step: int) -> dict:
    """What must not change within a run, by name.

    Args:
        config: of the run; settings in `FREE_TO_CHANGE` are left out.
        steps: of the whole run.
        samples_per_step: of all processes together.
    """
    values = {name: value if isinstance(value, bool | int | float) else str(value)
              for name, value in settings(config) if name not in FREE_TO_CHANGE}
    return {**values, 'steps in all': steps, 'samples per step': samples_per_step}


def save(folder: Path, state: State) -> None:
    """Write `folder`/checkpoint.pt in place of the one before.

    Raises:
        OutputError: it cannot be written.
    """
    with replaced(folder / NAME) as path, path.open('wb') as file:
        try:
            torch.save(vars(state), file)
        except RuntimeError as error:  # its archive writer hides what the system says
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(folder: Path, wanted: Mapping, device: torch.device) -> State | None:
    """The state in `folder`, None where there is none.

    Args:
        folder: of the run.
        wanted: the plan of the run that is to go on (`plan`).
        device: where the tensors are to lie.

    Raises:
        InputError: it cannot be read, or belongs to a run with another plan.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    content = read_tensors(path, 'a checkpoint of igs train', device)
    names = [field.name for field in fields(State)]
    if not isinstance(content, dict) or set(content) != set(names) \
            or type(content['step']) is not int or content['step'] < 0 \
            or not all(isinstance(content[name], Mapping) for name in names[1:5]):
        raise InputError(f'{path}: no checkpoint of igs train; expected {", ".join(names)}. Take '
                         f'another --out, or remove it to start anew.')
    if broken := unusable_tensor(content):
        raise InputError(f"{path}: '{shown(broken)[1:-1]}' holds NaN or infinite values; expected "
                         f'finite ones. Take another --out, or remove it to start anew.')
    state = State(**content)
    changed = [f'{name} was {shown(state.plan.get(name))} and is {value!r}'
               for name, value in wanted.items() if state.plan.get(name) != value]
    if changed:
        raise InputError(f'{path}: this run was started with other settings: '
                         f'{"; ".join(changed)}. Repeat them to go on, or take another --out.')
    return state
