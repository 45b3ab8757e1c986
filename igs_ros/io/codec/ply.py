# SPDX-License-Identifier: Apache-2.0
"""PLY files: Gaussian scenes as 3DGS writes them, and colored points.

A 3DGS PLY holds, per vertex, x y z, f_dc_0..2, f_rest_* (channel-major: all red coefficients,
then green, then blue), opacity (logit), scale_0..2 (log of meters), rot_0..3 (wxyz, not
necessarily unit) and, where Mip-Splatting or RaDe-GS trained it, filter_3D (m), the width of a
smoothing filter that has to be baked into scales and opacities (igs_reference, section 5.1).
"""
from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyListProperty, PlyParseError
from scipy.special import expit, logit

from igs_ros.core.errors import InputError, error_line
from igs_ros.core.files import replaced
from igs_ros.core.points import Points, checked_points
from igs_ros.core.scene import GaussianScene, checked

POSITION = ('x', 'y', 'z')
NORMAL = ('nx', 'ny', 'nz')
DC = ('f_dc_0', 'f_dc_1', 'f_dc_2')
SCALE = ('scale_0', 'scale_1', 'scale_2')
ROTATION = ('rot_0', 'rot_1', 'rot_2', 'rot_3')
REQUIRED = (*POSITION, *DC, 'opacity', *SCALE, *ROTATION)
COLOR = ('red', 'green', 'blue')
REST_COUNTS = (0, 9, 24, 45)  # 3 ((d + 1)^2 - 1) for SH degrees d = 0..3
MAX_HEADER = 100_000  # bytes
MAX_DIGITS = 18  # of a count

# Logarithms of zero are not finite: what is written stays inside these bounds. Half a float32
# step below 1, an opacity of 1 comes back as exactly 1.
MIN_SCALE = 1e-30
OPACITY_RANGE = (1e-30, 1 - 2.0 ** -25)


def load_ply(path: str | Path) -> GaussianScene:
    """The Gaussians of a 3DGS PLY, on the CPU: natural values, filter_3D baked, quaternions unit.

    Positions and scales keep the unit of the file (meters expected).

    Raises:
        InputError: naming the file and the field: it is no PLY, fields are missing, f_rest has a
            count of no SH degree, or values are not finite.
    """
    vertices = _vertices(path)
    _require(path, vertices, REQUIRED, 'a 3DGS scene')
    with np.errstate(over='ignore'):  # what overflows is infinite, which `checked` refuses
        scales = np.maximum(np.exp(_columns(path, vertices, SCALE)), MIN_SCALE)  # [N, 3]
    opacities = expit(_columns(path, vertices, ('opacity',))[:, 0])  # [N]
    if 'filter_3D' in _names(vertices):
        scales, opacities = _bake_filter(scales, opacities,
                                         _columns(path, vertices, ('filter_3D',)))
    scene = GaussianScene(
        means=_tensor(_columns(path, vertices, POSITION)),
        quats=_tensor(_unit_quats(path, _columns(path, vertices, ROTATION))),
        scales=_tensor(scales),
        opacities=_tensor(opacities),
        sh=_tensor(_read_sh(path, vertices)),
    )
    return checked(scene, str(path))


def save_ply(scene: GaussianScene, path: str | Path) -> None:
    """Write `scene` as a binary 3DGS PLY, completely or not at all.

    Velocities have no field there and are not kept. Loading it gives the same values to float32
    rounding of what is stored (log scales, logit opacities).

    Args:
        scene: on any device.
        path: of the file; its folder is made if it is not there.

    Raises:
        OutputError: the file cannot be written.
    """
    values = {name: getattr(scene, name).detach().cpu().numpy().astype(np.float64)
              for name in ('means', 'quats', 'scales', 'opacities', 'sh')}
    n = len(scene)
    opacity = np.clip(values['opacities'], *OPACITY_RANGE)
    terms = values['sh'].shape[1]
    rest = values['sh'][:, 1:].transpose(0, 2, 1).reshape(n, 3 * (terms - 1))  # channel-major
    names = (*POSITION, *NORMAL, *DC, *(f'f_rest_{i}' for i in range(rest.shape[1])),
             'opacity', *SCALE, *ROTATION)
    table = np.concatenate([
        values['means'], np.zeros((n, 3)), values['sh'][:, 0], rest,
        logit(opacity)[:, None],
        np.log(np.maximum(values['scales'], MIN_SCALE)), values['quats']], 1)
    vertices = np.empty(n, dtype=[(name, '<f4') for name in names])
    for column, name in enumerate(names):
        vertices[name] = table[:, column]
    with replaced(Path(path)) as draft:
        PlyData([PlyElement.describe(vertices, 'vertex')], byte_order='<').write(str(draft))


