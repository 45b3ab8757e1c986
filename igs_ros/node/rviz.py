# SPDX-License-Identifier: Apache-2.0
"""The configuration of RViz for a node in a namespace, made from config/rviz/igs.rviz."""
from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_NODE = '/igs'  # which the template is about


def rviz_text(template: str, namespace: str = '', world_frame: str = '') -> str:
    """A configuration of RViz.

    Args:
        template: text of config/rviz/igs.rviz.
        namespace: that the node `igs` runs in, with or without slashes; '' = none.
        world_frame: the fixed frame; '' = that of the template.

    Returns:
        The text of the file.
    """
    content = yaml.safe_load(template)
    parts = [part for part in namespace.split('/') if part]
    node = ''.join(f'/{part}' for part in [*parts, _NODE[1:]])
    for topic in _topics(content):
        topic['Value'] = node + topic['Value'].removeprefix(_NODE)
    if world_frame:
        content['Visualization Manager']['Global Options']['Fixed Frame'] = world_frame
    return yaml.safe_dump(content, sort_keys=False)


def _topics(content: Any) -> Iterator[dict[str, Any]]:
    """The topics of the node, wherever they stand."""
    entries = content.items() if isinstance(content, dict) else \
        ((None, entry) for entry in content) if isinstance(content, list) else ()
    for key, entry in entries:
        if key == 'Topic' and entry['Value'].startswith(f'{_NODE}/'):
            yield entry
        else:
            yield from _topics(entry)


def rviz_file(template: Path, namespace: str = '', world_frame: str = '') -> str:
    """`rviz_text` in a temporary file, gone when this process ends; its path.

    Args:
        template: path of config/rviz/igs.rviz.
        namespace: that the node `igs` runs in, with or without slashes; '' = none.
        world_frame: the fixed frame; '' = that of the template.
    """
    text = rviz_text(template.read_text(), namespace, world_frame)
    handle, path = tempfile.mkstemp(prefix='igs-', suffix='.rviz', text=True)
    atexit.register(Path(path).unlink, missing_ok=True)
    with os.fdopen(handle, 'w') as file:
        file.write(text)
    return path
