# SPDX-License-Identifier: Apache-2.0
"""Frames encoded a little ahead: right pictures, bounded memory, errors that arrive."""
import threading
import time
from contextlib import closing

import cv2
import numpy as np
import pytest

from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet, RawPicture
from igs_ros.io.encodings import transport_image
from igs_ros.io.recordings.open import open_recording

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.node import convert  # noqa: E402
from igs_ros.node.ahead import AHEAD, EncodedFrames  # noqa: E402


class Endless:
    """Stands for a long recording; counts the frames read from it."""

    frames_total = 1000

    def __init__(self, broken_at=None):
        self.read, self.closed, self.broken_at = 0, False, broken_at

    def frame_sets(self, first, last, cameras):
        return self._frame_sets(first)

    def _frame_sets(self, first):
        try:
            for index in range(first, self.frames_total):
                if index == self.broken_at:
                    raise InputError('the file is broken')
                self.read += 1
                yield RawFrameSet(index, {'a': RawPicture(np.full((8, 8, 3), index % 256, 'u1'))})
        finally:
            self.closed = True


def test_frames_are_encoded_almost_without_loss(workbench):
    recording = open_recording(workbench)
    frames = EncodedFrames(recording, ('cam01', 'cam03'), '3:5')
    encoded = list(frames.once())
    assert [frame.number for frame in encoded] == [3, 4] and frames.total == 2
    assert frames.first() == encoded[0]
    assert list(frames.once()) == encoded  # again, as a loop needs it
    expected = next(recording.frame_sets(3, 4, ('cam01',))).pictures['cam01'].decode()
    message = convert.jpeg_message(encoded[0].pictures['cam01'], convert.header(1, ''))
    decoded = convert.picture_from_compressed(message, '/t').decode()
    error = np.mean((decoded.astype(float) - expected) ** 2)
    assert 10 * np.log10(255 ** 2 / error) > 35


def test_what_a_camera_compressed_is_passed_on(workbench):
    """JPEG files as they are, also those of a bag; PNG files become JPEG."""
    class Bag(Endless):
        frames_total = 1
        pictures: dict

        def _frame_sets(self, first):
            yield RawFrameSet(0, self.pictures)
    rgb = np.full((8, 8, 3), 77, np.uint8)
    jpeg, png = (cv2.imencode(kind, rgb)[1].tobytes() for kind in ('.jpg', '.png'))
    bag = Bag()
    bag.pictures = {'a': transport_image('rgb8; jpeg compressed bgr8', jpeg, '/a'),
                    'b': transport_image('rgb8; png compressed bgr8', png, '/b')}
    (_, sent, _), = EncodedFrames(bag, ('a', 'b'), '0:').once()
    assert sent['a'] == jpeg and sent['b'][:2] == b'\xff\xd8' and sent['b'] != jpeg


def test_only_a_few_frames_wait_in_memory():
    recording = Endless()
    before = threading.active_count()
    with closing(EncodedFrames(recording, ('a',), '0:').once()) as frames:
        assert [next(frames)[0] for _ in range(3)] == [0, 1, 2]
        time.sleep(0.2)
        assert recording.read <= 3 + AHEAD
    assert recording.closed and threading.active_count() == before


def test_what_cannot_be_read_is_said_where_the_frame_is_wanted():
    frames = EncodedFrames(Endless(broken_at=2), ('a',), '0:').once()
    assert [next(frames)[0], next(frames)[0]] == [0, 1]
    with pytest.raises(InputError, match='the file is broken'):
        next(frames)


def test_an_unusable_range_is_refused_at_once(workbench):
    recording = open_recording(workbench)
    with pytest.raises(InputError, match='frames 30:40'):
        EncodedFrames(recording, ('cam01',), '30:40')
    with pytest.raises(InputError, match="no camera 'cam77'"):
        EncodedFrames(recording, ('cam77',), '0:2')
