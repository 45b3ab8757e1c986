# SPDX-License-Identifier: Apache-2.0
"""Levels from both sides of each threshold, every drop once, and the same with diagnostic_updater.

All of it once more through diagnostic_updater, where that is installed.
"""
import importlib.util
import math
import sys
from dataclasses import replace

import pytest

from igs_ros.core.status import State, Status
from igs_ros.core.timing import StageTime
from igs_ros.live.camera_watch import CameraReport, CameraState
from igs_ros.live.set_watch import SetReport

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402

from igs_ros.node import diagnostics  # noqa: E402
from igs_ros.node.diagnostics import ERROR, OK, STALE, WARN, Known  # noqa: E402
from igs_ros.node.params import NodeConfig  # noqa: E402

NAN = math.nan
STREAMING = Status(State.STREAMING, scene_age_s=0.4, sequence=9, scene_id=5, gaussians=1234,
                   levels={'motion': 2, 'view': 0}, reduced='motion: flow at 0.71', rss_mb=812.0,
                   stages={'update/motion': StageTime(9, 0.2, 0.3, 0.5, 0.31, 0.42, 0.49)},
                   cameras_expected=3, cameras_in_last_set=3)
SETS = SetReport(100, 2, 0.1, 9.9, 0.004, 0.012)


def camera(name, state=CameraState.OK, message='', **values):
    one = CameraReport(name, f'/lab/{name}/image', state, message, 0.05, 10.0, 0.001, 300, 290, 3,
                       4, 0, '', NAN, 0.004)
    return replace(one, **values)


def known(*cameras, status=STREAMING, sets=SETS, drops=None):
    cameras = cameras or tuple(map(camera, 'abc'))
    return Known(status, drops or {}, {one.name: one for one in cameras}, sets)


INSTALLED = importlib.util.find_spec('diagnostic_updater') is not None


@pytest.fixture(params=['plain', 'diagnostic_updater'] if INSTALLED else ['plain'])
def made(request, ros, monkeypatch):
    """make(settings) -> diagnostics of a node that is never spun."""
    if request.param == 'plain':
        monkeypatch.setitem(sys.modules, 'diagnostic_updater', None)
    nodes = []

    def make(settings=None, **options):
        nodes.append(ros.create_node('igs', **options))
        return diagnostics.Diagnostics(nodes[-1], settings or NodeConfig(), lambda: None)
    yield make
    for node in nodes:
        node.destroy_node()


def told(one, *moments):
    """What is published of the last of `moments`, by name without the node's."""
    published = []
    publisher = one._updater.__dict__.get('_publisher') or one._updater.publisher
    send, publisher.publish = publisher.publish, published.append
    try:
        for moment in moments:
            one._look = lambda moment=moment: moment
            assert one._run_once() == 1.0
    finally:
        publisher.publish = send
    return {status.name.removeprefix('igs: '): status for status in published[-1].status}


def values(status):
    return {pair.key: pair.value for pair in status.values}


# -- what is said -----------------------------------------------------------------------------


def test_all_is_well(made):
    found = told(made(), known())
    assert sorted(found) == ['camera a', 'camera b', 'camera c', 'frame sets', 'scene']
    assert {status.level for status in found.values()} == {OK}
    one = found['camera a']
    assert one.hardware_id == 'a' and one.message == '/lab/a/image: 10.0 pictures per second'
    assert values(one) == {
        'topic': '/lab/a/image', 'state': 'OK', 'rate (Hz)': '10', 'age (s)': '0.05',
        'jitter (s)': '0.004', 'offset to the other cameras (s)': '0.001', 'received': '300',
        'used': '290', 'share lost lately': '0', 'last error': '', 'last error age (s)': 'nan'}
    sets = found['frame sets']
    assert sets.message == '9.9 frame sets per second of /lab/a/image and 2 more'
    assert values(sets)['complete'] == '100' and values(sets)['partial'] == '2'
    assert values(sets)['largest spread (s)'] == '0.012'
    scene = found['scene']
    assert scene.message == ('/igs/gaussians: 1234 Gaussians, 0.40 s old '
                             '(reduced: motion: flow at 0.71)')
    assert values(scene).items() >= {
        'scene age (s)': '0.4', 'Gaussians': '1234', 'resident memory (MB)': '812',
        'motion: rungs below full effort': '2', 'update/motion p95 (s)': '0.42'}.items()


