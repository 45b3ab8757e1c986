# SPDX-License-Identifier: Apache-2.0
"""`igs import` on the command line: what it says, what it writes, and how it ends."""
import json
import sys
from pathlib import Path

import pytest

IO = Path(__file__).parents[2] / 'io'
sys.path[:0] = [str(IO / 'imports'), str(IO / 'recordings')]
import rig_files  # noqa: E402
from recording_files import rig_entry, write_rig, write_video  # noqa: E402

from igs_ros.apps.cli.main import main  # noqa: E402
from igs_ros.io.recordings.open import open_recording  # noqa: E402


def run(*arguments):
    with pytest.raises(SystemExit) as raised:
        main(['import', *map(str, arguments)])
    return raised.value.code


@pytest.fixture
def project(tmp_path):
    """A project of Pose2Sim with videos of 30 and 15 Hz."""
    rig_files.pose2sim(tmp_path)
    (tmp_path / 'videos').mkdir()
    for number, name in enumerate(rig_files.NAMES):
        fps = 15 if number == 2 else 30
        write_video(tmp_path / 'videos' / f'{name}.mp4', number, fps // 5, fps=fps)
    return tmp_path


def test_it_says_what_it_took_and_what_it_wrote_opens(project, tmp_path, capsys):
    out = tmp_path / 'out'
    # 0: as good as such pictures can tell; 3: cannot tell
    assert run(project, '--out', out, '--offset', 'cam01=0.0333333', '--held-out', 'cam00',
               '--frame-step', '2') in (0, 1, 3)
    said = capsys.readouterr().out
    assert 'Pose2Sim' in said and f'written: {out}' in said
    assert "poses: world-to-camera, OpenCV's camera axes (x right, y down, z forward)" in said
    assert 'units: m; else --units' in said and 'cameras: 3; neighbors stand ' in said
    recording = open_recording(out)
    assert recording.held_out == ('cam00',) and recording.stamps_ns is not None
    assert abs(recording.rate_hz - 15) < 0.1
    rig = json.loads((out / 'rig.json').read_text())
    assert rig['cameras'][1]['offset_s'] == 0.0333333 and rig['frame_step'] == 2
    assert rig['cameras'][0]['video'] == '../videos/cam00.mp4'


@pytest.mark.parametrize('arguments, words', [
    (('a', 'b', 'c'), 'igs import a b c: expected [FORMAT] SOURCE, with one of nerfstudio'),
    (('PROJECT', '--units', 'feet'), "--units 'feet': expected m, cm, mm, in, ft"),
    (('PROJECT', '--held-out', 'cam09'), '--held-out cam09: no such camera; expected one of cam'),
    (('PROJECT', '--offset', 'cam09=1'), "--offset 'cam09=1': no camera 'cam09'"),
    (('PROJECT', '--fps', '0.0000001'), '--fps 1e-07: expected 0.001 to 100000'),
])
def test_one_line_says_what_is_wrong(project, tmp_path, capsys, arguments, words):
    arguments = [project if one == 'PROJECT' else one for one in arguments]
    assert run(*arguments, '--out', tmp_path / 'out') == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('igs: ') and words in error and '\n' not in error
    assert not (tmp_path / 'out' / 'rig.json').exists()


def test_a_recording_of_ones_own_is_not_written_over(project, tmp_path, capsys):
    (tmp_path / 'own').mkdir()
    write_rig(tmp_path / 'own', [rig_entry(0)])
    assert run(project, '--out', tmp_path / 'own') == 2
    assert 'is there already, and was not imported' in capsys.readouterr().err
