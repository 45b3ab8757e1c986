# SPDX-License-Identifier: Apache-2.0
"""Scene and status as messages, read back from the wire with nothing but struct and numpy."""
import math
import struct

import numpy as np
import pytest
import torch

from igs_ros.core.scene import GaussianScene
from igs_ros.core.status import State, Status
from igs_ros.core.timing import StageTime
from igs_ros.io.codec.state import apply_update, key_arrays, scene_from, update_arrays
from igs_ros.live.camera_watch import CameraReport, CameraState

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402

from igs_ros.msg import CameraStatus, SceneStatus  # noqa: E402
from igs_ros.node import convert, convert_scene  # noqa: E402


def sent(message):
    return deserialize_message(serialize_message(message), type(message))


def scene(count=20, velocities=True):
    random = torch.Generator().manual_seed(3)
    quats = torch.nn.functional.normalize(torch.randn((count, 4), generator=random), dim=1)
    return GaussianScene(torch.randn((count, 3), generator=random), quats,
                         torch.rand((count, 3), generator=random),
                         torch.rand(count, generator=random),
                         torch.randn((count, 4, 3), generator=random),
                         torch.randn((count, 3), generator=random) if velocities else None)


@pytest.mark.parametrize('velocities', [True, False])
def test_points_as_rviz_reads_them(velocities):
    start = scene(velocities=velocities)
    message = sent(convert_scene.points_message(start, convert.header(9, 'map'), 0.5))
    rows = [i for i in range(20) if start.opacities[i] >= 0.5]
    assert (message.width, message.height) == (len(rows), 1) and 0 < len(rows) < 20
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        (name, 4 * i, 7, 1) for i, name in enumerate(['x', 'y', 'z', 'rgb', 'vx', 'vy', 'vz'])]
    assert message.row_step == message.point_step * len(rows) == len(message.data)
    assert message.is_dense == velocities
    for place, row in enumerate(rows):
        x, y, z, rgb, vx, vy, vz = struct.unpack_from('<3fI3f', message.data, 28 * place)
        assert (x, y, z) == tuple(start.means[row].tolist())
        color = [(rgb >> shift & 255) / 255 for shift in (16, 8, 0)]
        expected = (0.5 + start.sh[row, 0].numpy() / (2 * math.sqrt(math.pi))).clip(0, 1)
        assert np.abs(color - expected).max() <= 0.5 / 255 + 1e-5
        if velocities:
            assert (vx, vy, vz) == tuple(start.velocities[row].tolist())
        else:
            assert math.isnan(vx) and math.isnan(vy) and math.isnan(vz)


def test_no_points_above_the_threshold():
    message = sent(convert_scene.points_message(scene(), convert.header(9, 'map'), 1.0))
    assert message.width == 0 and len(message.data) == 0


def test_key_and_update_give_the_scene_back():
    start = scene()
    means = start.means.clone()
    means[[2, 5]] += 1
    moved = start.replaced(means=means)
    head = convert.header(123, 'map')
    key = convert_scene.key_from_message(sent(convert_scene.key_message(
        key_arrays(start, scene_id=4, sequence=7), head)))
    message = sent(convert_scene.update_message(
        update_arrays(start, moved, [2, 5], scene_id=4, sequence=8, base_sequence=7), head))
    assert message.moved_rows.tolist() == [2, 5]
    assert convert.nanoseconds(message.header.stamp) == 123
    back = scene_from(apply_update(key, convert_scene.update_from_message(message)))
    for name in ('means', 'quats', 'scales', 'opacities', 'sh', 'velocities'):
        assert torch.equal(getattr(back, name), getattr(moved, name)), name


