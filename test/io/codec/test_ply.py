# SPDX-License-Identifier: Apache-2.0
"""PLY in and out: exact round trips, the published field layout, and clear refusals."""
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene, empty_scene
from igs_ros.io.codec.ply import load_ply, read_points, save_ply, write_points

SAME_FILE = settings(max_examples=30, deadline=None,
                     suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_scene(count, degree, seed):
    rng = np.random.default_rng(seed)

    def tensor(values):
        return torch.from_numpy(np.asarray(values, dtype=np.float32))
    quats = rng.normal(size=(count, 4))
    return GaussianScene(
        means=tensor(rng.normal(0, 10, (count, 3))),
        quats=tensor(quats / np.linalg.norm(quats, axis=1, keepdims=True)),
        scales=tensor(np.exp(rng.uniform(-12, 4, (count, 3)))),
        opacities=tensor(rng.uniform(0.001, 1, count)),
        sh=tensor(rng.normal(0, 1, (count, (degree + 1) ** 2, 3))))


def test_a_scene_that_cannot_be_written_leaves_the_old_one(tmp_path, full_disk):
    path = tmp_path / 'folder' / 's.ply'
    save_ply(random_scene(3, 0, 0), path)
    with full_disk(2000), pytest.raises(OutputError, match='s.ply: cannot be written.*Make room'):
        save_ply(random_scene(100, 0, 0), path)
    assert len(load_ply(path)) == 3 and [p.name for p in path.parent.iterdir()] == ['s.ply']


def write_table(path, table, element='vertex'):
    PlyData([PlyElement.describe(table, element)]).write(str(path))
    return path


def stored_table(path, scene):
    """The vertex table that a scene is written as, to spoil it."""
    save_ply(scene, path)
    return PlyData.read(str(path), mmap=False)['vertex'].data


@SAME_FILE
@given(count=st.integers(0, 40), degree=st.integers(0, 3), seed=st.integers(0, 2 ** 31))
def test_a_scene_comes_back_to_float32_rounding(tmp_path, count, degree, seed):
    scene = random_scene(count, degree, seed)
    save_ply(scene, tmp_path / 's.ply')
    back = load_ply(tmp_path / 's.ply')
    assert torch.equal(back.means, scene.means)
    assert torch.equal(back.sh, scene.sh)
    torch.testing.assert_close(back.quats, scene.quats, rtol=0, atol=2e-7)
    # one float32 step of a stored log of up to 12 is 1e-6 of the value
    torch.testing.assert_close(back.scales, scene.scales, rtol=1e-6, atol=0)
    torch.testing.assert_close(back.opacities, scene.opacities, rtol=1e-6, atol=1e-7)


@SAME_FILE
@given(degree=st.integers(0, 3), seed=st.integers(0, 2 ** 31))
def test_a_second_round_trip_changes_the_stored_bytes_by_one_step_at_most(tmp_path, degree, seed):
    first = stored_table(tmp_path / 'a.ply', random_scene(20, degree, seed))
    second = stored_table(tmp_path / 'b.ply', load_ply(tmp_path / 'a.ply'))
    for name in first.dtype.names:
        np.testing.assert_allclose(second[name], first[name], rtol=2e-6, atol=2e-6, err_msg=name)


def test_opacity_and_scale_at_their_bounds_stay_finite(tmp_path):
    scene = random_scene(2, 0, 0).replaced(opacities=torch.tensor([0.0, 1.0]),
                                           scales=torch.tensor([[0.0, 1, 1], [1, 1, 1e-9]]))
    save_ply(scene, tmp_path / 's.ply')
    back = load_ply(tmp_path / 's.ply')
    torch.testing.assert_close(back.opacities, scene.opacities, rtol=0, atol=1e-20)
    torch.testing.assert_close(back.scales, scene.scales, rtol=1e-5, atol=1e-20)


def test_the_fields_are_those_of_3dgs_with_channel_major_sh(tmp_path):
    scene = random_scene(3, 2, 1)
    table = stored_table(tmp_path / 's.ply', scene)
    assert table.dtype.names == (
        'x', 'y', 'z', 'nx', 'ny', 'nz', 'f_dc_0', 'f_dc_1', 'f_dc_2',
        *(f'f_rest_{i}' for i in range(24)), 'opacity', 'scale_0', 'scale_1', 'scale_2',
        'rot_0', 'rot_1', 'rot_2', 'rot_3')
    # coefficient 3 (of 8) of green stands after the eight of red
    np.testing.assert_array_equal(table['f_rest_11'], scene.sh[:, 4, 1])
    np.testing.assert_allclose(table['opacity'], torch.logit(scene.opacities).numpy(),
                               rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(table['scale_1'], scene.scales[:, 1].log().numpy(), rtol=1e-6)
    np.testing.assert_array_equal(table['rot_0'], scene.quats[:, 0])


def test_filter_3d_is_baked_like_the_reference(tmp_path):
    scene = random_scene(50, 1, 2)
    table = stored_table(tmp_path / 's.ply', scene)
    width = np.random.default_rng(3).uniform(0, 0.5, 50).astype(np.float32)
    filtered = np.empty(50, dtype=table.dtype.descr + [('filter_3D', '<f4')])
    for name in table.dtype.names:
        filtered[name] = table[name]
    filtered['filter_3D'] = width
    back = load_ply(write_table(tmp_path / 'f.ply', filtered))
    # igs_reference 5.1, in torch as the reference computes it
    squared = torch.square(scene.scales.double())
    after = squared + torch.square(torch.from_numpy(width).double())[:, None]
    factor = torch.sqrt(squared.prod(1) / after.prod(1))
    torch.testing.assert_close(back.scales, torch.sqrt(after).float(), rtol=2e-6, atol=0)
    torch.testing.assert_close(back.opacities, (scene.opacities.double() * factor).float(),
                               rtol=5e-6, atol=1e-7)


def test_raw_quaternions_are_normalized(tmp_path):
    scene = random_scene(5, 0, 4)
    table = stored_table(tmp_path / 's.ply', scene)
    for i in range(4):
        table[f'rot_{i}'] *= 3.5
    back = load_ply(write_table(tmp_path / 'r.ply', table))
    torch.testing.assert_close(back.quats, scene.quats, rtol=0, atol=3e-7)


def test_an_empty_scene_comes_back_empty(tmp_path):
    save_ply(empty_scene(3), tmp_path / 's.ply')
    back = load_ply(tmp_path / 's.ply')
    assert len(back) == 0 and back.sh_degree == 3


@pytest.mark.parametrize('field', ['opacity', 'scale_2', 'x', 'f_dc_0', 'rot_3'])
def test_a_missing_field_is_named(tmp_path, field):
    table = stored_table(tmp_path / 's.ply', random_scene(4, 0, 5))
    kept = [name for name in table.dtype.names if name != field]
    spoiled = np.empty(4, dtype=[(name, '<f4') for name in kept])
    path = write_table(tmp_path / 'm.ply', spoiled)
    with pytest.raises(InputError, match=f'm.ply: missing field.* {field}; expected a 3DGS scene'):
        load_ply(path)


@pytest.mark.parametrize('field', ['x', 'scale_0', 'f_rest_5', 'opacity', 'rot_1'])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(tmp_path, field, value):
    table = stored_table(tmp_path / 's.ply', random_scene(4, 1, 6))
    table[field][1:3] = value
    path = write_table(tmp_path / 'n.ply', table)
    with pytest.raises(InputError, match=f"n.ply: field '{field}' is NaN or infinite in 2 of 4"):
        load_ply(path)


def test_a_scale_too_large_for_float32_is_refused(tmp_path):
    table = stored_table(tmp_path / 's.ply', random_scene(4, 0, 6))
    table['scale_0'][0] = 200
    with pytest.raises(InputError, match='1 of 4 Gaussians'):
        load_ply(write_table(tmp_path / 'n.ply', table))


def test_zero_quaternions_are_refused(tmp_path):
    table = stored_table(tmp_path / 's.ply', random_scene(4, 0, 6))
    for i in range(4):
        table[f'rot_{i}'][2] = 0
    with pytest.raises(InputError, match='rot_0..3.* all zero in 1 of 4'):
        load_ply(write_table(tmp_path / 'q.ply', table))


def test_a_count_of_f_rest_of_no_degree_is_refused(tmp_path):
    table = stored_table(tmp_path / 's.ply', random_scene(4, 1, 7))
    kept = [name for name in table.dtype.names if name != 'f_rest_8']
    spoiled = np.ones(4, dtype=[(name, '<f4') for name in kept])
    with pytest.raises(InputError, match='8 fields f_rest_.*expected 0, 9, 24, 45'):
        load_ply(write_table(tmp_path / 'c.ply', spoiled))


@pytest.mark.parametrize('content', [b'', b'no ply', b'\xff\xd8\xff\xe0' * 40,
                                     b'ply\nformat binary_little_endian 1.0\n'])
def test_what_is_no_ply_is_refused(tmp_path, content):
    path = tmp_path / 'bad.ply'
    path.write_bytes(content)
    with pytest.raises(InputError, match='bad.ply: no complete PLY'):
        load_ply(path)


def test_a_truncated_file_is_refused(tmp_path):
    save_ply(random_scene(100, 1, 8), tmp_path / 's.ply')
    whole = (tmp_path / 's.ply').read_bytes()
    (tmp_path / 's.ply').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match='s.ply: no complete PLY.*early end-of-file'):
        load_ply(tmp_path / 's.ply')


def test_a_missing_file_and_a_mesh_are_named(tmp_path):
    with pytest.raises(InputError, match='nothing.ply: cannot be read'):
        load_ply(tmp_path / 'nothing.ply')
    faces = write_table(tmp_path / 'f.ply', np.zeros(2, dtype=[('x', '<f4')]), 'face')
    with pytest.raises(InputError, match="without an element 'vertex'"):
        read_points(faces)


def test_points_come_back_exactly(tmp_path):
    rng = np.random.default_rng(9)
    points = Points(rng.normal(size=(30, 3)).astype(np.float32),
                    rng.integers(0, 256, (30, 3), dtype=np.uint8))
    write_points(points, tmp_path / 'p.ply')
    back = read_points(tmp_path / 'p.ply')
    np.testing.assert_array_equal(back.xyz, points.xyz)
    np.testing.assert_array_equal(back.rgb, points.rgb)


def test_points_of_a_recording_have_normals_beside_the_colors(workbench):
    points = read_points(workbench / 'points3d.ply')
    assert len(points) == 6548
    assert points.xyz.dtype == np.float32 and points.rgb.dtype == np.uint8


@pytest.mark.parametrize('kind, message', [
    ('float', "field 'red' is float32; expected uchar"),
    ('none', 'missing field.* red, green, blue; expected colored points'),
    ('nan', "field 'y' is NaN or infinite in 1 of 3"),
])
def test_points_that_cannot_be_used_are_refused(tmp_path, kind, message):
    color = [] if kind == 'none' else [(c, '<f4' if kind == 'float' else 'u1')
                                       for c in ('red', 'green', 'blue')]
    table = np.zeros(3, dtype=[(name, '<f4') for name in 'xyz'] + color)
    if kind == 'nan':
        table['y'][1] = np.nan
    with pytest.raises(InputError, match=message):
        read_points(write_table(tmp_path / 'p.ply', table))


@pytest.mark.parametrize('header, message', [
    ('element a 1000000000\nelement vertex 1', "element 'a' has 1000000000 rows and no property"),
    ('element a 9000000000\nproperty uchar b\nelement vertex 1', '1 vertices cannot be in'),
    ('element a 1\nproperty list uint float b\nelement vertex 1', "element 'a' holds lists"),
    ('element vertex 4000000000', '4000000000 vertices cannot be in'),
    ('element vertex 999999999999999999', 'vertices cannot be in'),
    (f"element vertex {'9' * 5000}", 'a count of 5000 digits'),
    ('element vertex 1_0', 'a count that is no number'),
    ('element vertex -1', 'a count that is no number'),
    ('comment ' + 100_000 * 'x' + '\nelement vertex 1', 'no end_header within'),
])
@pytest.mark.parametrize('kind', ['ascii', 'binary_little_endian', 'binary_big_endian'])
def test_counts_that_lie_are_refused_before_anything_is_made_from_them(tmp_path, kind, header,
                                                                       message):
    fields = ''.join(f'property {kind} {name}\n' for name, kind in zip(
        ('x', 'y', 'z', 'red', 'green', 'blue'), 3 * ['float'] + 3 * ['uchar'], strict=True))
    path = tmp_path / 'lie.ply'
    path.write_bytes(f'ply\nformat {kind} 1.0\n{header}\n{fields}end_header\n'.encode()
                     + b'1 2 3 4 5 6\n1 2 3 4 5 6\n')
    with pytest.raises(InputError, match=f'lie.ply: no complete PLY file .*{message}'):
        read_points(path)


def test_faces_behind_the_vertices_are_not_read(tmp_path):
    points = Points(np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 9, np.uint8))
    path = tmp_path / 'mesh.ply'
    write_points(points, path)
    path.write_bytes(path.read_bytes().replace(
        b'end_header',
        b'element face 2000000000\nproperty list uchar int vertex_indices\nend_header'))
    np.testing.assert_array_equal(read_points(path).xyz, points.xyz)