@pytest.mark.parametrize('state, level', [
    (CameraState.NEVER_SEEN, STALE), (CameraState.SILENT, STALE), (CameraState.REFUSED, ERROR),
    (CameraState.UNDECODABLE, ERROR), (CameraState.OUT_OF_TIME, ERROR),
    (CameraState.IMPLAUSIBLE, WARN)])
def test_a_camera_with_a_fault(made, state, level):
    found = told(made(), known(camera('a', state, 'so it is', age_s=NAN), camera('b')))
    assert found['camera a'].level == level and found['camera b'].level == OK
    assert found['camera a'].message.startswith('/lab/a/image: so it is')
    assert found['frame sets'].message.endswith('look at /lab/a/image')
    assert values(found['camera a'])['state'] == state.name


@pytest.mark.parametrize('fine, doubtful, words', [
    ({'age_s': 2.0}, {'age_s': 2.1}, 'last picture 2.1 s ago'),
    ({'rate_hz': 8.0}, {'rate_hz': 7.9}, '7.9 pictures per second, expected 8.0'),
    ({'jitter_s': 0.1}, {'jitter_s': 0.101}, 'jitter of 0.101 s'),
    ({'offset_s': -0.03}, {'offset_s': -0.031}, '-0.031 s off')])
def test_thresholds_of_cameras(made, fine, doubtful, words):
    one = made()
    others = (camera('b'), camera('c'))
    assert told(one, known(camera('a', **fine), *others))['camera a'].level == OK
    found = told(one, known(camera('a', **doubtful), *others))
    assert found['camera a'].level == WARN and words in found['camera a'].message
    assert found['camera b'].level == OK
    # what has a fault already is not told twice, but doubts join what is only implausible
    found = told(one, known(camera('a', CameraState.SILENT, 'gone', **doubtful), *others))
    assert found['camera a'].message == '/lab/a/image: gone'
    found = told(one, known(camera('a', CameraState.IMPLAUSIBLE, 'dark', **doubtful), *others))
    assert 'dark; ' in found['camera a'].message and words in found['camera a'].message


def test_a_rate_of_ones_own(made):
    limits = replace(NodeConfig().diagnostics, min_rate_hz=15.0)
    found = told(made(NodeConfig(diagnostics=limits)), known())
    assert {found[f'camera {name}'].level for name in 'abc'} == {WARN}


def test_a_silent_camera_does_not_lower_what_is_expected(made):
    slow = [camera(name, CameraState.SILENT, 'gone', rate_hz=1.0) for name in 'bc']
    found = told(made(), known(camera('a'), camera('d', rate_hz=5.0), *slow))
    assert found['camera a'].level == OK and found['camera d'].level == WARN


def test_what_is_of_no_use_is_a_share_of_the_newest(made):
    one, drops = made(), {'late:a': 12, 'missing:a': 30, 'late:b': 1}

    def moment(received, unmatched):
        return known(camera('a', received=received, unmatched=unmatched, refused=0),
                     camera('b'), drops=drops)
    found = told(one, moment(100, 90), moment(200, 100))
    assert found['camera a'].level == OK
    assert values(found['camera a'])['share lost lately'] == '0.1'
    found = told(one, moment(300, 130))  # 40 of 200
    assert found['camera a'].level == WARN
    assert '20% of its pictures are of no use, expected at most 10%: drops late 12' \
        in found['camera a'].message
    # ten reports later what was lost is forgotten
    found = told(one, *(moment(400 + 10 * number, 130) for number in range(11)))
    assert found['camera a'].level == OK


@pytest.mark.parametrize('sets, level, words', [
    (SetReport(), STALE, 'no frame set yet of /lab/a/image and 2 more'),
    (replace(SETS, age_s=2.0), OK, '9.9 frame sets'),
    (replace(SETS, age_s=2.1), WARN, 'came 2.1 s ago'),
    (replace(SETS, age_s=5.0), WARN, 'came 5.0 s ago'),
    (replace(SETS, age_s=5.1), STALE, 'no frame set for 5.1 s'),
    (replace(SETS, complete=190, partial=12), OK, ''),
    (replace(SETS, complete=189, partial=13), WARN, '11% of the frame sets lack a camera')])
def test_frame_sets(made, sets, level, words):
    found = told(made(), known(), known(sets=sets))['frame sets']
    assert found.level == level and words in found.message


