# SPDX-License-Identifier: Apache-2.0
"""`igs demo` as a user starts it: three real processes, files that can be opened, honest counts."""
import json
import os
import subprocess
import sys

import av
import pytest

TINY = ['--max-gaussians', '1500', '--bootstrap-iterations', '20', '--refine-iterations', '5',
        '--threads', '1']


@pytest.mark.slow
def test_demo_scores_the_unseen_camera_and_ends_by_itself(workbench, tmp_path):
    recording = tmp_path / 'small'
    recording.mkdir()
    rig = json.loads((workbench / 'rig.json').read_text())
    for camera in rig['cameras']:
        camera['video'] = str(workbench / camera['video'])
    (recording / 'rig.json').write_text(json.dumps(rig))
    out = tmp_path / 'out'
    # a domain of its own: other tests of this suite may run beside it
    environment = dict(os.environ, ROS_DOMAIN_ID='88')
    ended = subprocess.run(
        [sys.executable, '-m', 'igs_ros.cli.main', 'demo', '--out', str(out), '--data',
         str(recording), *TINY], env=environment, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    results = json.loads((out / 'results.json').read_text())
    summary = results['summary']
    assert summary['frames_scored'] >= 15
    assert summary['frames_scored'] + len(results['unscored']) == 19
    assert all(row['cause'] for row in results['unscored'])
    # 20 iterations are a poor scene, but the views are of the right camera at the right time
    assert summary['psnr'] > 14 and results['bootstrap']['psnr_test'] > 15
    assert 0 < summary['latency_s']['p50'] <= summary['latency_s']['p95'] < 60
    with av.open(str(out / 'video.mp4')) as video:
        assert video.streams.video[0].codec_context.pix_fmt == 'yuv420p'
    for name in ('contact.png', 'quality.png'):
        assert (out / name).stat().st_size > 1000
    assert 'latency' in ended.stdout and 'drops by cause' in ended.stdout
