# SPDX-License-Identifier: Apache-2.0
"""The node as a lifecycle manager sees it: transitions, services and parameters over loopback."""
import logging
import threading
import time

import numpy as np
import pytest

from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.errors import InputError
from igs_ros.io.codec.ply import load_ply, save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.stages.bootstrap.first_scene import first_scene
from igs_ros.vision.preparer import Preparer

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from lifecycle_msgs.msg import State  # noqa: E402
from lifecycle_msgs.msg import Transition as To  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from igs_ros.msg import SceneStatus  # noqa: E402
from igs_ros.node import convert  # noqa: E402
from igs_ros.node.reconstruct import ReconstructNode  # noqa: E402
from igs_ros.node.scene_files import checked_path  # noqa: E402

CAMERAS = ('cam00', 'cam01', 'cam03')
PERIOD_S = 0.1
PATIENCE_S = 120.0


class Lab:
    """Nodes that spin in one executor, fed by one client, each in its namespace."""

    def __init__(self, ros, client, jpegs):
        self.client, self.jpegs = client, jpegs
        self.nodes, self.statuses, self._clients = {}, {}, {}
        self._executor = SingleThreadedExecutor()
        self._stopping = False
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self):
        while not self._stopping:
            self._executor.spin_once(timeout_sec=0.02)

    def add(self, namespace, *parameters, start=True):
        options = [part for one in parameters for part in ('-p', one)]
        node = ReconstructNode(namespace=namespace, cli_args=['--ros-args', *options])
        self.nodes[namespace] = node
        self.statuses[namespace] = self.client.collect(SceneStatus, f'/{namespace}/igs/status', 10)
        if start:
            node.start()
        self._executor.add_node(node)
        return node

    def close(self):
        self._stopping = True
        self._thread.join()
        for node in self.nodes.values():
            self._executor.remove_node(node)
            node.close()
            node.destroy_node()

    def call(self, kind, service, **fields):
        if service not in self._clients:
            self._clients[service] = self.client.node.create_client(kind, service)
            assert self._clients[service].wait_for_service(PATIENCE_S)
        future = self._clients[service].call_async(kind.Request(**fields))
        assert self.client.until(future.done)
        return future.result()

    def trigger(self, namespace, name):
        return self.call(Trigger, f'/{namespace}/igs/{name}')

    def change(self, namespace, transition):
        """Whether it is done, and the state then."""
        done = self.call(ChangeState, f'/{namespace}/igs/change_state',
                         transition=To(id=transition)).success
        return done, self.call(GetState, f'/{namespace}/igs/get_state').current_state.id

    def set(self, namespace, **values):
        parameters = [Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
                      for name, value in values.items()]
        return self.call(SetParametersAtomically, f'/{namespace}/igs/set_parameters_atomically',
                         parameters=parameters).result

    def send(self, namespace):
        head = convert.header(time.time_ns(), 'any')
        for name in CAMERAS:
            topic = f'/{namespace}/{name}/image_raw/compressed'
            if self.client.node.count_subscribers(topic):
                self.client.publish(topic, CompressedImage(header=head, format='jpeg',
                                                           data=self.jpegs[name]))

    def until(self, namespace, condition):
        """Send pictures until a status fulfils `condition`; that status."""
        end = time.monotonic() + PATIENCE_S
        statuses = self.statuses[namespace]
        while time.monotonic() < end:
            statuses.clear()
            self.send(namespace)
            self.client.spin(PERIOD_S)
            for status in statuses:
                if condition(status):
                    return status
        pytest.fail(f'waited in vain; the last status: {statuses[-1:]}')

    def streams(self, namespace):
        return self.until(namespace, lambda s: s.state == SceneStatus.STREAMING)


