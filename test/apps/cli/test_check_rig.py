# SPDX-License-Identifier: Apache-2.0
"""`igs check --rig`: what it says of bags, held against how these were made; its files."""
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from igs_ros.apps.cli.main import main
from igs_ros.core.camera import Camera

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'io' / 'recordings'))
from bag_files import START_NS, camera_messages, raw, static_transforms, write_bag  # noqa: E402
from recording_files import HEIGHT, WIDTH, K, frame_picture, pose  # noqa: E402

CAMERAS = {f'cam{n:02d}': Camera(f'cam{n:02d}', WIDTH, HEIGHT, np.array(K), pose(n))
           for n in range(3)}


def check(capsys, monkeypatch, *arguments):
    monkeypatch.setenv('COLUMNS', '200')
    with pytest.raises(SystemExit) as caught:
        main(['check', '--rig', *map(str, arguments)])
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


def row(text, name):
    """The cells of the last row that begins with `name`."""
    rows = [re.split(r'\s*│\s*', line.strip('│ \n')) for line in text.splitlines()
            if line.startswith(f'│ {name} ')]
    return rows[-1]


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
    assert code == 0
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


def test_other_recordings(capsys, monkeypatch, workbench, tmp_path):
    code, text = check(capsys, monkeypatch, workbench)
    assert code == 0 and row(text, 'cam00')[1] == '480x360' and 'held out: cam02' in text
    code, text = check(capsys, monkeypatch, tmp_path)
    assert code == 2 and 'no recording that can be read here' in text