def read_points(path: str | Path) -> Points:
    """Colored points: x y z (m) and uchar red green blue.

    Raises:
        InputError: naming the file and the field: fields are missing or values not finite.
    """
    vertices = _vertices(path)
    _require(path, vertices, (*POSITION, *COLOR), 'colored points')
    for name in COLOR:
        if vertices[name].dtype != np.uint8:
            raise InputError(f"{path}: field '{name}' is {vertices[name].dtype}; expected uchar "
                             f'0..255. Export the points with 8-bit colors.')
    xyz = _columns(path, vertices, POSITION).astype(np.float32)
    rgb = np.stack([vertices[name] for name in COLOR], 1)
    return checked_points(Points(xyz, rgb), str(path))


def write_points(points: Points, path: str | Path) -> None:
    """Write colored points as a binary PLY."""
    vertices = np.empty(len(points), dtype=[(name, '<f4') for name in POSITION]
                        + [(name, 'u1') for name in COLOR])
    for axis in range(3):
        vertices[POSITION[axis]] = points.xyz[:, axis]
        vertices[COLOR[axis]] = points.rgb[:, axis]
    PlyData([PlyElement.describe(vertices, 'vertex')], byte_order='<').write(str(path))


def _vertices(path) -> np.ndarray:
    """The vertex table, a structured array [N]; what stands behind it in the file is not read.

    Counts are held against the size of the file before anything is made from them.
    """
    try:
        if not Path(path).is_file():
            raise InputError(f'{path}: cannot be read (no such file); expected a PLY file. Check '
                             f'the path.')
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error}); expected a PLY '
                         f'file. Check the path.') from error
    try:
        elements, text, byte_order, start = _header(content)
        places = [element.name for element in elements]
        if 'vertex' not in places:
            raise InputError(f"{path}: a PLY without an element 'vertex'; expected one. Export "
                             f'the points or the Gaussians, not a mesh.')
        *before, vertex = elements[:places.index('vertex') + 1]
        skipped = sum(_min_size(element, text) for element in before)
        if start + skipped + _min_size(vertex, text) > len(content) + (1 if text else 0):
            raise PlyParseError(f'early end-of-file: {vertex.count} vertices cannot be in '
                                f'{len(content)} bytes')
        if not text:
            return np.frombuffer(content, vertex.dtype(byte_order), vertex.count, start + skipped)
        kept = ['ply', 'format ascii 1.0', *(e.header for e in (*before, vertex)), 'end_header']
        file = io.BytesIO('\n'.join([*kept, '']).encode() + content[start:])
        # pyright takes plyfile's default of `mmap` for its type
        return PlyData.read(
            file, mmap=False)['vertex'].data  # pyright: ignore[reportArgumentType]
    except (PlyParseError, UnicodeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: no complete PLY file ({error_line(error)}); expected a 3DGS '
                         f'scene or colored points. Export it again, or copy it '
                         f'again.') from error