@pytest.fixture(scope='module')
def begun(workbench, tmp_path_factory):
    """Parameters of a node that starts at once, and what its cameras see."""
    recording = open_recording(workbench)
    frame_set = next(recording.frame_sets(0, 1, cameras=CAMERAS))
    preparer = Preparer({name: recording.cameras[name] for name in CAMERAS}, 96)
    ply = tmp_path_factory.mktemp('scene') / 'first.ply'
    config = Config(max_gaussians=1000, bootstrap=BootstrapConfig(iterations=10))
    save_ply(first_scene('points', preparer.prepare(frame_set), preparer.cameras,
                         recording.points(), CpuRasterizer(1), config).scene, ply)
    parameters = (f'rig_file:={workbench}/rig.json', f'cameras:=[{",".join(CAMERAS)}]',
                  f'bootstrap.method:={ply}', 'width:=96', 'motion:=static', 'key_interval:=0',
                  'calibration_wait_s:=0.2', 'refine.iterations:=2', 'status_rate_hz:=10.0')
    jpegs = {name: convert.jpeg_bytes(picture.decode(), 90)
             for name, picture in frame_set.pictures.items()}
    return parameters, jpegs


@pytest.fixture(scope='module')
def lab(ros, client, begun):
    made = Lab(ros, client, begun[1])
    try:
        made.add('one', *begun[0])
        made.streams('one')
        yield made
    finally:
        made.close()


# -- services -------------------------------------------------------------------------------------


def test_pause_and_resume(lab):
    before = lab.streams('one').scene_id
    said = lab.trigger('one', 'pause')
    assert said.success and '~/resume' in said.message
    held = lab.until('one', lambda s: 'paused' in s.message and 'paused' in s.drop_causes)
    assert held.state == SceneStatus.HOLDING
    views = lab.client.collect(Image, '/one/igs/view/image', 1)
    assert lab.client.until(lambda: views)  # views go on
    assert views[-1].header.stamp == held.scene_stamp  # and say how old they are
    assert lab.trigger('one', 'resume').message == 'frame sets are taken again'
    status = lab.streams('one')
    assert status.scene_id == before
    assert lab.trigger('one', 'resume').message == 'it was not paused'


def test_refine_now_and_reset(lab):
    before = lab.streams('one')
    assert lab.trigger('one', 'refine_now').success
    lab.until('one', lambda s: s.key_sequence > before.key_sequence)
    assert lab.trigger('one', 'reset').success
    lab.until('one', lambda s: s.state == SceneStatus.STREAMING
              and s.scene_id != before.scene_id)


def test_a_scene_is_saved_and_loaded(lab, begun, tmp_path):
    refused = lab.trigger('one', 'save_scene')  # nobody has said where
    assert not refused.success and 'scene_folder is empty' in refused.message
    lab.add('kept', *begun[0], f'scene_folder:={tmp_path}')
    before = lab.streams('kept')
    for name in ('../out.ply', '/tmp/out.ply', 'scene.txt', ''):
        assert lab.set('kept', scene_file=name).successful
        refused = lab.trigger('kept', 'save_scene')
        assert not refused.success and 'below scene_folder' in refused.message
    assert list(tmp_path.iterdir()) == []
    assert lab.set('kept', scene_file='lab/first.ply').successful
    saved = lab.trigger('kept', 'save_scene')
    assert saved.success and str(tmp_path / 'lab' / 'first.ply') in saved.message, saved.message
    scene = load_ply(tmp_path / 'lab' / 'first.ply')
    assert len(scene) == before.gaussians

    loaded = lab.trigger('kept', 'load_scene')
    assert loaded.success and f'{len(scene)} Gaussians' in loaded.message, loaded.message
    lab.until('kept', lambda s: s.state == SceneStatus.STREAMING
              and s.scene_id != before.scene_id)
    kept = lab.nodes['kept'].work.pipeline.snapshot().scene
    assert len(kept) == len(scene) and bool((kept.means == scene.means).all())

    (tmp_path / 'lab' / 'first.ply').write_bytes(b'ply\nformat binary_little_endian 1.0\n')
    broken = lab.trigger('kept', 'load_scene')
    assert not broken.success and 'first.ply' in broken.message
    lab.streams('kept')
    lab.change('kept', To.TRANSITION_DEACTIVATE)


def test_no_name_leads_out_of_the_folder(tmp_path):
    inside, outside = tmp_path / 'in', tmp_path / 'out'
    inside.mkdir()
    outside.mkdir()
    (inside / 'link').symlink_to(outside)
    (inside / 'link.ply').symlink_to(outside / 'a.ply')
    assert checked_path(str(inside), 'a/b.ply') == inside / 'a' / 'b.ply'
    for name in ('link/a.ply', 'link.ply', '../out/a.ply', str(outside / 'a.ply'), '.', 'a\0.ply',
                 '../in.ply'):
        with pytest.raises(InputError, match='scene_file is'):
            checked_path(str(inside), name)


