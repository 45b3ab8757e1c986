# SPDX-License-Identifier: Apache-2.0
"""The authors' experiment_config.yaml: was the network trained as we compute it?

Only what shapes of weights do not tell is compared (reference/igs_reference.md 7).
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_text
from igs_ros.core.untrusted import parsed_yaml

MAX_YAML = 100_000  # bytes; the published one has 5000
_EXPECTED = {
    'local_ray': False, 'up_sample': True, 'use_gs_emb': False, 'num_scales': 1, 'nhead': 1,
    'combine_type': 'mask', 'grid_type': 'irgrid', 'proj_type': 'perspective_projection',
    'res_cat': False, 'neighbor_size': 8, 'interpolate_first': True, 'lbs': False,
}


def experiment_problems(path: Path) -> tuple[str, ...]:
    """What the file says that this network does not do; none = it fits.

    Values are looked for by name, anywhere below `system`; one that is not there says nothing.
    """
    try:
        content = parsed_yaml(read_text(path, 'the configuration of a training', MAX_YAML))
    except InputError as error:
        return (f'{path}: no readable YAML ({error}). Copy it again or remove it.',)
    system = content.get('system') if isinstance(content, dict) else None
    if not isinstance(system, dict):
        return (f"{path}: no section 'system'; expected the authors' training configuration. "
                f'Copy it again or remove it.',)
    wrong = [f'{name} is {shown(value)}, expected {_EXPECTED[name]!r}'
             for name, value in _leaves(system)
             if name in _EXPECTED and value != _EXPECTED[name] and not _is_reference(value)]
    return (f'{path}: {"; ".join(wrong)}. These weights belong to another network.',) \
        if wrong else ()


def _leaves(tree: dict | list) -> Iterator[tuple[str, object]]:
    """Names and values of everything below `tree` that is no section itself; '' in lists."""
    items = tree.items() if isinstance(tree, dict) else (('', value) for value in tree)
    for name, value in items:
        if isinstance(value, (dict, list)):
            yield from _leaves(value)
        else:
            yield name, value


def _is_reference(value: object) -> bool:
    """Whether it is one of OmegaConf's `${...}`, which only its training run can resolve."""
    return isinstance(value, str) and value.startswith('${')