def _header(content: bytes) -> tuple[list[PlyElement], bool, str, int]:
    """The elements with their counts but without data, and how to read on.

    Returns:
        The elements, whether the file is text, its byte order, and where the data begins.

    Raises:
        ValueError: no header, or one that claims what cannot be.
        PlyParseError: of plyfile, about the lines of the header.
    """
    newline = b'\r\n' if content[3:5] == b'\r\n' else content[3:4]
    end = content.find(newline + b'end_header' + newline, 0, MAX_HEADER)
    if end < 0:
        raise ValueError(f'no end_header within {MAX_HEADER} bytes')
    lines = content[:end].decode('ascii').split(newline.decode('ascii'))
    counts, kept = [], []
    for line in lines:
        words = line.split()
        if words[:1] == ['element']:
            if len(words) != 3 or not words[2].isdecimal():
                raise ValueError('an element with a count that is no number')
            if len(words[2]) > MAX_DIGITS:
                raise ValueError(f'a count of {len(words[2])} digits')
            counts.append(int(words[2]))
            words[2] = '0'  # so that plyfile, which has no bounds, reads nothing yet
        if words[:1] not in ([], ['comment'], ['obj_info']):
            kept.append(' '.join(words))
    file = PlyData.read(io.BytesIO('\n'.join([*kept, 'end_header', '']).encode()),
                        mmap=False)  # pyright: ignore[reportArgumentType]  as above
    elements = [PlyElement(element.name, element.properties, count)
                for element, count in zip(file.elements, counts, strict=True)]
    start = end + 2 * len(newline) + len(b'end_header')
    return elements, file.text, file.byte_order, start


def _min_size(element: PlyElement, text: bool) -> int:
    """Bytes that an element takes at least (as text: digit and space or newline), or exactly."""
    if any(isinstance(field, PlyListProperty) for field in element.properties):
        raise ValueError(f"element '{element.name}' holds lists; expected one number per field "
                         f'in the vertices, and lists behind them')
    if element.count and not element.properties:
        raise ValueError(f"element '{element.name}' has {element.count} rows and no property")
    size = 2 * len(element.properties) if text else np.dtype(element.dtype()).itemsize
    return element.count * size


def _names(vertices) -> tuple[str, ...]:
    return vertices.dtype.names or ()


def _require(path, vertices, fields, what) -> None:
    missing = [name for name in fields if name not in _names(vertices)]
    if missing:
        raise InputError(f"{path}: missing field(s) {', '.join(missing)}; expected {what} with "
                         f"{' '.join(fields)}. Export it in that layout.")


def _columns(path, vertices, fields) -> np.ndarray:
    """Some fields as float64 [N, len(fields)]; `InputError` where they are not finite."""
    columns = np.empty((len(vertices), len(fields)))
    for column, name in enumerate(fields):
        columns[:, column] = vertices[name]
        bad = int((~np.isfinite(columns[:, column])).sum())
        if bad:
            raise InputError(f"{path}: field '{name}' is NaN or infinite in {bad} of "
                             f'{len(vertices)} vertices; expected finite values. Export it again.')
    return columns


def _read_sh(path, vertices) -> np.ndarray:
    """SH coefficients [N, K, 3] from f_dc and the channel-major f_rest."""
    count = sum(name.startswith('f_rest_') for name in _names(vertices))
    rest_names = tuple(f'f_rest_{i}' for i in range(count))
    if count not in REST_COUNTS:
        raise InputError(f'{path}: {count} fields f_rest_*; expected '
                         f'{", ".join(map(str, REST_COUNTS))} (SH degrees 0 to 3). Export it with '
                         f'one of these degrees.')
    _require(path, vertices, rest_names, 'SH coefficients numbered without a gap')
    rest = _columns(path, vertices, rest_names).reshape(len(vertices), 3, count // 3)
    dc = _columns(path, vertices, DC)
    return np.concatenate([dc[:, None], rest.transpose(0, 2, 1)], 1)


def _unit_quats(path, quats) -> np.ndarray:
    lengths = np.linalg.norm(quats, axis=1, keepdims=True)
    bad = int((lengths == 0).sum())
    if bad:
        raise InputError(f"{path}: fields 'rot_0..3' are all zero in {bad} of {len(quats)} "
                         f'vertices; expected rotations (wxyz). Export it again.')
    return quats / lengths


def _bake_filter(scales, opacities, width):
    """Scales [N, 3] and opacities [N] with the filter of `width` [N, 1] m in them."""
    with np.errstate(over='ignore', invalid='ignore'):  # as above
        smoothed = np.sqrt(scales ** 2 + width ** 2)
        return smoothed, opacities * (scales / smoothed).prod(1)


def _tensor(values) -> torch.Tensor:
    with np.errstate(over='ignore'):  # what overflows is infinite, which `checked` refuses
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
