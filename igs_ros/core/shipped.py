# SPDX-License-Identifier: Apache-2.0
"""Files that ship with the package: the demo recording, configurations."""
from __future__ import annotations

import os
import sys
from pathlib import Path

from igs_ros.core.errors import InputError


def shipped(name: str) -> Path:
    """The shipped file or folder `name`: of the checkout, else where the package was installed.

    Raises `InputError` when it is nowhere.
    """
    prefixes = [*filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)),
                sys.prefix]
    places = [Path(__file__).resolve().parents[2],
              *(Path(prefix) / 'share' / 'igs_ros' for prefix in prefixes)]
    for place in places:
        if (place / name).exists():
            return place / name
    raise InputError(f'{name} is in none of {", ".join(map(str, places))}; expected it beside the '
                     f'package. Install igs_ros again.')


def workbench() -> Path:
    """The folder of the demo recording."""
    return shipped('recordings/workbench')
