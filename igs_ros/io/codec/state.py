# SPDX-License-Identifier: Apache-2.0
"""The scene on the wire as plain arrays: what GaussianCloud and GaussianUpdate hold, without ROS.

`msg/*.msg` states the conventions. Quaternions are reordered here (wxyz in `GaussianScene`, xyzw
in messages) and nowhere else. Everything is exact: float32 bits go through unchanged.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from igs_ros.core.errors import InputError
from igs_ros.core.scene import MAX_POSITION, GaussianScene, sh_degree, sh_terms
from igs_ros.io.codec.messages import KeyMessage, StateMessage, UpdateMessage

KEY_FIELDS = ('scene_id', 'sequence', 'count', 'sh_degree', 'means', 'quats', 'scales',
              'opacities', 'sh', 'velocities')
UPDATE_FIELDS = ('scene_id', 'sequence', 'base_sequence', 'count', 'sh_degree', 'has_velocities',
                 'moved_rows', 'moved_means', 'moved_quats', 'moved_velocities',
                 'changed_rows', 'changed_means', 'changed_quats', 'changed_scales',
                 'changed_opacities', 'changed_sh', 'changed_velocities',
                 'added_means', 'added_quats', 'added_scales', 'added_opacities', 'added_sh',
                 'added_velocities', 'removed_rows')
# The fields that are one byte long; other scalars are uint32.
BYTE_FIELDS = ('sh_degree', 'has_velocities')
# What a row of the key may change and still count as moved only.
MOVING = ('means', 'quats', 'velocities')
VALUES = ('means', 'quats', 'scales', 'opacities', 'sh', 'velocities')
UNIT_WITHIN = 1e-3  # lengths of quaternions
Rows = np.ndarray | torch.Tensor  # indices, or a bool for each row


@dataclass(frozen=True, eq=False)
class KeyArrays:
    """One whole scene, as in GaussianCloud; float32, never written to."""

    scene_id: int
    sequence: int
    means: np.ndarray  # [N, 3] m
    quats: np.ndarray  # [N, 4] xyzw
    scales: np.ndarray  # [N, 3] m
    opacities: np.ndarray  # [N]
    sh: np.ndarray  # [N, K, 3]
    velocities: np.ndarray | None = None  # [N, 3] m/s, None = unknown

    @property
    def count(self) -> int:
        """N."""
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """0..3."""
        return sh_degree(self.sh)

    def fields(self) -> dict[str, Any]:
        """Field name -> int or flat array, in the order of the message."""
        values = {name: getattr(self, name) for name in KEY_FIELDS}
        return _flat(values)


@dataclass(frozen=True, eq=False)
class UpdateArrays:
    """The difference to a key, as in GaussianUpdate; float32, rows uint32 and ascending.

    Velocities are [0, 3] where has_velocities is False.
    """

    scene_id: int
    sequence: int
    base_sequence: int
    count: int  # after applying
    has_velocities: bool
    moved_rows: np.ndarray  # [M] of the key
    moved_means: np.ndarray
    moved_quats: np.ndarray
    moved_velocities: np.ndarray
    changed_rows: np.ndarray  # [C] of the key
    changed_means: np.ndarray
    changed_quats: np.ndarray
    changed_scales: np.ndarray
    changed_opacities: np.ndarray
    changed_sh: np.ndarray
    changed_velocities: np.ndarray
    added_means: np.ndarray  # [A, 3]
    added_quats: np.ndarray
    added_scales: np.ndarray
    added_opacities: np.ndarray
    added_sh: np.ndarray
    added_velocities: np.ndarray
    removed_rows: np.ndarray  # as numbered after adding

    @property
    def sh_degree(self) -> int:
        """0..3."""
        return sh_degree(self.added_sh)

    def fields(self) -> dict[str, Any]:
        """Field name -> int, bool or flat array, in the order of the message."""
        return _flat({name: getattr(self, name) for name in UPDATE_FIELDS})


# --- scene -> arrays -----------------------------------------------------------------------


def key_arrays(scene: GaussianScene, *, scene_id: int = 0, sequence: int = 0) -> KeyArrays:
    """The whole of `scene`.

    Args:
        scene: on any device.
        scene_id: as in GaussianCloud.
        sequence: of `scene`.
    """
    return KeyArrays(scene_id, sequence, **_scene_values(scene))


def scene_from(key: KeyArrays, device: torch.device | str = 'cpu') -> GaussianScene:
    """The inverse of `key_arrays`; the scene owns its memory."""
    values = {name: torch.tensor(array, device=device) for name in VALUES
              if (array := getattr(key, name)) is not None}
    values['quats'] = values['quats'].roll(1, 1)  # xyzw -> wxyz
    return GaussianScene(**values)


def update_arrays(key_scene: GaussianScene, scene: GaussianScene, moved_rows: Rows | None = None,
                  *, source_rows: Rows | None = None, scene_id: int = 0, sequence: int = 0,
                  base_sequence: int = 0) -> UpdateArrays:
    """The difference of `scene` to `key_scene`; both have the same SH degree.

    Args:
        key_scene: what the receiver holds.
        scene: what it is to hold.
        moved_rows: rows of the key of which more than the velocity may differ (index or boolean
            array); None compares all.
        source_rows: [len(scene)] row of the key that each Gaussian comes from, -1 = added; None
            means that `scene` has the key's rows in place. Kept rows stand in the key's order,
            added ones behind them: an update cannot say anything else.
        scene_id: as in GaussianUpdate.
        sequence: of `scene`.
        base_sequence: of `key_scene`.
    """
    key, new = _scene_values(key_scene), _scene_values(scene)
    total = len(key_scene)
    source = np.arange(total) if source_rows is None else _indices(source_rows, total)
    kept = source[source >= 0]
    assert len(source) == len(scene), f'{len(source)} source rows, {len(scene)} Gaussians'
    assert (source[:len(kept)] >= 0).all() and (np.diff(kept) > 0).all() and (kept < total).all()
    assert key['sh'].shape[1] == new['sh'].shape[1], 'SH degrees differ'

    known = 'velocities' in new
    if not known:
        new['velocities'] = np.zeros((len(scene), 3), np.float32)
    if 'velocities' not in key or not known:
        key['velocities'] = np.zeros((total, 3), np.float32)

    # Candidates: which kept rows may differ, as positions in `scene` and rows of the key.
    at = np.arange(len(kept))
    if moved_rows is not None:
        wanted = np.zeros(total, bool)
        wanted[_indices(moved_rows, total)] = True
        # Velocities of rows that stopped since the key differ too: always compared, it is cheap.
        at = np.flatnonzero(wanted[kept] | _differ(key, new, ['velocities'], kept, at))
    moved = _differ(key, new, MOVING, kept[at], at)
    changed = _differ(key, new, [n for n in VALUES if n not in MOVING], kept[at], at)
    only_moved, changed = at[moved & ~changed], at[changed]
    added = np.arange(len(kept), len(scene))
    removed = np.ones(total, bool)
    removed[kept] = False

    def taken(prefix: str, rows: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        values = {f'{prefix}_{name}': new[name][rows] for name in names}
        if not known:
            values[f'{prefix}_velocities'] = np.zeros((0, 3), np.float32)
        return values

    return UpdateArrays(
        scene_id, sequence, base_sequence, len(scene), known,
        moved_rows=kept[only_moved].astype(np.uint32), **taken('moved', only_moved, MOVING),
        changed_rows=kept[changed].astype(np.uint32), **taken('changed', changed, VALUES),
        **taken('added', added, VALUES),
        removed_rows=np.flatnonzero(removed).astype(np.uint32))


# --- arrays -> scene -----------------------------------------------------------------------


def apply_update(key: KeyArrays, update: UpdateArrays) -> KeyArrays:
    """The state that `update` describes.

    Raises:
        InputError: it does not fit `key`.
    """
    _check_update(key, update)
    values = {}
    for name in VALUES:
        base = getattr(key, name)
        if name == 'velocities' and base is None:
            base = np.zeros((key.count, 3), np.float32)
        if name == 'velocities' and not update.has_velocities:
            continue
        array = np.concatenate([base, getattr(update, f'added_{name}')])
        if name in MOVING:
            array[update.moved_rows] = getattr(update, f'moved_{name}')
        array[update.changed_rows] = getattr(update, f'changed_{name}')
        values[name] = np.delete(array, update.removed_rows, axis=0)
    return KeyArrays(update.scene_id, update.sequence, **values)


def key_from_message(message: KeyMessage) -> KeyArrays:
    """The arrays of a GaussianCloud (views, not copies).

    Raises:
        InputError: it is malformed.
    """
    label = f'GaussianCloud {message.sequence}'
    known = len(message.velocities) > 0
    values = _shaped(message, '', VALUES, message.count, _terms(message, label), known)
    for name, array in values.items():
        _require_values(array, label, name)
    if not known:
        del values['velocities']
    return KeyArrays(message.scene_id, message.sequence, **values)


def update_from_message(message: UpdateMessage) -> UpdateArrays:
    """The arrays of a GaussianUpdate (views, not copies); `apply_update` checks the rest.

    Raises:
        InputError: their lengths do not go together.
    """
    terms = _terms(message, f'GaussianUpdate {message.sequence}')
    rows = {name: np.asarray(getattr(message, name), np.uint32)
            for name in ('moved_rows', 'changed_rows', 'removed_rows')}
    values = {}
    for prefix, names, count in (('moved_', MOVING, len(rows['moved_rows'])),
                                 ('changed_', VALUES, len(rows['changed_rows'])),
                                 ('added_', VALUES, len(message.added_opacities))):
        shaped = _shaped(message, prefix, names, count, terms, message.has_velocities)
        values.update({prefix + name: array for name, array in shaped.items()})
    return UpdateArrays(message.scene_id, message.sequence, message.base_sequence, message.count,
                        bool(message.has_velocities), **rows, **values)


def serialized_size(state: KeyArrays | UpdateArrays, frame_id: str) -> int:
    """Bytes of the serialized ROS message (CDR), without making one."""
    # Encapsulation 4, stamp 8, string length 4; alignment counts from behind the encapsulation.
    at = 8 + 4 + len(frame_id.encode()) + 1
    for name, value in state.fields().items():
        if name in BYTE_FIELDS:
            at += 1
        else:
            at = -(-at // 4) * 4 + 4 + (value.nbytes if isinstance(value, np.ndarray) else 0)
    return 4 + at


# --- small parts ---------------------------------------------------------------------------


def _scene_values(scene: GaussianScene) -> dict[str, np.ndarray]:
    """Without velocities where they are unknown."""
    values = {name: tensor for name in VALUES if (tensor := getattr(scene, name)) is not None}
    values['quats'] = values['quats'].roll(-1, 1)  # wxyz -> xyzw
    return {name: np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
            for name, tensor in values.items()}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    return {name: np.zeros(0, np.float32) if value is None
            else np.ascontiguousarray(value).reshape(-1) if isinstance(value, np.ndarray)
            else value for name, value in values.items()}


def _indices(rows: Rows, total: int) -> np.ndarray:
    """Row numbers from an index or boolean array or tensor."""
    rows = np.asarray(rows.cpu() if isinstance(rows, torch.Tensor) else rows)
    if rows.dtype == bool:
        assert len(rows) == total
        return np.flatnonzero(rows)
    return rows.astype(np.int64)


def _differ(key: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], names: Sequence[str],
            key_rows: np.ndarray, new_rows: np.ndarray) -> np.ndarray:
    """[len(rows)] bool: any bit of these attributes differs."""
    different = np.zeros(len(key_rows), bool)
    for name in names:
        a = np.ascontiguousarray(key[name][key_rows]).view(np.uint32)
        b = np.ascontiguousarray(new[name][new_rows]).view(np.uint32)
        different |= (a != b).reshape(len(key_rows), int(np.prod(a.shape[1:]))).any(1)
    return different


def _terms(message: StateMessage, label: str) -> int:
    if message.sh_degree > 3:
        raise InputError(f'{label}: sh_degree is {message.sh_degree}, expected 0 to 3. '
                         f'Check the sender.')
    return sh_terms(message.sh_degree)


def _shaped(message: StateMessage, prefix: str, names: Sequence[str], count: int,
            terms: int, known: bool) -> dict[str, np.ndarray]:
    """Flat fields of a message as arrays of `count` rows."""
    label = f'{type(message).__name__} {message.sequence}'
    row = {'means': (3,), 'quats': (4,), 'scales': (3,), 'opacities': (), 'sh': (terms, 3),
           'velocities': (3,)}
    values = {}
    for name in names:
        flat = np.asarray(getattr(message, prefix + name), np.float32)
        rows = count if known or name != 'velocities' else 0
        expected = rows * int(np.prod(row[name]))
        if len(flat) != expected:
            raise InputError(f'{label}: {prefix}{name} has {len(flat)} values, expected '
                             f'{expected} for {rows} rows. Check the sender.')
        values[name] = flat.reshape(rows, *row[name])
    return values


def _check_update(key: KeyArrays, update: UpdateArrays) -> None:
    label = f'GaussianUpdate {update.sequence}'
    held = f'{update.scene_id}/{update.base_sequence}', f'{key.scene_id}/{key.sequence}'
    if held[0] != held[1]:
        raise InputError(f'{label}: it refers to key {held[0]} (scene_id/sequence), held is '
                         f'{held[1]}. Wait for that key.')
    if update.sequence <= update.base_sequence:
        raise InputError(f'{label}: its key has the sequence {update.base_sequence}; expected a '
                         f'lower one, states are counted up. Check the sender.')
    if update.sh_degree != key.sh_degree:
        raise InputError(f'{label}: sh_degree is {update.sh_degree}, its key has {key.sh_degree}. '
                         f'Check the sender.')
    after_adding = key.count + len(update.added_means)
    for name, total in (('moved_rows', key.count), ('changed_rows', key.count),
                        ('removed_rows', after_adding)):
        rows = getattr(update, name).astype(np.int64)
        if len(rows) and ((np.diff(rows) <= 0).any() or rows[-1] >= total):
            raise InputError(f'{label}: {name} must ascend and stay below {total}; its largest '
                             f'row is {rows.max()}. Check the sender.')
    if len(np.intersect1d(update.moved_rows, update.changed_rows)):
        raise InputError(f'{label}: rows stand in moved_rows and in changed_rows, expected in at '
                         f'most one. Check the sender.')
    count = after_adding - len(update.removed_rows)
    if update.count != count:
        raise InputError(f'{label}: count is {update.count}, applying it gives {count}. '
                         f'Check the sender.')
    for prefix, names in (('moved_', MOVING), ('changed_', VALUES), ('added_', VALUES)):
        _check_rows(update, prefix, names, label)


def _check_rows(update: UpdateArrays, prefix: str, names: Sequence[str], label: str) -> None:
    rows = len(update.added_means if prefix == 'added_' else getattr(update, prefix + 'rows'))
    for name in names:
        array = getattr(update, prefix + name)
        expected = rows if update.has_velocities or name != 'velocities' else 0
        if len(array) != expected:
            raise InputError(f'{label}: {prefix}{name} has {len(array)} rows, expected '
                             f'{expected}. Check the sender.')
        _require_values(array, label, prefix + name)


def _require_values(array: np.ndarray, label: str, name: str) -> None:
    """Raise `InputError` unless the values are what msg/GaussianCloud.msg allows."""
    if not np.isfinite(array).all():
        raise InputError(f'{label}: {name} holds NaN or infinite values, expected finite ones. '
                         f'Check the sender.')
    kind, expected = name.rpartition('_')[2], ''
    if kind == 'means' and (np.abs(array) > MAX_POSITION).any():
        expected = f'at most {MAX_POSITION:g} m from the origin on each axis'
    elif kind == 'quats' and (np.abs(np.linalg.norm(array.astype(np.float64), axis=1) - 1)
                              > UNIT_WITHIN).any():
        expected = f'unit length to {UNIT_WITHIN:g}'
    elif kind == 'scales' and (array <= 0).any():
        expected = 'above 0'
    elif kind == 'opacities' and ((array < 0) | (array > 1)).any():
        expected = '0 to 1'
    if expected:
        raise InputError(f'{label}: {name} holds values from {array.min():g} to {array.max():g}, '
                         f'expected {expected}. Check the sender.')
