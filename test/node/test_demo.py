# SPDX-License-Identifier: Apache-2.0
"""`igs demo` as a user starts it: three real processes, files that open, honest counts."""
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import av
import pytest

from igs_ros.io.results import validate_results
from igs_ros.node.environment import own_wheels

# What people who use ROS have in their shells, and a home as containers have it.
DOCTORED = {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp', 'ROS_DISTRO': 'humble',
            'AMENT_PREFIX_PATH': '/opt/ros/humble', 'HOME': '/dev/null'}
TINY = ['--max-gaussians', '1500', '--bootstrap-iterations', '20', '--refine-iterations', '5',
        '--threads', '1']


@pytest.mark.slow
def test_demo_scores_the_unseen_camera_in_a_shell_of_another_ros(workbench, tmp_path):
    recording = tmp_path / 'small'
    recording.mkdir()
    rig = json.loads((workbench / 'rig.json').read_text())
    for camera in rig['cameras']:
        camera['video'] = str(workbench / camera['video'])
    (recording / 'rig.json').write_text(json.dumps(rig))
    out = tmp_path / 'out'
    doctored = DOCTORED if own_wheels() else {}  # of a sourced ROS, some of it is true
    ended = subprocess.run(
        [sys.executable, '-m', 'igs_ros.apps.cli.main', 'demo', '--out', str(out), '--data',
         str(recording), *TINY], capture_output=True, text=True, timeout=400,
        env=os.environ | doctored)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    if doctored:
        for said in ('RMW_IMPLEMENTATION=rmw_cyclonedds_cpp is not', 'ROS logs to '):
            assert ended.stderr.count(said) == 1, ended.stderr[-4000:]
    results = json.loads((out / 'results.json').read_text())
    assert results['scene'] == 'workbench' and 'workbench: camera cam02' in ended.stdout
    validate_results(results)
    summary, live, first = results['summary'], results['live'], results['bootstrap']
    assert summary['frames_scored'] == len(results['frames']) >= 15
    assert summary['frames_scored'] + len(live['unscored']) == live['frames_total'] == 19
    assert all(row['cause'] for row in live['unscored'])
    # 20 iterations are a poor scene, but the views are of the right camera at the right time
    assert summary['psnr'] > 14 and first['psnr_test'] > 15
    assert first['method'] == 'images' and first['seconds'] > 0 and 0 < first['gaussians'] <= 1500
    assert 0 < live['latency_s']['p50'] <= live['latency_s']['p95'] < 60
    assert len(live['arrivals']) == len(results['frames'])
    frames = results['frames']
    assert all(frame['step_s'] == frame['motion_s'] > 0 for frame in frames)
    assert sum(frame['render_s'] > 0 for frame in frames) > 10
    assert all((frame['refine_s'] > 0) == (frame['kind'] == 'key') for frame in frames)
    with av.open(str(out / 'video.mp4')) as video:
        assert video.streams.video[0].codec_context.pix_fmt == 'yuv420p'
    for name in ('contact.png', 'quality.png'):
        assert (out / name).stat().st_size > 1000
    assert 'latency' in ended.stdout and 'drops by cause' in ended.stdout


def node_module():
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    from igs_ros.node import demo
    return demo


@pytest.fixture
def shell(monkeypatch):
    """The environment as `own_middleware` finds it; what it changes is undone."""
    for name in ('ROS_DOMAIN_ID', 'IGS_DEMO_DOMAIN', 'ROS_AUTOMATIC_DISCOVERY_RANGE',
                 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'ROS_DISTRO'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    return monkeypatch


def test_the_domain_is_the_demos_own(shell):
    middleware = node_module().own_middleware
    shell.setenv('ROS_DOMAIN_ID', '7')  # of a robot
    middleware()
    assert os.environ['ROS_DOMAIN_ID'] == str(60 + os.getpid() % 40)
    shell.setenv('IGS_DEMO_DOMAIN', '42')
    middleware()
    assert os.environ['ROS_DOMAIN_ID'] == '42'


@pytest.mark.parametrize('arguments, words', [
    ({'reconstruct': [], 'play': ['{data}', '--cameras', 'cam01']},
     'the node ended with code 1 while the recording played'),
    ({'reconstruct': ['--ros-args', '-p', 'rig_file:={data}/rig.json'], 'play': ['nowhere']},
     'the player ended with code 2'),
])
def test_who_died_is_named(workbench, arguments, words):
    node_module()
    # in a process of its own: rclpy is initialized once
    code = ('import json, sys; from igs_ros.node import demo; '
            'from igs_ros.node.options import DemoOptions; '
            'print(demo._played(DemoOptions(timeout=60.0), json.loads(sys.argv[1]), 3)[1])')
    given = {name: [part.format(data=workbench) for part in parts]
             for name, parts in arguments.items()}
    ended = subprocess.run([sys.executable, '-c', code, json.dumps(given)], capture_output=True,
                           text=True, timeout=90)
    assert words in ended.stdout and 'Traceback' not in ended.stderr, ended.stderr


def test_nothing_to_score_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '42')
    demo = node_module()
    from igs_ros.msg import SceneStatus
    from igs_ros.node.observer import Processed, Seen
    table = tmp_path / 'stamps.json'
    watched = SimpleNamespace(status=None, processed={}, views={})
    assert 'player left no' in demo._nothing_to_score(watched, table)
    table.write_text('{}')
    assert 'no message came on /igs/status in ROS domain 42' in demo._nothing_to_score(
        watched, table)
    watched.status = SceneStatus(message='waiting for calibrations')
    assert 'never said that it shows a scene (waiting for cal' in demo._nothing_to_score(
        watched, table)
    watched.processed = {1: Processed('candidate', 0.1, 0.0, 5)}
    assert 'no view came on /igs/view/image' in demo._nothing_to_score(watched, table)
    watched.views = {1: Seen(rgb='a picture')}
    assert demo._nothing_to_score(watched, table) == ''
