# SPDX-License-Identifier: Apache-2.0
"""The dynamic region: an axis-aligned box in the world, outside of which nothing moves.

The paper's boxes are made by hand and come in a `bbox.json` (reference/igs_reference.md 5).
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from igs_ros.errors import InputError

_EXPECTED = ("expected six numbers 'xmin ymin zmin xmax ymax zmax' (m, world), a bbox.json, or "
             "bbox.json:SCENE")


def read_box(text: str) -> np.ndarray | None:
    """The box [2, 3] float64 (least, greatest corner; m, world) that an option names.

    text: six numbers, the path of a JSON file with [[min], [max]] or {scene: [[min], [max]]}, or
    PATH:SCENE where it holds several; '' is no box: None. Raises `InputError`.
    """
    if not text.strip():
        return None
    try:
        numbers = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        return _checked(_from_file(text), text)
    return _checked([numbers[:3], numbers[3:]], text)


def in_box(points: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """[M] int64 ascending: the points [N, 3] in `box`, its faces included; all without a box."""
    if box is None:
        return np.arange(len(points))
    return np.flatnonzero(((points >= box[0]) & (points <= box[1])).all(1))


def _from_file(text: str):
    path, scene = Path(text), ''
    if not path.is_file() and ':' in text:
        name, _, scene = text.rpartition(':')
        path = Path(name)
    if not path.is_file():
        raise InputError(f"bbox '{text}': there is no file '{path}'; {_EXPECTED}.")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f'{path}: no readable JSON ({error}); expected {{"scene": [[xmin, ymin, '
                         f'zmin], [xmax, ymax, zmax]]}}.') from None
    if not isinstance(content, dict):
        return content
    if not scene and len(content) == 1:
        return next(iter(content.values()))
    if scene not in content:
        came = f"no scene '{scene}'" if scene else f'{len(content)} scenes'
        raise InputError(f'{path}: {came}; expected one of {", ".join(sorted(content))}, named as '
                         f'{path}:SCENE.')
    return content[scene]


def _checked(corners, text: str) -> np.ndarray:
    try:
        box = np.array(corners, dtype=np.float64)
    except (TypeError, ValueError):
        box = np.zeros(0)
    if box.shape != (2, 3) or not np.isfinite(box).all() or (box[0] > box[1]).any():
        raise InputError(f"bbox '{text}': found {corners}; {_EXPECTED}, no minimum above its "
                         f'maximum.')
    return box
