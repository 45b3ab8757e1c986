# SPDX-License-Identifier: Apache-2.0
"""Frame sets: decoding, undistortion and resizing at the border."""
import struct
import threading
import tracemalloc

import cv2
import numpy as np
import pytest
from picture_bytes import jpeg, png, png_of, resized_jpeg

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.frames import RawFrameSet, RawPicture
from igs_ros.io.pictures import EncodedDepth, EncodedPicture
from igs_ros.vision import preparer as preparing
from igs_ros.vision.preparer import Preparer

K = np.array([[100.0, 0, 80], [0, 100, 60], [0, 0, 1]])


def rig(**changes) -> dict[str, Camera]:
    return {name: Camera(name, 160, 120, K, np.eye(4), **changes) for name in ('left', 'right')}


def ramp() -> np.ndarray:
    """[120, 160, 3] uint8: red grows with x, green with y."""
    x, y = np.meshgrid(np.arange(160) + 0.5, np.arange(120) + 0.5)
    return np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)


def test_halving_averages_without_a_shift():
    prepared = Preparer(rig(), 80).prepare(RawFrameSet(0, {'left': RawPicture(ramp())}))
    image = prepared.images['left']
    assert image.shape == (60, 80, 3)
    # the middle of small pixel i is at 2 i + 1 of the large image
    expected = 2 * np.arange(80) + 1
    assert np.abs(image[30, :, 0].astype(float) + 0.5 - expected).max() <= 1


def test_broken_picture_is_missing_and_named():
    good, _ = cv2.imencode('.png', ramp()), None
    frame_set = RawFrameSet(5, {'left': EncodedPicture(b'\xff\xd8 no jpeg', '/left/image'),
                             'right': EncodedPicture(good[1].tobytes(), '/right/image')})
    prepared = Preparer(rig()).prepare(frame_set)
    assert list(prepared.images) == ['right']
    assert prepared.missing == ('left',)
    assert '/left/image' in prepared.problems[0].text
    np.testing.assert_array_equal(prepared.images['right'], ramp()[..., ::-1])


def test_wrong_size_is_missing_and_says_both_sizes():
    prepared = Preparer(rig()).prepare(RawFrameSet(0, {'left': RawPicture(ramp()[:100])}))
    assert not prepared.images
    assert '160x100' in prepared.problems[0].text and '160x120' in prepared.problems[0].text


@pytest.mark.parametrize('side', [10_000, 30_000, 60_000])
def test_a_bomb_costs_its_picture_and_is_not_decoded(side, monkeypatch):
    bomb = EncodedPicture(resized_jpeg(jpeg(ramp()), side, side), '/left/image')
    monkeypatch.setattr(bomb.__class__, 'decode', lambda self: pytest.fail('decoded'))
    prepared = Preparer(rig()).prepare(RawFrameSet(0, {'left': bomb, 'right': RawPicture(ramp())}))
    assert list(prepared.images) == ['right'] and prepared.missing == ('left',)
    problem, = prepared.problems
    assert (problem.camera, problem.cause) == ('left', 'unusable_picture')
    assert problem.text.startswith("camera 'left': ") and f'{side}x{side} px' in problem.text


class Raising(RawPicture):
    """A picture whose decoder fails as no decoder should."""

    def decode(self):
        raise self.pixels

    def size(self):
        return 160, 120


@pytest.mark.parametrize('error', [cv2.error('inside'), MemoryError(), ZeroDivisionError('x')])
def test_any_error_costs_one_picture(error):
    prepared = Preparer(rig()).prepare(
        RawFrameSet(0, {'left': Raising(error), 'right': RawPicture(ramp())}))
    assert list(prepared.images) == ['right'] and prepared.missing == ('left',)
    problem, = prepared.problems
    assert problem.cause == 'unusable_picture'
    assert problem.text == f"camera 'left': not decoded: {error!r}"


