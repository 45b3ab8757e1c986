# SPDX-License-Identifier: Apache-2.0
"""What a key was fitted to, pixel by pixel."""
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.stages.refine.reference import ReferenceImages


def gray(level: int) -> np.ndarray:
    return np.full((2, 3, 3), level, np.uint8)


def test_only_what_was_fitted_is_taken_over():
    left = np.array([[True, False, False]] * 2)
    before = ReferenceImages.of(FrameSet(0, {'a': gray(10), 'gone': gray(20)}))
    after = before.updated(FrameSet(1, {'a': gray(30), 'new': gray(40)}), {'a': left, 'new': left})
    assert after.images['a'][..., 0].tolist() == [[30, 10, 10]] * 2
    assert (after.images['gone'] == 20).all()  # a camera without a picture keeps its own
    assert (after.images['new'] == 40).all()  # one that had none is taken as it is
    assert (before.images['a'] == 10).all() and 'new' not in before.images


def test_of_a_frame_set_all_is_fitted():
    frame_set = FrameSet(0, {'a': gray(10)})
    assert ReferenceImages.of(frame_set).images['a'] is frame_set.images['a']
    assert not ReferenceImages().images


def placed(x: float) -> Camera:
    pose = np.eye(4)
    pose[0, 3] = x
    return Camera('a', 3, 2, np.array([[3.0, 0, 1.5], [0, 3, 1], [0, 0, 1]]), pose)


def test_of_a_camera_that_moved_the_whole_image_is_taken_and_its_place():
    nothing = {'a': np.zeros((2, 3), bool)}
    first = ReferenceImages.of(FrameSet(0, {'a': gray(10)}))
    moved = first.updated(FrameSet(1, {'a': gray(20)}, cameras={'a': placed(0.1)}), nothing)
    assert (moved.images['a'] == 20).all()
    assert moved.in_place({'a': placed(0)})['a'].camera_from_world[0, 3] == 0.1
    there = moved.updated(FrameSet(2, {'a': gray(30)}, cameras={'a': placed(0.1)}), nothing)
    assert (there.images['a'] == 20).all()  # where it stands still, only what was fitted
    back = there.updated(FrameSet(3, {'a': gray(40)}), nothing)
    assert (back.images['a'] == 40).all() and not back.cameras