# -- parameters -----------------------------------------------------------------------------------


def test_what_may_change_while_running_does(lab):
    lab.streams('one')
    done = lab.set('one', budget__update_hz=5.0, key_interval=2, points_min_opacity=0.5)
    assert done.successful, done.reason
    node = lab.nodes['one']
    assert node.work.pipeline.config.key_interval == 2
    assert node.work.settings.points_min_opacity == 0.5
    first = lab.streams('one').key_sequence
    lab.until('one', lambda s: s.key_sequence > first)  # a key by the schedule
    assert lab.set('one', budget__update_hz=0, key_interval=0).successful  # a whole number will do
    assert node.work.pipeline.config.budget.update_hz == 0.0


def test_what_cannot_be_is_refused_with_the_reason_and_changes_nothing(lab):
    node = lab.nodes['one']
    before = node.settings, node.config
    for values, reason in (
            ({'key_interval': 3, 'width': 48}, 'width'), ({'key_interval': -1}, 'key_interval'),
            ({'points_min_opacity': 1.5}, 'points_min_opacity'),
            ({'view_pose': 'over there'}, "view_pose is 'over there'; expected seven numbers"),
            ({'budget__view_hz': float('nan')}, 'budget.view_hz'),
            ({'key_interval': 'five'}, 'key_interval'), ({'view_camera': 'c'}, 'view_camera')):
        refused = lab.set('one', **values)
        assert not refused.successful and reason in refused.reason, (values, refused.reason)
    assert (node.settings, node.config) == before
    assert node.get_parameter('key_interval').value == node.config.key_interval


def test_the_view_moves_by_parameter(lab):
    lab.streams('one')
    assert lab.set('one', view_camera='cam03', view_width=64).successful
    views = lab.client.collect(Image, '/one/igs/view/image', 1)
    assert lab.client.until(lambda: views and views[-1].width == 64)
    camera = lab.nodes['one'].work._views.cameras['view'].camera
    assert np.allclose(camera.center, lab.nodes['one'].work._rig['cam03'].center)


def test_descriptors_say_what_may_change(lab):
    names = ['key_interval', 'width', 'rig_file', 'points_rate_hz']
    found = lab.call(DescribeParameters, '/one/igs/describe_parameters', names=names).descriptors
    assert [one.read_only for one in found] == [False, True, True, False]


# -- transitions ----------------------------------------------------------------------------------


def test_deactivate_keeps_the_scene_and_cleanup_forgets_it(lab):
    before = lab.streams('one')
    node, client = lab.nodes['one'], lab.client.node
    assert lab.change('one', To.TRANSITION_DEACTIVATE) == (True, State.PRIMARY_STATE_INACTIVE)
    lab.client.spin(0.5)
    last = lab.statuses['one'][-1]
    assert last.state == SceneStatus.HOLDING and 'inactive' in last.message
    assert not any(output.thread._thread.is_alive() for output in node.work._outputs)
    assert client.count_subscribers('/one/cam00/image_raw/compressed') == 0
    assert lab.trigger('one', 'pause').success and lab.trigger('one', 'resume').success

    assert lab.change('one', To.TRANSITION_ACTIVATE) == (True, State.PRIMARY_STATE_ACTIVE)
    after = lab.streams('one')
    assert after.scene_id == before.scene_id

    lab.change('one', To.TRANSITION_DEACTIVATE)
    publishers = client.count_publishers('/one/igs/points')
    assert lab.change('one', To.TRANSITION_CLEANUP) == (True, State.PRIMARY_STATE_UNCONFIGURED)
    assert node.work is None and publishers == 1
    assert lab.client.until(lambda: client.count_publishers('/one/igs/points') == 0)
    refused = lab.trigger('one', 'pause')
    assert not refused.success
    assert refused.message.startswith('/one/igs is unconfigured; expected active')

    assert lab.change('one', To.TRANSITION_CONFIGURE) == (True, State.PRIMARY_STATE_INACTIVE)
    refused = lab.trigger('one', 'reset')
    assert not refused.success and 'calibrations' in refused.message
    assert lab.change('one', To.TRANSITION_ACTIVATE) == (True, State.PRIMARY_STATE_ACTIVE)
    assert lab.streams('one').scene_id != before.scene_id
    assert client.count_publishers('/one/igs/points') == 1


