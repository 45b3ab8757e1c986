# SPDX-License-Identifier: Apache-2.0
"""YAML, arrays and tensors of strangers.

No code is run from them, and what they say about their size is held against the file before
anything is made from it.
"""
from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from igs_ros.core.errors import InputError, error_line

if TYPE_CHECKING:
    import torch


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, of which a few bytes make gigabytes; ROS takes none, either."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('an alias (*), which is not supported')
        return super().compose_node(parent, index)


def parsed_yaml(text: str) -> Any:  # whatever it holds
    """The content of YAML.

    Raises:
        InputError: what is wrong with it, and nothing of where it came from.
    """
    try:
        return yaml.load(text, _PlainLoader)  # safe: it makes plain values only
    except Exception as error:  # the constructors of its values raise whatever they come upon
        raise InputError(f'no YAML that can be read ({error_line(error)})') from error


def read_arrays(path: Path, max_bytes: int, expected: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; no pickles.

    Args:
        path: of the file.
        max_bytes: that its arrays may take, unpacked.
        expected: what it should hold, for the message.

    Raises:
        InputError: when it cannot be read, when sizes in it lie, and when it holds more than
            `max_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > max_bytes:
                raise ValueError(f'{size / 1e6:.0f} MB, more than {max_bytes / 1e6:.0f}')
            return {entry.filename.removesuffix('.npy'): _array(archive.read(entry))
                    for entry in entries}
    except Exception as error:  # of zipfile, zlib, struct, tokenize, ast, ...
        raise InputError(f'{path}: cannot be read ({error_line(error)}); expected {expected}. '
                         f'Copy it again.') from error


def _array(content: bytes) -> np.ndarray:
    """An .npy file; its shape is held against the size before it is used."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f'an array of {dtype} {list(shape)} in {len(content)} bytes')
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order='F' if fortran else 'C')


def read_tensors(path: Path, expected: str, device: torch.device | str = 'cpu') -> Any:
    """What `torch.save` wrote: tensors and plain values, without running code from the file.

    Args:
        path: of the file.
        expected: what it should hold, for the message.
        device: where the tensors go.

    Returns:
        Whatever the file holds.

    Raises:
        InputError: when it cannot be read, also when sizes in it lie.
    """
    import torch  # seconds to load: `igs --help` reads no tensors, but presets with `parsed_yaml`
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > path.stat().st_size:  # torch.save does not compress
                raise ValueError(f'{size} bytes packed into {path.stat().st_size}')
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # of torch, pickle, zipfile, struct, tarfile, ...
        reason = error_line(error).split('. ')[0]
        raise InputError(f'{path}: cannot be read as plain tensors ({reason}); expected '
                         f'{expected}. Copy it again, or convert it to safetensors where you '
                         f'trust it.') from error


def unusable_tensor(tree: object) -> str:
    """The name of a tensor in nested dicts and lists that cannot be used; '' where there is none.

    Such a tensor holds NaN or infinite values, or claims more values than it has.
    """
    import torch
    seen, waiting = set(), [('', tree)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if value.numel() * value.element_size() > value.untyped_storage().nbytes() \
                    or not torch.isfinite(value).all():
                return name
        elif isinstance(value, Mapping | list | tuple):
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [(f'{name}.{key}'[-200:].lstrip('.'), inner) for key, inner in items]
    return ''