def test_byte_orders_and_elements_before_the_vertices(tmp_path):
    table = np.array([(1.5, 2, 3, 4, 5, 6), (7, 8, 9, 10, 11, 12)],
                     [(name, 'f4') for name in 'xyz']
                     + [(name, 'u1') for name in ('red', 'green', 'blue')])
    before = PlyElement.describe(np.array([(1, 2.0)] * 3, [('i', 'i2'), ('j', 'f8')]), 'before')
    for text, order in ((True, '='), (False, '<'), (False, '>')):
        PlyData([before, PlyElement.describe(table, 'vertex')], text=text,
                byte_order=order).write(str(tmp_path / 'o.ply'))
        found = read_points(tmp_path / 'o.ply')
        np.testing.assert_array_equal(found.xyz, [[1.5, 2, 3], [7, 8, 9]])
        np.testing.assert_array_equal(found.rgb, [[4, 5, 6], [10, 11, 12]])


def test_scenes_that_no_message_could_hold_are_refused_or_kept_above_zero(tmp_path):
    path = tmp_path / 's.ply'
    table = stored_table(path, random_scene(3, 0, 0)).copy()
    table['scale_0'] = -1000
    assert (load_ply(write_table(path, table)).scales[:, 0] > 0).all()
    table['x'][1] = 3e6
    with pytest.raises(InputError, match=r's.ply: 1 of 3 Gaussians lie more than 1e\+06 m from'):
        load_ply(write_table(path, table))
