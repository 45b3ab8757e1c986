# SPDX-License-Identifier: Apache-2.0
"""Training of motion networks: what `igs prepare` and `igs train` do (docs/training.md).

    config.py    every setting
    sample.py    what a step learns from; sources.py, procedural/, recordings.py, igs_data.py
    models.py    what can be trained; agm.py, agm_small.py
    trainer.py   the loop; step.py, order.py, validation.py, checkpoint.py, journal.py

Losses, optimiser and schedule are the published ones (reference/igs_reference.md 6).
"""
import importlib.util

from igs_ros.errors import InputError

_EXTRA = ('accelerate', 'tensorboard')


def require_extra() -> None:
    """Raise `InputError` where a package is missing that only training needs."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"igs train needs {' and '.join(missing)}, which the package does not "
                         f"bring by itself. Install it: pip install {' '.join(missing)} (or the "
                         f"package with '.[train]').")