@pytest.mark.parametrize('lens', [(), (-0.2, 0.05, 0, 0, 0)])
def test_threads_change_nothing(lens, monkeypatch):
    """Not a bit of an image, and not which pictures are left out, in which order."""
    monkeypatch.setattr(preparing, 'usable_cores', lambda: 8)
    monkeypatch.setattr(preparing, '_WORTH_PX', 0)
    rng = np.random.default_rng(0)
    changes = {'distortion': np.array(lens)} if lens else {}
    cameras = {f'cam{i}': Camera(f'cam{i}', 160, 120, K, np.eye(4), **changes) for i in range(9)}
    for _ in range(3):
        pictures = {name: EncodedPicture(jpeg(rng.integers(0, 256, (120, 160, 3), np.uint8)), name)
                    for name in sorted(cameras, key=lambda _: rng.random())}
        pictures['cam3'] = EncodedPicture(pictures['cam3'].data[:-300], 'cam3')
        pictures['cam5'] = Raising(ZeroDivisionError('x'))
        frame_set = RawFrameSet(0, pictures)
        one = Preparer(cameras, 80).prepare(frame_set)
        preparer = Preparer(cameras, 80, threads=4)
        many = preparer.prepare(frame_set)
        assert preparing_threads()
        preparer.close()
        assert list(one.images) == list(many.images) and len(one.images) == 7
        assert (one.missing, one.problems) == (many.missing, many.problems)
        for name, image in one.images.items():
            np.testing.assert_array_equal(image, many.images[name])


def preparing_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith('prepare_')]


@pytest.mark.parametrize('cores, threads, cameras, started', [
    (1, 4, 2, 0), (2, 1, 2, 0), (2, 4, 1, 0), (2, 4, 2, 2), (4, 2, 2, 2), (8, 8, 2, 2)])
def test_threads_are_bounded_by_cores_settings_and_cameras(cores, threads, cameras, started,
                                                           monkeypatch):
    monkeypatch.setattr(preparing, 'usable_cores', lambda: cores)
    monkeypatch.setattr(preparing, '_WORTH_PX', 0)
    sources = dict(list(rig().items())[:cameras])
    preparer = Preparer(sources, threads=threads)
    barrier = threading.Barrier(max(1, started), timeout=10)

    class Meeting(RawPicture):
        """Decoded once all threads decode."""

        def decode(self):
            barrier.wait()
            return super().decode()
    for _ in range(2):
        frame_set = RawFrameSet(0, {name: Meeting(ramp()) for name in sources})
        assert list(preparer.prepare(frame_set).images) == list(sources)
        assert len(preparing_threads()) == started
        preparer.close()
        assert not preparing_threads()


@pytest.mark.parametrize('sides, started', [((1000, 499), False), ((1000, 500), True)])
def test_threads_come_where_a_set_has_a_million_pixels(sides, started, monkeypatch):
    monkeypatch.setattr(preparing, 'usable_cores', lambda: 2)
    width, height = sides
    sources = {name: Camera(name, width, height, np.array(
        [[900.0, 0, 500], [0, 900, 250], [0, 0, 1]]), np.eye(4)) for name in ('left', 'right')}
    picture = RawPicture(np.zeros((height, width, 3), np.uint8))
    preparer = Preparer(sources, threads=2)
    preparer.prepare(RawFrameSet(0, dict.fromkeys(sources, picture)))
    assert bool(preparing_threads()) == started
    preparer.close()


def test_damage_has_a_cause_of_its_own():
    cut = EncodedPicture(png(ramp())[:-30], '/left/image')
    problem, = Preparer(rig()).prepare(RawFrameSet(0, {'left': cut})).problems
    assert problem.cause == 'damaged_picture'
    assert problem.text.startswith("camera 'left': /left/image: a damaged PNG of ")


def test_depth_of_another_size_is_not_decoded():
    bomb = EncodedDepth(png_of(10_000, 10_000, bits=16, color=0), 'd.png', 0.001)
    prepared = Preparer(rig()).prepare(
        RawFrameSet(0, {'left': RawPicture(ramp())}, depths={'left': bomb}))
    tracemalloc.start()
    with pytest.raises(InputError, match='depth of 10000x10000 px, but .* 160x120'):
        prepared.depths['left'].decode()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 ** 6


def test_unknown_cameras_are_ignored():
    prepared = Preparer(rig()).prepare(RawFrameSet(0, {'other': RawPicture(ramp())}))
    assert not prepared.images and not prepared.problems


def test_empty_bytes_are_no_image():
    with pytest.raises(InputError, match='0 bytes'):
        EncodedPicture(b'', 'cam.jpg').decode()


def test_undistortion_of_a_straight_lens_changes_nothing():
    cameras = rig(distortion=np.array([1e-12, 0, 0, 0, 0]))
    prepared = Preparer(cameras).prepare(RawFrameSet(0, {'left': RawPicture(ramp())}))
    difference = prepared.images['left'].astype(int) - ramp().astype(int)
    assert np.abs(difference[1:-1, 1:-1]).max() <= 1


def exif_turned(jpeg: bytes, orientation: int) -> bytes:
    """`jpeg` with an EXIF block that asks viewers to turn the picture."""
    tag = struct.pack('<HHIHH', 0x0112, 3, 1, orientation, 0)
    tiff = b'II*\0' + struct.pack('<IH', 8, 1) + tag + struct.pack('<I', 0)
    block = b'Exif\0\0' + tiff
    return jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 2) + block + jpeg[2:]


