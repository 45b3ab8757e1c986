# SPDX-License-Identifier: Apache-2.0
"""PLY files of strangers: Gaussian scenes and colored points."""
import tempfile
from pathlib import Path

import numpy as np
import torch
from fuzzing import fuzzer
from hostile import INTEGERS, spoiled
from hypothesis import strategies as st

from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.ply import load_ply, read_points, save_ply, write_points


def written(write, value) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        write(value, Path(place) / 'a.ply')
        return (Path(place) / 'a.ply').read_bytes()


def scene() -> GaussianScene:
    random = torch.Generator().manual_seed(0)

    def values(*shape):
        return torch.randn((8, *shape), generator=random)
    return GaussianScene(values(3), torch.nn.functional.normalize(values(4), dim=1),
                         values(3).exp(), values().sigmoid(), values(4, 3))


SCENE = written(save_ply, scene())
POINTS = written(write_points, Points(np.arange(15, dtype=np.float32).reshape(5, 3),
                                      np.full((5, 3), 200, np.uint8)))
PROPERTIES = ['x', 'y', 'z', 'red', 'green', 'blue']


@st.composite
def ply(draw) -> bytes:
    """A PLY with elements of all kinds around the vertices, and counts that may lie."""
    counts = st.one_of(st.integers(0, 5), st.sampled_from(
        (*INTEGERS, '1_000', '+5', '9' * 30, '٣', 'many', '1e9', '0x10', '')))
    kinds = st.sampled_from(('float', 'uchar', 'double', 'int', 'float64', 'quad', 'list', '',
                             'list uchar int', 'list uint float', 'list float int'))
    lines = ['ply', draw(st.sampled_from((
        'format ascii 1.0', 'format binary_little_endian 1.0', 'format binary_big_endian 1.0',
        'format ascii 2.0', 'format', 'format utf-8 1.0')))]
    for _ in range(draw(st.integers(0, 2))):
        lines.append(f"element {draw(st.sampled_from(('face', 'a', 'camera')))} {draw(counts)}")
        lines += [f'property {draw(kinds)} p{i}' for i in range(draw(st.integers(0, 3)))]
    lines.append(f'element vertex {draw(counts)}')
    lines += [f"property {'float' if i < 3 else 'uchar'} {name}"
              for i, name in enumerate(draw(st.permutations(PROPERTIES)) if draw(st.booleans())
                                       else PROPERTIES)]
    lines += draw(st.lists(st.sampled_from((
        'element face 1000000000', 'property list uchar int vertex_indices', 'comment x',
        'comment \relement vertex 7', 'obj_info y', 'property float x', 'end_header', '',
        'property list uchar float extra', 'element vertex 2')), max_size=3))
    newline = draw(st.sampled_from(('\n', '\n', '\r\n', '\r')))
    text = newline.join([*lines, 'end_header', '']).encode()
    return text + draw(st.one_of(
        st.binary(max_size=200), st.just(b'\0' * 300), st.just(b'1 2 3 4 5 6\n' * 6),
        st.just(b'\xff' * 300), st.just(b'1 2 nan 4 5 600\n' * 6), st.just(b'\n' * 500)))


def require_scene(found: GaussianScene) -> None:
    assert bool(found.finite().all()) and bool((found.scales > 0).all())
    assert bool(((found.opacities >= 0) & (found.opacities <= 1)).all())
    assert bool((torch.linalg.norm(found.quats.double(), dim=1) - 1).abs().lt(1e-3).all())
    assert bool((found.means.abs() <= 1e6).all())


@fuzzer(cases=300, content=spoiled(SCENE))
def test_ply_scenes(folder, content):
    (folder / 's.ply').write_bytes(content)
    require_scene(load_ply(folder / 's.ply'))


@fuzzer(cases=300, content=st.one_of(ply(), spoiled(POINTS)))
def test_ply_points(folder, content):
    (folder / 'p.ply').write_bytes(content)
    found = read_points(folder / 'p.ply')
    assert np.isfinite(found.xyz).all() and len(found) < 1000
