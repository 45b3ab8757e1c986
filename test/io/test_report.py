# SPDX-License-Identifier: Apache-2.0
"""Videos, contact sheets and plots: what is in the files."""
import av
import cv2
import numpy as np
import pytest

from igs_ros.core.camera import Camera
from igs_ros.core.errors import OutputError
from igs_ros.core.snapshot import View
from igs_ros.io import report

CAMERA = Camera('cam00', 96, 64, [[80, 0, 48], [0, 80, 32], [0, 0, 1]], np.eye(4))


def smooth_picture(height=64, width=96, shift=0):
    """Soft colors that survive 4:2:0."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(x + shift) * 2 % 256, y * 3 % 256, np.full_like(x, 120)], -1).astype('u1')


def row(label, depth, error=0.0):
    truth = smooth_picture()
    rgb = (truth / 255 + error).astype(np.float32)
    return report.ContactRow(label, truth, View(rgb, depth, np.ones((64, 96), 'f4'), CAMERA, 0))


def test_a_video_is_h264_420_and_shows_the_pictures(tmp_path):
    pictures = [smooth_picture(shift=i) for i in range(7)]
    with report.VideoWriter(tmp_path / 'v.mp4', fps=30) as video:
        for number, picture in enumerate(pictures):
            video.write(picture if number % 2 else picture / 255)
    with av.open(str(tmp_path / 'v.mp4')) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264' and stream.codec_context.pix_fmt == 'yuv420p'
        assert stream.average_rate == 30
        decoded = [frame.to_ndarray(format='rgb24') for frame in container.decode(stream)]
    assert len(decoded) == 7
    for picture, back in zip(pictures, decoded, strict=True):
        inner = np.s_[2:-2, 2:80]  # the wrap of the red ramp bleeds in 4:2:0
        assert np.abs(back[inner].astype(float) - picture[inner]).mean() < 6


def test_the_index_stands_in_front_of_the_pictures(tmp_path):
    with report.VideoWriter(tmp_path / 'v.mp4', fps=6.0) as video:
        video.write(smooth_picture())
    data = (tmp_path / 'v.mp4').read_bytes()
    assert data.index(b'moov') < data.index(b'mdat')


def test_odd_sizes_lose_one_line(tmp_path):
    with report.VideoWriter(tmp_path / 'v.mp4', fps=29.97) as video:
        video.write(smooth_picture(63, 95))
    capture = cv2.VideoCapture(str(tmp_path / 'v.mp4'))
    assert capture.read()[1].shape == (62, 94, 3)


def test_a_video_without_pictures_leaves_no_file(tmp_path):
    with report.VideoWriter(tmp_path / 'v.mp4', fps=30):
        pass
    assert not list(tmp_path.iterdir())


def test_depth_colors_share_the_scale_and_nothing_is_gray():
    depth = np.full((2, 2), 1.0, np.float32)
    depth[0, 1], depth[1, 0], depth[1, 1] = 3.0, np.nan, 99.0
    picture = report.depth_picture(depth, near=1.0, far=3.0)
    brightness = picture.astype(int).sum(-1)
    assert brightness[0, 0] > brightness[0, 1] + 200  # near is bright
    assert (picture[1, 0] == report.NOTHING_GREY).all()
    assert (picture[1, 1] == picture[0, 1]).all()  # beyond the scale: its end


def test_error_is_black_where_there_is_none():
    truth = smooth_picture()
    rendered = truth / 255
    rendered[:, 50:, :] -= report.ERROR_FULL_SCALE * 2
    picture = report.error_picture(truth, rendered).astype(int).sum(-1)
    assert picture[:, :50].max() < 15
    assert picture[:, 60:].mean() > 150


@pytest.mark.parametrize('known', [True, False])
def test_a_contact_sheet_has_four_labeled_panels_per_row(tmp_path, known):
    depth = np.full((64, 96), 2.0 if known else np.nan, np.float32)
    report.contact_sheet([row(f'frame {i}', depth, 0.1) for i in range(4)], tmp_path / 'c.png')
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / 'c.png')), cv2.COLOR_BGR2RGB)
    line = 320 + report.HEADER_PX
    assert sheet.shape == (4 * line + 3 * report.PANEL_GAP_PX,
                           4 * 480 + 3 * report.PANEL_GAP_PX, 3)
    for number in range(4):
        left = number * (480 + report.PANEL_GAP_PX)
        header = sheet[:report.HEADER_PX, left:left + 480]
        assert header.max() == 255  # a label ...
        assert header[:, -6:].max() == 0  # ... that is not cut off
    expected = cv2.resize(smooth_picture(), (480, 320), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(sheet[report.HEADER_PX:line, :480], expected)


def test_a_picture_that_cannot_be_written_raises(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OutputError, match=r'p\.png: cannot be written \(File exists\)'):
        report.write_picture(tmp_path / 'file' / 'p.png', smooth_picture())


def test_a_video_is_there_when_it_is_complete(tmp_path):
    path = tmp_path / 'video.mp4'
    path.write_text('old')
    with pytest.raises(RuntimeError), report.VideoWriter(path, 10) as video:
        video.write(smooth_picture())
        assert path.read_text() == 'old'
        raise RuntimeError('interrupted')
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]
    with report.VideoWriter(path, 10) as video:
        video.write(smooth_picture())
    assert path.stat().st_size > 500 and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match='gone/video.mp4'), \
            report.VideoWriter(tmp_path / 'gone' / 'video.mp4', 10) as video:
        video.write(smooth_picture())


def frames(scored):
    return [{'index': i, 'kind': 'candidate' if i % 5 else 'key',
             'psnr': 25.0 if scored else None, 'psnr_moving': 22.0 if scored and i != 3 else None,
             'step_s': 0.1} for i in range(1, 12)]


@pytest.mark.parametrize('case', [frames(True), frames(False), []],
                         ids=['scored', 'without scores', 'no frames'])
def test_a_plot_is_drawn(tmp_path, case):
    report.quality_plot({'bootstrap': {'psnr_test': None}, 'frames': case}, tmp_path / 'q.png',
                        'title')
    picture = cv2.imread(str(tmp_path / 'q.png'))
    assert picture.shape[1] > 800 and picture.std() > 5


def test_the_plot_of_one_frame_shows_what_was_scored(tmp_path):
    """The first scene's score, and each test view's where there are several."""
    def drawn(first):
        report.quality_plot({'bootstrap': first, 'frames': []}, tmp_path / 'q.png', 'title')
        return cv2.imread(str(tmp_path / 'q.png'))[:400].astype(int)
    nothing = drawn({'psnr_test': None, 'views': {}})
    one = drawn({'psnr_test': 25.0, 'psnr_test_fitted': 27.0, 'views': {'a': {'psnr': 25.0}}})
    two = drawn({'psnr_test': 25.0, 'psnr_test_fitted': 27.0,
                 'views': {'a': {'psnr': 23.0}, 'b': {'psnr': 27.0}}})
    assert (nothing != one).mean() > 0.005 and (one != two).mean() > 0.001


def test_names_of_strangers_are_no_formulas(tmp_path):
    case = [{'index': 0, 'kind': 'key', 'psnr': 30.0, 'psnr_moving': None, 'step_s': 0.1}]
    first = {'psnr_test': 30.0, 'views': {r'$\frac{$': {'psnr': 29.0}, 'b': {'psnr': 31.0}}}
    report.quality_plot({'bootstrap': first, 'frames': case}, tmp_path / 'q.png',
                        r'$\frac{$ motion')
    assert cv2.imread(str(tmp_path / 'q.png')) is not None
