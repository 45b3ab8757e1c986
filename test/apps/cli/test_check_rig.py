# SPDX-License-Identifier: Apache-2.0
"""`igs check --rig`: what it says of bags, held against how these were made; its files."""
import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rig_faults import angle_between, turned

from igs_ros.apps.cli.main import main
from igs_ros.core.camera import Camera
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.rig import read_rig

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'io' / 'recordings'))
from bag_files import START_NS, camera_messages, raw, static_transforms, write_bag  # noqa: E402
from recording_files import HEIGHT, WIDTH, K, frame_picture, pose  # noqa: E402

CAMERAS = {f'cam{n:02d}': Camera(f'cam{n:02d}', WIDTH, HEIGHT, np.array(K), pose(n))
           for n in range(3)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Files go to the current folder, if none is named."""
    monkeypatch.chdir(tmp_path)


def check(capsys, monkeypatch, *arguments, command=('check', '--rig')):
    monkeypatch.setenv('COLUMNS', '200')
    with pytest.raises(SystemExit) as caught:
        main([*command, *map(str, arguments)])
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


def row(text, name):
    """The cells of the first row that begins with `name`."""
    rows = [re.split(r'\s*│\s*', line.strip('│ \n')) for line in text.splitlines()
            if line.startswith(f'│ {name} ')]
    return rows[0]


def test_rates_jitter_offsets_and_what_is_no_camera(capsys, monkeypatch, tmp_path):
    """cam00 at 20 Hz, every third picture 4 ms early; cam01 6 ms after it, two pictures lost;
    cam02 without a CameraInfo.
    """
    pictures = []
    for frame in range(30):
        at = START_NS + 50_000_000 * frame - (4_000_000 if frame % 3 == 0 else 0)
        pictures += [('cam00', at, frame_picture(0, frame)), ('cam02', at, frame_picture(2, 0))]
        if frame not in (7, 12):
            pictures.append(('cam01', at + 6_000_000, frame_picture(1, frame)))
    messages = [m for m in camera_messages(CAMERAS, pictures, late_ns=8_000_000, make=raw)
                if m[0] != '/cam02/camera_info']
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS), *messages])
    code, text = check(capsys, monkeypatch, bag)
    assert code == 3 and 'cam00: cannot tell' in text  # pictures of 64x48 with a few squares
    assert row(text, '/cam01/image_raw')[1:3] == ['sensor_msgs/msg/Image', '28']
    assert row(text, '/cam01/camera_info')[-1] == 'intrinsics of cam01'
    assert row(text, '/tf_static')[-1] == 'transforms' and row(text, '/cam02/image_raw')[-1] == '-'
    _, size, rate, jitter, gap, offset, delay, missing, still = row(text, 'cam00')
    assert (size, rate, jitter, gap, delay, missing, still) == (
        '64x48', '20.00', '4.0', '54', '8.0', '0', 'still')
    assert float(offset) == -3.0  # of sets of two, whose median is in their middle
    _, _, rate, _, gap, offset, _, missing, _ = row(text, 'cam01')
    assert (rate, gap, missing, float(offset)) == ('20.00', '104', '2', 3.0)
    assert '30 frame sets, 28 of them complete, 0 left out; spread median 6.0 ms' in text
    assert '/cam02/image_raw: no CameraInfo on /cam02/camera_info; expected it beside' in text


def test_a_bag_without_a_camera(capsys, monkeypatch, tmp_path):
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS)])
    code, text = check(capsys, monkeypatch, bag)
    assert code == 1 and row(text, '/tf_static')[1] == 'tf2_msgs/msg/TFMessage'
    assert 'no camera (topics of tf2_msgs/msg/TFMessage alone); expected sensor_msgs' in text


def test_what_is_no_recording(capsys, monkeypatch, tmp_path):
    code, text = check(capsys, monkeypatch, tmp_path)
    assert code == 2 and 'no recording that can be read here' in text


def test_a_recording_that_fits(capsys, monkeypatch, workbench, tmp_path):
    code, text = check(capsys, monkeypatch, workbench)
    assert code == 0 and row(text, 'cam00')[1] == '480x360' and 'held out: cam02' in text
    assert 'the rig fits what its cameras see' in text
    report = json.loads((tmp_path / 'rig_check.json').read_text())
    assert report['verdict'] == 'good' and report['exit_code'] == 0 and report['lines'] == []
    assert len(report['pairs']) == 6 and all(pair['error_px'] < 0.3 for pair in report['pairs'])
    for camera in report['cameras'].values():
        assert camera['rate_hz'] == 30 and camera['loss'] == 0 and 4 < camera['nearest_deg'] < 9
        assert camera['confirmed'] > 0.5 and 0.97 < camera['gain'] < 1.03
        assert camera['overlap'] > 0.8
    picture = cv2.imread(str(tmp_path / 'rig_check.png'))
    assert picture is not None and picture.shape[1] > 800 and picture.std() > 10


@pytest.fixture
def tilted(workbench, tmp_path):
    """A recording whose cam01 is said to look 0.5 degrees higher; what is true, too."""
    rig = json.loads((workbench / 'rig.json').read_text())
    true = read_rig(workbench / 'rig.json')
    for entry in rig['cameras']:
        entry['video'] = str(workbench / entry['video'])
        if entry['name'] == 'cam01':
            entry['world_to_camera'] = turned(true['cam01'], 0.5, (1, 0, 0)
                                              ).camera_from_world.tolist()
    folder = tmp_path / 'tilted'
    folder.mkdir()
    (folder / 'rig.json').write_text(json.dumps(rig))
    return folder, true


def test_a_camera_that_is_wrong_is_named_and_comes_back(capsys, monkeypatch, tmp_path, tilted):
    folder, true = tilted
    code, text = check(capsys, monkeypatch, folder, '--out', tmp_path / 'report')
    assert code == 1 and 'cam01 disagrees by 3.' in text
    report = json.loads((tmp_path / 'report' / 'rig_check.json').read_text())
    assert [name for name, camera in report['cameras'].items()
            if camera['verdict'] == 'wrong'] == ['cam01']
    given = (folder / 'rig.json').read_bytes()
    out = tmp_path / 'mended' / 'rig.json'
    code, text = check(capsys, monkeypatch, folder, '--out', out, command=('calibrate',))
    assert code == 0 and re.search(r'cam01: turned by 0\.(49|50)', text)
    assert (folder / 'rig.json').read_bytes() == given
    mended = open_recording(out.parent)  # its pictures are found from there
    assert mended.held_out == ('cam02',)
    for name, camera in mended.cameras.items():
        assert angle_between(camera, true[name]) < 0.05
        assert np.linalg.norm(camera.center - true[name].center) < 0.003


def test_a_rig_that_cannot_be_judged_is_written_as_it_is(capsys, monkeypatch, tmp_path):
    bag = write_bag(tmp_path / 'bag', [static_transforms(CAMERAS), *camera_messages(
        CAMERAS, [(name, START_NS + 50_000_000 * frame, frame_picture(0, 0))
                  for frame in range(3) for name in CAMERAS], make=raw)])
    out = tmp_path / 'rig.json'
    code, text = check(capsys, monkeypatch, bag, '--out', out, command=('calibrate',))
    assert code == 3 and 'no camera changed' in text
    for name, camera in read_rig(out).items():
        assert camera.is_at(CAMERAS[name].camera_from_world) and camera.lens == 'plumb_bob'
