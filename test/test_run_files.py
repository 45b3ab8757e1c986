# SPDX-License-Identifier: Apache-2.0
"""The files of a run: names that sort, nothing left of an older run, bounded memory."""
import cv2
import numpy as np

from igs_ros.camera import Camera
from igs_ros.run_files import RunFiles
from igs_ros.view import View


def view(width=64, height=48, level=0.5):
    camera = Camera('c', width, height, np.array([[50, 0, 32], [0, 50, 24], [0, 0, 1.0]]),
                    np.eye(4))
    depth = np.full((height, width), 2.0, np.float32)
    depth[: height // 2] = np.nan
    return View(np.full((height, width, 3), level, np.float32), depth,
                np.ones((height, width), np.float32), camera, 0)


def rows(count):
    return [{'index': i, 'kind': 'candidate', 'psnr': 20.0, 'psnr_moving': None, 'step_s': 0.1}
            for i in range(1, count)]


def test_files_of_an_older_run_go_and_names_sort(tmp_path):
    (tmp_path / 'renders').mkdir()
    (tmp_path / 'renders' / 'frame_0099.png').write_bytes(b'old')
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
    RunFiles(tmp_path, 10.0).pictures([], 'title')
    assert 'no picture was rendered' in caplog.text
    assert not (tmp_path / 'contact.png').exists() and (tmp_path / 'quality.png').exists()
