# SPDX-License-Identifier: Apache-2.0
"""The examples run as they stand, on small settings; those with ROS in test/node."""
import re
import subprocess
import sys
from pathlib import Path

import charuco_world
import cv2
import numpy as np
import pytest
from PIL import Image

import igs_ros
from igs_ros.io.recordings.rig import read_rig

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / 'examples').glob('*.py'))
pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, workbench):
    """run(name, *arguments): what an example prints, run in `tmp_path`."""
    (tmp_path / 'recordings').symlink_to(workbench.parent)

    def start(name, *arguments):
        done = subprocess.run([sys.executable, ROOT / 'examples' / name, *map(str, arguments)],
                              cwd=tmp_path, text=True, capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout
    return start


def test_every_example_says_how_to_run_it_and_is_tested():
    assert [path.name[:3] for path in EXAMPLES] == [f'{i:02d}_' for i in range(len(EXAMPLES))]
    tests = Path(__file__).read_text() + (ROOT / 'test/node/test_examples.py').read_text()
    for path in EXAMPLES:
        assert f'python examples/{path.name}' in path.read_text().split('"""')[1], path.name
        assert f"'{path.name}'" in tests, path.name


def test_hello(run, tmp_path):
    lines = (ROOT / 'examples' / '00_hello.py').read_text().split('"""')[2].strip().splitlines()
    assert len([line for line in lines if line]) <= 10
    said = run('00_hello.py')
    assert int(said.split()[0]) > 1000
    picture = np.asarray(Image.open(tmp_path / 'hello.png'))
    recording = igs_ros.open_recording(tmp_path / 'recordings' / 'workbench')
    truth = next(recording.frame_sets(0, 1, cameras=['cam02'])).pictures['cam02'].decode()
    truth = np.asarray(Image.fromarray(truth).resize((160, 120), Image.Resampling.BOX))
    error = np.mean((picture / 255 - truth / 255) ** 2)
    assert picture.shape == (120, 160, 3) and -10 * np.log10(error) > 17  # a gray one has 12


def test_reconstruct(run, tmp_path):
    said = run('01_reconstruct.py', 'recordings/workbench', '--frames', 4, '--width', 96,
               '--iterations', 40, '--out', 'new.ply')
    found = re.findall(r'frame (\d): (\w+) +([\d.]+) dB, (\d+) Gaussians, (\d+) moved', said)
    assert [kind for _, kind, *_ in found] == ['first', 'candidate', 'candidate', 'key']
    assert all(float(score) > 14 for _, _, score, *_ in found)  # a gray picture has 12
    assert int(found[1][4]) > 0  # geometric motion
    assert len(igs_ros.load_ply(tmp_path / 'new.ply')) == int(found[-1][3])


def test_live_numpy(run, tmp_path):
    said = run('02_live_numpy.py', '--updates', 2, '--iterations', 40)
    scores = [float(score) for score in re.findall(r'STREAMING: .* ([\d.]+) dB', said)]
    assert 'BOOTSTRAP: ' in said and scores and max(scores) > 17  # the mean color has 9
    both = np.asarray(Image.open(tmp_path / 'live.png'))
    assert both.shape == (180, 480, 3)
    error = np.mean((both[:, :240] / 255 - both[:, 240:] / 255) ** 2)
    assert -10 * np.log10(error) > 14


def test_motion_model(run):
    said = run('05_motion_model.py', '--width', 160, '--iterations', 60)
    found = dict(re.findall(r'(static|belt): (\d+ Gaussians moved, [\d.]+) dB', said))
    moved, scores = zip(*(text.split(' Gaussians moved, ') for text in
                          (found['static'], found['belt'])), strict=True)
    assert int(moved[0]) == 0 and int(moved[1]) > 20
    assert float(scores[1]) > float(scores[0]) + 0.5


@pytest.mark.skipif(not hasattr(cv2.aruco, 'CharucoDetector'), reason='OpenCV before 4.7')
def test_a_rig_calibrated_by_a_board_is_the_rig(run, tmp_path):
    rig = [charuco_world.looking_at(name, place, (0, 0, 0.1), focal) for name, place, focal in (
        ('left', (-0.6, -0.9, 0.9), 500.0), ('right', (0.6, -0.9, 0.9), 520.0),
        ('top', (0.0, -0.3, 1.3), 480.0), ('back', (0.3, 0.9, 1.0), 510.0))]
    boards = charuco_world.boards_for(rig)
    charuco_world.write_shots(tmp_path, rig, boards)
    said = run('07_calibrate_charuco.py', *(camera.name for camera in rig))
    assert 'rig.json: 4 cameras' in said
    found = read_rig(tmp_path / 'rig.json')
    board = boards[0]  # the world, z up: it lies on the floor
    places = np.random.default_rng(0).uniform([-0.3, -0.3, 0], [0.3, 0.3, 0.4], (200, 3))
    for true in rig:
        made = found[true.name]
        assert (made.width, made.height) == (640, 480)
        # what one parameter has wrong others make up for: where points are seen is what counts
        np.testing.assert_allclose(made.K, true.K, atol=5.0)  # px
        seen = charuco_world.pixels(true, places)
        off = charuco_world.pixels(made, (places - board[:3, 3]) @ board[:3, :3]) - seen
        assert np.median(np.linalg.norm(off, axis=1)) < 1.0, true.name
