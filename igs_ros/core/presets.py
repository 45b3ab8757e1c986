# SPDX-License-Identifier: Apache-2.0
"""Named groups of settings: the files in config/presets, which ROS launch lays over igs.yaml.

They are parameter files of the node, so that one file means the same offline and live.
"""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from igs_ros.core.config import Config, settings, with_settings
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_text, shipped
from igs_ros.core.untrusted import parsed_yaml

MAX_YAML = 100_000  # bytes, which take up to a CPU second to parse; igs.yaml has 8000
FOLDER = 'config/presets'


def preset(name: str) -> Config:
    """The settings of a preset, or of a parameter file of the node; '' is the defaults.

    Parameters that only the node has (topics, rates, ...) mean nothing here and are passed over.

    Raises:
        InputError: no such file, a file of something else, an unknown name in a group, or a value
            of another type.
    """
    if not name:
        return Config()
    path = Path(name)
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        path = shipped(FOLDER) / f'{name}.yaml'
    if not os.path.isfile(path):
        raise InputError(f'preset {shown(name)} is neither a file nor one of '
                         f'{", ".join(names())}.')
    known = dict(settings(Config()))
    groups = {key.split('.')[0] for key in known if '.' in key}
    values = {key: value for key, value in _parameters(path).items()
              if key in known or key.split('.')[0] in groups}
    return with_settings(Config(), values, str(path))


def names() -> list[str]:
    """The presets that ship."""
    return sorted(path.stem for path in shipped(FOLDER).glob('*.yaml'))


def assigned(texts: Sequence[str]) -> dict[str, object]:
    """Values by setting of texts 'NAME=VALUE', a value as in YAML.

    Raises:
        InputError: a text is not of that form.
    """
    values = {}
    for text in texts:
        name, sign, value = text.partition('=')
        try:
            values[name.strip()] = parsed_yaml(value) if value.strip() else ''
        except InputError:
            sign = ''
        if not sign:
            raise InputError(f'--set {shown(text)}: expected NAME=VALUE, such as '
                             f'refine.iterations=50.')
    return values


def _parameters(path: Path) -> dict[str, object]:
    """Parameters by dotted name, those of '/**' first, then those of any node named igs."""
    expected = 'expected a ROS parameter file: /**: {ros__parameters: {...}}'
    text = read_text(path, 'a ROS parameter file', MAX_YAML)
    try:
        content = parsed_yaml(text)
    except InputError as error:
        raise InputError(f'{path}: {error}; {expected}.') from error
    found: dict[str, object] = {}
    nodes = content if isinstance(content, Mapping) else {}
    groups = [nodes[node].get('ros__parameters') for node in ('/**', 'igs', '/igs')
              if isinstance(nodes.get(node), Mapping)]
    if not any(isinstance(group, Mapping) for group in groups):
        raise InputError(f'{path}: no parameters of the node igs in it; {expected}.')
    for group in groups:
        found.update(_dotted(group if isinstance(group, Mapping) else {}))
    return found


def _dotted(values: Mapping, prefix: str = '') -> dict[str, object]:
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_dotted(value, f'{prefix}{name}.'))
        else:
            flat[f'{prefix}{name}'] = value
    return flat
