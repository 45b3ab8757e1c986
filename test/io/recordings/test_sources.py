# SPDX-License-Identifier: Apache-2.0
"""Pictures of one camera: colors as OpenCV sees them, exact ranges, broken files."""
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from recording_files import HEIGHT, WIDTH, told, write_images, write_video

from igs_ros.core.errors import InputError
from igs_ros.io.recordings.sources import image_folder, video_file


def opencv_frames(path):
    capture = cv2.VideoCapture(str(path))
    while (answer := capture.read())[0]:
        yield cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB)


def test_colors_equal_opencv_on_a_recording(workbench):
    source = video_file(workbench / 'cam01.mp4')
    ours = [picture.decode() for picture in source.pictures(0, source.length, 1)]
    theirs = list(opencv_frames(workbench / 'cam01.mp4'))
    assert len(ours) == len(theirs) == source.length == 20
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 2


@pytest.mark.parametrize('pix_fmt', ['yuv420p', 'yuv444p', 'yuvj420p'])
def test_colors_equal_opencv_with_shared_chroma(tmp_path, pix_fmt):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = cv2.resize(blocks, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / 'v.mp4'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=30, options={'crf': '5'})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(stream.encode())
    ours = next(video_file(path).pictures(0, 1, 1)).decode()
    theirs = next(opencv_frames(path))
    assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.parametrize('first, last, step', [(0, 9, 1), (3, 7, 1), (2, 9, 3), (8, 20, 1)])
def test_ranges_are_exact_for_videos_and_folders(tmp_path, first, last, step):
    write_video(tmp_path / 'v.mp4', 1, 9)
    write_images(tmp_path / 'images', 1, 9)
    expected = [(1, frame) for frame in range(9)][first:last:step]
    for source in (video_file(tmp_path / 'v.mp4'), image_folder(tmp_path / 'images')):
        assert source.length == 9
        found = [told(picture.decode()) for picture in source.pictures(first, last, step)]
        assert found == expected


def test_a_container_without_a_frame_count_is_counted(tmp_path):
    write_video(tmp_path / 'v.mkv', 0, 9)
    source = video_file(tmp_path / 'v.mkv')
    assert source.length == 9 and source.rate_hz == 30


def test_a_truncated_video_ends_early_instead_of_raising(tmp_path):
    path = tmp_path / 'v.mp4'
    write_video(path, 0, 24, {'movflags': 'faststart'})
    expected = [picture.decode() for picture in video_file(path).pictures(0, 24, 1)]
    whole = path.read_bytes()
    path.write_bytes(whole[:whole.index(b'mdat') + (len(whole) - whole.index(b'mdat')) // 2])
    source = video_file(path)
    frames = [picture.decode() for picture in source.pictures(0, 24, 1)]
    assert source.length == 24 and 4 <= len(frames) < 24
    for frame, whole_frame in zip(frames, expected, strict=False):
        np.testing.assert_array_equal(frame, whole_frame)  # none is patched up by the decoder


@pytest.mark.parametrize('content', [b'', b'no video at all'])
def test_what_is_no_video_is_named(tmp_path, content):
    (tmp_path / 'v.mp4').write_bytes(content)
    with pytest.raises(InputError, match='v.mp4: no readable video'):
        video_file(tmp_path / 'v.mp4')


def test_a_file_without_pictures_is_named(tmp_path):
    with av.open(str(tmp_path / 'a.wav'), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000, layout='mono')
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout='mono')
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match='a.wav: a file without a video stream'):
        video_file(tmp_path / 'a.wav')


def test_an_image_that_vanished_is_named(tmp_path):
    write_images(tmp_path / 'images', 0, 3)
    source = image_folder(tmp_path / 'images')
    (tmp_path / 'images' / '001.png').unlink()
    with pytest.raises(InputError, match='001.png: cannot be read'):
        list(source.pictures(0, 3, 1))


def test_metadata_that_is_no_text_does_not_matter(tmp_path):
    write_video(tmp_path / 'v.mp4', 0, 2, {'movflags': 'faststart'})
    content = (tmp_path / 'v.mp4').read_bytes()
    assert b'Lavf' in content  # the name of the encoder
    (tmp_path / 'v.mp4').write_bytes(content.replace(b'Lavf', b'\xff\xfe\xff\xfe'))
    source = video_file(tmp_path / 'v.mp4')
    assert len(list(source.pictures(0, 2, 1))) == 2


def test_names_that_look_like_addresses_are_files(tmp_path, monkeypatch):
    write_video(tmp_path / 'v.mp4', 0, 2)
    (tmp_path / 'v.mp4').rename(tmp_path / 'concat:v.mp4')
    monkeypatch.chdir(tmp_path)
    assert video_file(Path('concat:v.mp4')).length == 2
    with pytest.raises(InputError, match='null: no file; expected a video'):
        video_file(Path('/dev/null'))


def test_frames_much_larger_than_the_file_said_are_not_decoded(tmp_path):
    write_video(tmp_path / 'v.mp4', 0, 2)
    source = video_file(tmp_path / 'v.mp4')
    assert source.size() == (WIDTH, HEIGHT)
    assert list(replace(source, frame_size=(-100, -100)).pictures(0, 2, 1)) == []


def test_what_is_no_file_is_no_picture(tmp_path):
    write_images(tmp_path / 'cam', 0, 1)
    (tmp_path / 'cam' / '999.png').mkdir()
    assert [file.name for file in image_folder(tmp_path / 'cam').files] == ['000.png']