@pytest.mark.parametrize('changes, level, words', [
    ({'scene_age_s': 2.0}, OK, 'Gaussians'), ({'scene_age_s': 2.1}, WARN, 'is 2.1 s old'),
    ({'state': State.WAITING, 'message': 'for cameras', 'sequence': 0}, WARN, 'for cameras'),
    ({'state': State.BOOTSTRAP, 'message': 'half', 'sequence': 0}, WARN, 'half'),
    ({'state': State.HOLDING, 'message': 'dark'}, WARN, 'dark'),
    ({'state': State.STALLED, 'message': 'stuck', 'scene_age_s': 9.0}, STALE, 'stuck'),
    ({'state': State.FAILED, 'message': 'dead'}, ERROR, 'dead')])
def test_the_scene(made, changes, level, words):
    found = told(made(), known(status=replace(STREAMING, **changes)))['scene']
    assert found.level == level and words in found.message
    assert found.message.startswith('/igs/gaussians: ')
    assert (values(found)['scene age (s)'] == 'nan') == (changes.get('sequence') == 0)


def test_every_drop_is_told_once(made):
    causes = ['superseded', 'late:a', 'late:b', 'missing:a', 'bad_pose:view', 'key_void',
              'internal_error:node', 'before_calibration', 'polish_discarded', 'held']
    drops = {cause: 100 + number for number, cause in enumerate(causes)}
    inside = {cause: drops.pop(cause) for cause in ('key_void', 'held', 'late:b')}
    found = told(made(), known(status=replace(STREAMING, drops=inside), drops=drops))
    shown = [value for status in found.values() for key, value in values(status).items()
             if key.startswith(('drops ', 'missing ')) and value != '0']
    assert sorted(shown) == [str(100 + number) for number in range(len(causes))]
    assert values(found['camera a'])['drops late'] == '101'
    assert values(found['scene'])['drops bad_pose:view'] == '104'
    assert values(found['frame sets'])['missing a'] == '103'


def test_cameras_come_and_go(made):
    one = made()
    assert 'camera d' in told(one, known(), known(camera('d')))
    assert sorted(told(one, known(camera('d')))) == ['camera d', 'frame sets', 'scene']


# -- with and without diagnostic_updater ------------------------------------------------------


def test_it_is_published_with_the_clock_of_the_node(made, listener):
    one = made()
    arrays = listener.collect(DiagnosticArray, '/diagnostics')
    one._look = known
    one.thread.start()
    try:
        # nobody spins the node; diagnostic_updater begins with a message for each new name
        assert listener.until(lambda: sum(len(array.status) > 1 for array in arrays) > 1)
    finally:
        one.thread.stop()
    last = arrays[-1]
    assert sorted(status.name for status in last.status) == [
        'igs: camera a', 'igs: camera b', 'igs: camera c', 'igs: frame sets', 'igs: scene']
    age_ns = listener.node.get_clock().now().nanoseconds - (
        last.header.stamp.sec * 10 ** 9 + last.header.stamp.nanosec)
    assert 0 <= age_ns < 3600e9


def test_period_and_full_names_are_the_parameters_of_diagnostic_updater(made, ros):
    overrides = [ros.Parameter('diagnostic_updater.period', value=0.25),
                 ros.Parameter('diagnostic_updater.use_fqn', value=True)]
    one = made(namespace='lab', parameter_overrides=overrides)
    assert one._updater.period == 0.25
    one._look = known
    published = []
    publisher = one._updater.__dict__.get('_publisher') or one._updater.publisher
    publisher.publish = published.append
    assert one._run_once() == 0.25
    assert '/lab/igs: scene' in {status.name for status in published[-1].status}


@pytest.mark.skipif(not INSTALLED, reason='diagnostic_updater is not installed (no wheel)')
def test_both_publish_the_same(ros, monkeypatch):
    moment = known(camera('a', CameraState.SILENT, 'gone'), camera('b'))
    both = []
    for plain in (False, True):
        if plain:
            monkeypatch.setitem(sys.modules, 'diagnostic_updater', None)
        node = ros.create_node('igs')
        both.append(told(diagnostics.Diagnostics(node, NodeConfig(), lambda: None), moment))
        node.destroy_node()
    assert both[0] == both[1] and len(both[0]) == 4