def test_a_failed_configure_leaves_the_node_unconfigured(lab, tmp_path, begun):
    missing = tmp_path / 'rig.json'
    node = lab.add('late', f'rig_file:={missing}', *begun[0][1:], start=False)
    entities = [len(found) for found, _ in node._entities()]
    assert lab.change('late', To.TRANSITION_CONFIGURE) == (False, State.PRIMARY_STATE_UNCONFIGURED)
    assert [len(found) for found, _ in node._entities()] == entities and node.work is None
    # it is put right, and tried again
    missing.write_text(open(begun[0][0].split(':=')[1]).read())
    assert lab.change('late', To.TRANSITION_CONFIGURE) == (True, State.PRIMARY_STATE_INACTIVE)
    assert lab.change('late', To.TRANSITION_INACTIVE_SHUTDOWN) == (
        True, State.PRIMARY_STATE_FINALIZED)
    assert node.work is None


def test_an_error_of_the_program_in_a_transition_is_logged_and_begins_anew(lab, begun):
    node = lab.add('broken', *begun[0], start=False)
    make, node.make_work = node.make_work, lambda: 1 / 0
    assert lab.change('broken', To.TRANSITION_CONFIGURE) == (
        False, State.PRIMARY_STATE_UNCONFIGURED)
    node.make_work = make
    assert lab.change('broken', To.TRANSITION_CONFIGURE) == (True, State.PRIMARY_STATE_INACTIVE)


def test_start_raises_what_is_wrong(ros):
    node = ReconstructNode()
    with pytest.raises(InputError, match='rig_file and cameras are both empty'):
        node.start()
    assert node.state == 'unconfigured'
    node.destroy_node()


def test_qos_is_overridden_by_parameters(ros, begun):
    prefix = 'qos_overrides./q'
    overrides = {f'{prefix}/igs/points.publisher.reliability': 'best_effort',
                 f'{prefix}/cam00/image_raw/compressed.subscription.depth': 7}
    node = ReconstructNode(
        namespace='q',
        cli_args=['--ros-args', *(part for one in begun[0] for part in ('-p', one))],
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()])
    try:
        for _ in range(2):  # also when it is configured again
            node.start()
            points, = (one for one in node.publishers if one.topic_name == '/q/igs/points')
            cameras = {one.topic_name: one.qos_profile.depth for one in node.subscriptions}
            assert points.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            assert cameras['/q/cam00/image_raw/compressed'] == 7
            assert cameras['/q/cam01/image_raw/compressed'] == 4
            node.trigger_deactivate()
            node.trigger_cleanup()
    finally:
        node.close()
        node.destroy_node()


# -- several in one process -----------------------------------------------------------------------


def test_two_nodes_in_one_process(lab, begun):
    lab.add('two', *begun[0])
    ids = {lab.streams(name).scene_id for name in ('one', 'two')}
    assert len(ids) == 2
    assert lab.trigger('two', 'pause').success
    paused = lab.until('two', lambda s: s.state == SceneStatus.HOLDING)
    assert 'paused' in paused.message and 'paused' not in lab.streams('one').message
    lines = {name: lines_of(lab.nodes[name]) for name in ('one', 'two')}
    lab.trigger('two', 'reset')
    lab.trigger('two', 'resume')
    lab.until('two', lambda s: s.state == SceneStatus.STREAMING and s.scene_id not in ids)
    assert any(line.startswith('first scene of') for line in lines['two'])
    assert not any(line.startswith('first scene of') for line in lines['one'])
    lab.nodes['two'].work.close()
    assert not logging.getLogger('igs_ros').propagate  # the log is still taken by the other


def lines_of(node):
    """What the core logs in the name of a node, from now on."""
    lines, handler = [], node.work._handler

    class Lines:
        def info(self, text):
            lines.append(text)
        error = warning = info
    handler._ros = Lines()
    return lines
