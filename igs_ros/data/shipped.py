# SPDX-License-Identifier: Apache-2.0
"""The recording that ships with the package."""
from __future__ import annotations

import os
import sys
from pathlib import Path

from igs_ros.errors import InputError

_NAME = Path('recordings') / 'workbench'


def workbench() -> Path:
    """The folder of the demo recording: of the checkout, else where the package was installed.

    Raises `InputError` when it is nowhere.
    """
    prefixes = [*filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)),
                sys.prefix]
    places = [Path(__file__).resolve().parents[2] / _NAME,
              *(Path(prefix) / 'share' / 'igs_ros' / _NAME for prefix in prefixes)]
    for place in places:
        if (place / 'rig.json').is_file():
            return place
    raise InputError(f'the demo recording is in none of {", ".join(map(str, places))}; expected '
                     f'it beside the package. Install igs_ros again, or name a recording.')