def status(**changes):
    return Status(**{'state': State.STREAMING, 'stamp_ns': 1_700_000_000_123_456_789,
                     'scene_id': 2, 'sequence': 9, 'key_sequence': 6, 'gaussians': 1234,
                     'cameras_expected': 3, 'cameras_in_last_set': 2, 'frame_sets_processed': 7,
                     'keys_refined': 1, 'spread_s': 0.25, 'refinements_discarded': 4,
                     'chain_breaks': 5, 'frame_sets_offered': 11, 'polished': 3,
                     'rss_mb': 512.0, 'gpu_mb': 64.0, 'reduced': 'half of all',
                     'levels': {'motion': 2, 'refine': 1, 'view': 0},
                     'queues': {'frame_sets': 1, 'keys': 0},
                     'stages': {'motion': StageTime(8, 0.5, 0.25, 2.0, 0.75, 1.0, 1.5)},
                     'drops': {'superseded': 3, 'never': 0}, **changes})


def test_status_carries_everything():
    head = convert.header(1_700_000_002_000_000_000, 'map')
    message = sent(convert_scene.status_message(status(), {'late:cam01': 2}, {}, head))
    assert message.state == SceneStatus.STREAMING and message.message == ''
    assert message.scene_age_s == pytest.approx(1.876543211, abs=1e-6)
    for name in ('scene_id', 'sequence', 'key_sequence', 'gaussians', 'cameras_expected',
                 'cameras_in_last_set', 'frame_sets_processed', 'keys_refined',
                 'refinements_discarded', 'chain_breaks', 'frame_sets_offered', 'polished',
                 'rss_mb', 'gpu_mb', 'spread_s'):
        assert getattr(message, name) == getattr(status(), name)
    assert (message.motion_level, message.refine_level, message.view_level) == (2, 1, 0)
    assert message.budget_reduced == 'half of all'
    assert dict(zip(message.queue_names, message.queue_lengths, strict=True)) == {
        'frame_sets': 1, 'keys': 0}
    assert (message.stage_names, list(message.stage_last_s), list(message.stage_mean_s)) == (
        ['motion'], [0.5], [0.25])
    assert (list(message.stage_p50_s), list(message.stage_p95_s), list(message.stage_p99_s)) == (
        [0.75], [1.0], [1.5])
    drops = dict(zip(message.drop_causes, message.drop_counts, strict=True))
    assert drops == {'superseded': 3, 'late:cam01': 2}


@pytest.mark.parametrize('age_ns', [0, 1, 999, 123_456_789, 90_000_000_000])
def test_the_shown_stamp_can_be_told_from_the_status(age_ns):
    shown = 1_700_000_000_123_456_789
    head = convert.header(shown + age_ns, 'map')
    message = sent(convert_scene.status_message(status(stamp_ns=shown), {}, {}, head))
    assert convert_scene.shown_stamp_ns(message) == shown


@pytest.mark.parametrize('state', State)
def test_states_have_the_same_names_in_the_message(state):
    message = convert_scene.status_message(status(state=state, message='m'), {}, {},
                                           convert.header(5, 'map'))
    assert message.state == getattr(SceneStatus, state.name) == state
    assert message.message == 'm'


def test_every_camera_is_in_the_message_in_order():
    reports = {name: CameraReport(name, f'/{name}/image', state, f'{name} is so', 0.5, 30.0,
                                  -0.25, 9, 4, 3, 2, 1, 'broken', 7.0)
               for name, state in zip('dcbaefg', CameraState, strict=True)}
    message = sent(convert_scene.status_message(status(), {}, reports, convert.header(5, '')))
    assert [camera.name for camera in message.cameras] == list('dcbaefg')
    for camera, report in zip(message.cameras, reports.values(), strict=True):
        assert camera.state == getattr(CameraStatus, report.state.name) == report.state
        for name in CameraStatus.get_fields_and_field_types():
            assert getattr(camera, name) == getattr(report, name), name


def test_without_a_clock_the_age_is_unknown():
    message = convert_scene.status_message(status(), {}, {}, convert.header(0, 'map'))
    assert math.isnan(message.scene_age_s)


def test_without_a_scene_its_age_is_unknown():
    message = convert_scene.status_message(Status(), {}, {}, convert.header(5, 'map'))
    assert math.isnan(message.scene_age_s)
    assert convert_scene.shown_stamp_ns(message) is None