def test_exif_does_not_turn_a_calibrated_picture():
    straight = jpeg(ramp())
    turned = exif_turned(straight, 6)
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (160, 120, 3)
    np.testing.assert_array_equal(EncodedPicture(turned, 'cam.jpg').decode(),
                                  EncodedPicture(straight, 'cam.jpg').decode())


@pytest.mark.parametrize('k1', [0.1, -0.1])
def test_undistortion_leaves_no_black_border(k1):
    cameras = rig(distortion=np.array([k1, 0, 0, 0, 0]))
    gray = np.full((120, 160, 3), 90, np.uint8)
    for width in (None, 80):
        prepared = Preparer(cameras, width).prepare(RawFrameSet(0, {'left': RawPicture(gray)}))
        assert (prepared.images['left'] == 90).all()


def test_a_camera_with_a_pose_of_its_own_is_where_that_says():
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0, 0
    raw = RawFrameSet(0, dict.fromkeys(rig(), RawPicture(ramp())), poses={'left': pose})
    preparer = Preparer(rig(), 80)
    prepared = preparer.prepare(raw)
    assert list(prepared.cameras) == ['left'] and prepared.cameras['left'].width == 80
    np.testing.assert_array_equal(prepared.cameras['left'].camera_from_world, pose)
    placed = prepared.in_place(preparer.cameras)
    assert placed == {'left': prepared.cameras['left'], 'right': preparer.cameras['right']}


def test_a_camera_at_its_calibrated_pose_has_not_moved():
    at = np.eye(4)
    at[0, 3] = 1e-7
    raw = RawFrameSet(0, dict.fromkeys(rig(), RawPicture(ramp())), poses={'left': at})
    assert not Preparer(rig()).prepare(raw).cameras
    at[0, 3] = 1e-5
    assert list(Preparer(rig()).prepare(raw).cameras) == ['left']


def test_a_pose_that_is_not_rigid_costs_its_picture_and_is_named():
    raw = RawFrameSet(0, dict.fromkeys(rig(), RawPicture(ramp())),
                      poses={'left': np.full((4, 4), np.nan), 'right': np.eye(4)})
    prepared = Preparer(rig()).prepare(raw)
    assert list(prepared.images) == ['right'] and prepared.missing == ('left',)
    text, = (problem.text for problem in prepared.problems)
    assert text.startswith("camera 'left': at exposure: camera_from_world = [[nan") \
        and '\n' not in text


@pytest.mark.parametrize('k1', [-0.2, 0.02, 0.03, 0.05, 0.2])
def test_a_wide_border_that_no_camera_saw_is_said_once(k1, caplog):
    cameras = rig(distortion=np.array([k1, 0, 0, 0, 0]))
    preparer = Preparer({'left': cameras['left']})
    for _ in range(2):
        preparer.prepare(RawFrameSet(0, {'left': RawPicture(ramp())}))
    # the oracle draws ones on zeros, with OpenCV's own inverse
    inside = cv2.remap(np.ones((120, 160), np.uint8),
                       *cameras['left'].working_maps(cameras['left'].undistorted()),
                       cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    share = 1 - inside.mean()
    lines = [record.getMessage() for record in caplog.records]
    if share > 0.03:
        line, = lines
        told = int(line.split(': ')[1].split(' %')[0])
        assert line.startswith("camera 'left': ") and abs(told - 100 * share) < 2
    elif share < 0.01:
        assert not lines


def test_width_bounds_the_pixels_of_upright_pictures_beside_wide_ones():
    def camera(name, width, height):
        return Camera(name, width, height, np.array([[900.0, 0, 1], [0, 900.0, 1], [0, 0, 1]]),
                      np.eye(4))
    wide = {'hd': camera('hd', 1920, 1080), 'vga': camera('vga', 640, 480)}
    upright = {'phone': camera('phone', 1080, 1920)}
    sizes = {name: (one.width, one.height)
             for name, one in Preparer({**wide, **upright}, 480).cameras.items()}
    assert sizes == {'hd': (480, 270), 'vga': (480, 360), 'phone': (312, 555)}
    assert Preparer(upright, 480).cameras['phone'].width == 480, 'no wide one to go by'
    assert Preparer({**wide, **upright}, 200).cameras['phone'].width == 130
    assert Preparer({**wide, **upright}).cameras['phone'].width == 1080, 'as recorded'
