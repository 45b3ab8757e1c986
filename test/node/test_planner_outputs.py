# SPDX-License-Identifier: Apache-2.0
"""What planners read, over ROS: clouds, grids and their layout; nothing is made for nobody."""
import time
from dataclasses import replace

import numpy as np
import pytest
from planner_world import FLAT, cameras, scenes

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from nav_msgs.msg import OccupancyGrid  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402

from igs_ros.core.config import Config  # noqa: E402
from igs_ros.core.errors import InputError  # noqa: E402
from igs_ros.core.frames import FrameSet  # noqa: E402
from igs_ros.core.snapshot import Moved, advanced, first_snapshot  # noqa: E402
from igs_ros.live.pipeline import Shown  # noqa: E402
from igs_ros.live.planning import Planning, grid_from_world  # noqa: E402
from igs_ros.node import convert, convert_planner  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402
from igs_ros.node.planner_outputs import PlannerOutput  # noqa: E402
from igs_ros.render.choose import make_rasterizer  # noqa: E402
from igs_ros.vision.moving import PlannerPoints  # noqa: E402
from igs_ros.vision.occupancy import Box  # noqa: E402

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
HEAD = convert.header(1_500_000_000, 'map')


def fields(message):
    names = [field.name for field in message.fields]
    assert [field.offset for field in message.fields] == list(range(0, 4 * len(names), 4))
    values = np.frombuffer(message.data, np.float32).reshape(-1, len(names))
    assert message.width == len(values) and message.point_step == 4 * len(names)
    return dict(zip(names, values.T, strict=True))


def test_moving_points_carry_the_covariance_of_their_velocity():
    covariance = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    points = PlannerPoints(np.array([[1.0, 2, 3]]), np.array([[1.0, 0.5, 0]]),
                           np.array([[2.0, 3, 6]]), covariance[None])
    message = convert_planner.planner_points_message(points, HEAD)
    found = fields(message)
    assert {name: float(found[name][0]) for name in found if name != 'rgb'} == {
        'x': 1, 'y': 2, 'z': 3, 'vx': 2, 'vy': 3, 'vz': 6,
        'vxx': 1, 'vxy': 2, 'vxz': 3, 'vyy': 4, 'vyz': 5, 'vzz': 6, 'speed': 7}
    assert found['rgb'].view(np.uint32)[0] == 0xFF8000 and message.is_dense
    unknown = PlannerPoints(points.positions, points.rgb, np.full((1, 3), np.nan))
    message = convert_planner.planner_points_message(unknown, HEAD)
    assert list(fields(message)) == ['x', 'y', 'z', 'rgb', 'vx', 'vy', 'vz']
    assert not message.is_dense


def test_voxels_know_their_size():
    found = fields(convert_planner.voxels_message(np.array([[1.0, 2, 3]]), 0.25, HEAD))
    assert {name: float(values[0]) for name, values in found.items()} == {
        'x': 1, 'y': 2, 'z': 3, 'size': 0.25}
    assert convert_planner.voxels_message(np.zeros((0, 3)), 0.25, HEAD).width == 0


@pytest.mark.parametrize('up', ['z', '-y', 'x'])
def test_cells_of_the_grid_are_where_its_origin_says(up):
    """As every reader of the message has it: row by row from the origin, x first."""
    box = Box(np.array([-1.0, 2.0, 0.5]), (3, 2, 4), 0.5, grid_from_world(up))
    columns = np.array([[0, -1], [100, 0], [-1, 100]], np.int8)
    message = convert_planner.grid_message(columns, box, HEAD)
    assert (message.info.width, message.info.height) == (3, 2)
    assert message.info.resolution == 0.5 and message.header.frame_id == 'map'
    pose = message.info.origin
    turn = Rotation.from_quat([getattr(pose.orientation, name) for name in 'xyzw'])
    origin = np.array([getattr(pose.position, name) for name in 'xyz'])
    for index, state in enumerate(message.data):
        row, column = divmod(index, message.info.width)
        middle = turn.apply([(column + 0.5) * 0.5, (row + 0.5) * 0.5, 0.1]) + origin
        (voxel,), (inside,) = box.indices(middle[None])
        assert inside and columns[voxel[0], voxel[1]] == state


class Held:
    """What the output asks of a pipeline."""

    def __init__(self, scene, frame_set):
        self.working_cameras = cameras()
        self._shown = Shown(first_snapshot(scene, frame_set.stamp_ns), frame_set, 0.1)
        self.asked = 0

    def shown(self):
        self.asked += 1
        return self._shown

    def move(self, step):
        """The whole scene by `step` m along z, in 0.1 s."""
        last = self._shown.snapshot
        stamp_ns = last.stamp_ns + 100_000_000
        velocities = last.scene.means * 0
        velocities[:, 2] = step / 0.1
        scene = last.scene.replaced(velocities=velocities)
        moved = Moved(scene, np.arange(len(scene), dtype=np.uint32), stamp_ns)
        pictures = FrameSet(stamp_ns, self._shown.frame_set.images)
        self._shown = Shown(advanced(last, moved), pictures, 0.1)


@pytest.fixture(scope='module')
def world():
    return scenes(make_rasterizer('cpu', 1))


@pytest.fixture
def output(ros, world):
    node = ros.create_node('igs')
    made = {}

    def start(**changes):
        settings = NodeConfig(planning=replace(FLAT, rate_hz=50.0, **changes))
        made['output'] = PlannerOutput(node, settings, Config(threads=1))
        held = Held(*world['with'])
        made['output'].begin(held)
        made['output'].thread.start()
        return held
    yield start
    if made:
        made['output'].thread.stop()
    node.destroy_node()


def test_a_region_that_makes_no_grid_is_refused_at_once(output):
    with pytest.raises(InputError, match='planning.region'):
        output(region='1 2 3')


def test_each_topic_gets_what_it_says(output, listener):
    held = output(points_voxel_m=0.1)
    topics = {name: listener.collect(PointCloud2, f'/igs/{name}')
              for name in ('points', 'moving_points', 'voxels')}
    grids = listener.collect(OccupancyGrid, '/igs/occupancy', LATCHED)
    assert listener.until(lambda: all(topics.values()) and grids)
    assert topics['moving_points'][0].width == 0  # nothing is known to move
    assert set(fields(topics['voxels'][0])['size']) == {np.float32(0.05)}
    assert 100 < topics['points'][0].width < 3000
    assert {-1, 0, 100} == set(grids[0].data)
    assert grids[0].header.stamp == convert.header(10, 'map').stamp

    held.move(0.05)
    assert listener.until(lambda: topics['moving_points'][-1].width)
    moving = fields(topics['moving_points'][-1])
    assert moving['vz'] == pytest.approx(0.5, abs=1e-3)
    assert (moving['vzz'] > moving['vxx']).all()  # the views stand side by side


def test_what_has_not_changed_comes_once_and_late_listeners_get_the_map(output, listener):
    output()
    grids = listener.collect(OccupancyGrid, '/igs/occupancy', LATCHED)
    assert listener.until(lambda: grids)
    listener.spin(0.5)
    late = listener.collect(OccupancyGrid, '/igs/occupancy', LATCHED)
    assert listener.until(lambda: late)
    assert len(grids) <= 2  # the first, and maybe one for the newcomer


def test_nothing_is_made_for_nobody(output, monkeypatch):
    monkeypatch.setattr(Planning, 'look', lambda *_: pytest.fail('looked'))
    held = output()
    end = time.monotonic() + 20
    while held.asked < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert held.asked >= 3
