# SPDX-License-Identifier: Apache-2.0
"""The files of a run: names that sort, nothing left of an older run, bounded memory."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.snapshot import View
from igs_ros.io.run_files import RunFiles

ROOT = Path(__file__).resolve().parents[2]


def view(width=64, height=48, level=0.5):
    camera = Camera('c', width, height, np.array([[50, 0, 32], [0, 50, 24], [0, 0, 1.0]]),
                    np.eye(4))
    depth = np.full((height, width), 2.0, np.float32)
    depth[: height // 2] = np.nan
    return View(np.full((height, width, 3), level, np.float32), depth,
                np.ones((height, width), np.float32), camera, 0)


def rows(count):
    frames = [{'index': i, 'kind': 'candidate', 'psnr': 20.0, 'psnr_moving': None, 'step_s': 0.1}
              for i in range(1, count)]
    return {'bootstrap': {'psnr_test': None}, 'frames': frames}


def content(folder):
    """Text of every file below `folder` that is text, else None."""
    def text(path):
        data = path.read_bytes()
        return data.decode() if data.isascii() else None
    return {str(path.relative_to(folder)): text(path) for path in folder.rglob('*')
            if path.is_file()}


OLD = '{"scene": "old", "bootstrap": {}, "frames": []}'


@pytest.fixture
def complete(tmp_path):
    """A folder with the files of a complete run, and the user's own beside them."""
    for name in ('renders/first_scene.png', 'renders/frame_0099.png', 'renders/mine.png',
                 'renders/frame_1.png', 'final.ply', 'video.mp4', 'notes.txt',
                 'previous_run/mine'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('old')
    (tmp_path / 'results.json').write_text(OLD)
    return tmp_path


USERS = {'renders/mine.png': 'old', 'renders/frame_1.png': 'old', 'notes.txt': 'old',
         'previous_run/mine': 'old'}
KEPT = {'previous_run/results.json': OLD, 'previous_run/final.ply': 'old',
        'previous_run/video.mp4': 'old', 'previous_run/renders/first_scene.png': 'old',
        'previous_run/renders/frame_0099.png': 'old'}


def test_an_older_run_is_kept_whole_until_the_next_is_complete(complete, results, caplog):
    before = content(complete)
    files = RunFiles(complete, 10.0)
    files.abandon()
    assert content(complete) == before, 'no picture, no change'
    for attempt in range(2):
        files = RunFiles(complete, 10.0)
        files.add(f'frame {attempt}', view(), None)
        files.abandon()
        assert content(complete) == {**USERS, **KEPT, f'renders/frame_000{attempt}.png': None}
        assert 'first 1 pictures; previous_run has the run before' in caplog.text
    files = RunFiles(complete, 10.0)
    files.add('frame 7', view(), None)
    files.finish(results, 'title')
    made = content(complete)
    assert json.loads(made.pop('results.json'))['scene'] == 'C_small'
    assert made == {**USERS, **dict.fromkeys(
        ('renders/frame_0007.png', 'video.mp4', 'contact.png', 'quality.png'))}


def test_killed_over_an_older_run_nothing_is_mixed(complete):
    program = ('import os, runpy, signal, sys\n'
               'from pathlib import Path\n'
               'known = runpy.run_path(sys.argv[1])\n'
               'files = known["RunFiles"](Path(sys.argv[2]), 10.0)\n'
               'for number in range(99):\n'
               '    files.add(f"frame {number}", known["view"](), None)\n'
               'os.kill(os.getpid(), signal.SIGKILL)\n')
    done = subprocess.run([sys.executable, '-c', program, __file__, str(complete)], timeout=120,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == -signal.SIGKILL
    left = content(complete)
    assert {**USERS, **KEPT}.items() <= left.items()
    assert not {'results.json', 'video.mp4', 'final.ply'} & left.keys()
    assert sum(name.endswith('.draft.mp4') for name in left) == 1
    RunFiles(complete, 10.0)
    assert not any('.draft.' in name for name in content(complete))


@pytest.mark.parametrize('text, said', [('{"accuracy": 0.9}', 'not written by `igs run`'),
                                        ('', 'no JSON')])
def test_a_foreign_results_file_is_not_overwritten(tmp_path, text, said):
    (tmp_path / 'results.json').write_text(text)
    with pytest.raises(InputError, match=said):
        RunFiles(tmp_path, 10.0)
    assert (tmp_path / 'results.json').read_text() == text


def test_results_are_written_although_pictures_cannot_be(complete, results, caplog):
    files = RunFiles(complete, 10.0)
    files.add('frame 1', view(), None)
    (complete / 'renders' / 'frame_0002.png').mkdir()
    files.add('frame 2', view(), None)
    assert caplog.text.count('The run goes on without pictures') == 1
    assert not any('.draft.' in name for name in content(complete))
    files.add('frame 3', view(), None)
    with pytest.raises(OutputError, match=r'frame_0002\.png: cannot be written'):
        files.finish(results, 'title')
    left = content(complete)
    assert json.loads(left['results.json'])['scene'] == 'C_small' and KEPT.items() <= left.items()
    assert 'quality.png' in left
    assert not {'video.mp4', 'renders/frame_0003.png'} & left.keys()


def test_names_sort(tmp_path):
    files = RunFiles(tmp_path, 10.0)
    files.add('first scene', view(), None)
    for index in (2, 10):
        files.add(f'frame {index}', view(level=index / 20), np.zeros((48, 64, 3), np.uint8))
    files.pictures(rows(3), 'title')
    names = [path.name for path in sorted((tmp_path / 'renders').iterdir())]
    assert names == ['first_scene.png', 'frame_0002.png', 'frame_0010.png']
    assert (cv2.imread(str(tmp_path / 'renders' / 'frame_0010.png')) == 128).all()
    for name in ('video.mp4', 'contact.png', 'quality.png'):
        assert (tmp_path / name).stat().st_size > 500


def test_what_is_kept_is_small_whatever_the_cameras_have(tmp_path):
    files = RunFiles(tmp_path, 10.0)
    truth = np.full((960, 1280, 3), 200, np.uint8)
    for index in range(20):
        files.add(f'frame {index}', view(1280, 960), truth)
    kept = {id(row): row for row in (*files._rows, files._last)}.values()
    assert len(kept) <= 17
    sizes = [sum(part.nbytes for part in (row.camera, row.view.rgb, row.view.depth,
                                          row.view.alpha)) for row in kept]
    assert max(sizes) <= 480 * 360 * (3 + 3 + 4 + 4)
    depth = files._last.view.depth
    assert set(np.unique(depth[np.isfinite(depth)])) == {2.0}  # nothing mixed with NaN
    assert np.isnan(depth).mean() == 0.5
    files.pictures(rows(20), 'title')
    sheet = cv2.imread(str(tmp_path / 'contact.png'))
    assert sheet.shape[1] > 4 * 480


def test_a_run_without_a_picture_says_so(tmp_path, caplog):
    RunFiles(tmp_path, 10.0).pictures(rows(0), 'title')
    assert 'no picture was rendered' in caplog.text
    assert not (tmp_path / 'contact.png').exists() and (tmp_path / 'quality.png').exists()
