# SPDX-License-Identifier: Apache-2.0
"""What a straightened picture shows beyond the raw one is not fitted, matched, voted or scored."""
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from igs_ros.core.camera import Camera
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.frames import RawFrameSet, RawPicture
from igs_ros.core.scene import GaussianScene
from igs_ros.io.recordings.open import open_recording
from igs_ros.pipeline import Pipeline
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.exposure import ExposureLearner
from igs_ros.render.loss import Target, _torch_loss, photometric_loss
from igs_ros.render.rasterizer import render_view
from igs_ros.render.sights import look
from igs_ros.stages.motion.tracks import Track
from igs_ros.stages.refine.reference import ReferenceImages
from igs_ros.stages.refine.residuals import compare_views
from igs_ros.vision import preparer
from igs_ros.vision.egomotion import seen_from
from igs_ros.vision.flow import Flow
from igs_ros.vision.metrics import Scorer
from igs_ros.vision.preparer import Preparer
from igs_ros.vision.stereo import StereoSettings, find_depth
from igs_ros.vision.visibility import Visibility

K = np.array([[60.0, 0, 40], [0, 60, 30], [0, 0, 1]])
PINCUSHION = {'plumb_bob': [0.45, 0.15, 0, 0, 0], 'equidistant': [0.9, 0.4, 0, 0]}


def bent(radius: float, lens: str) -> float:
    """Where a ray that a pinhole has at `radius` is, by the formula of the lens."""
    k = PINCUSHION[lens]
    if lens == 'plumb_bob':
        return radius * (1 + k[0] * radius ** 2 + k[1] * radius ** 4)
    theta = np.arctan(radius)
    return theta * (1 + k[0] * theta ** 2 + k[1] * theta ** 4)


def camera(valid: np.ndarray | None = None, shift: float = 0.0, **changes) -> Camera:
    pose = np.eye(4)
    pose[0, 3] = -shift
    return Camera('a', 80, 60, K, pose, valid=valid, **changes)


def left_half() -> np.ndarray:
    valid = np.ones((60, 80), bool)
    valid[:, 40:] = False
    return valid


@pytest.mark.parametrize('lens', PINCUSHION)
def test_pixels_are_valid_where_the_formula_leads_into_the_raw_picture(lens):
    source = camera(lens=lens, distortion=np.array(PINCUSHION[lens]))
    valid = Preparer({'a': source}).cameras['a'].valid
    x, y = np.meshgrid((np.arange(80) + 0.5 - 40) / 60, (np.arange(60) + 0.5 - 30) / 60)
    radius = np.hypot(x, y)
    stretch = np.array([bent(r, lens) / r for r in radius.ravel()]).reshape(radius.shape)
    px = np.stack([60 * x * stretch + 40, 60 * y * stretch + 30], -1)
    beyond = np.maximum(-px, px - (80, 60)).max(-1)  # px outside of the raw picture
    assert valid[beyond < 0.4].all() and not valid[beyond > 1.6].any()
    assert 0.6 < valid.mean() < 0.9


def test_a_lens_that_shows_all_has_no_mask():
    for source in camera(), camera(distortion=np.array([-0.2, 0, 0, 0, 0])):
        assert Preparer({'a': source}, 40).cameras['a'].valid is None


def test_where_the_formula_turns_back_nothing_is_valid():
    """Beyond r = sqrt(1 / (3 * 0.6)), k1 = -0.6 leads back towards the middle."""
    wide = Camera('a', 160, 120, np.array([[60.0, 0, 80], [0, 60, 60], [0, 0, 1]]), np.eye(4),
                  np.array([-0.6, 0, 0, 0, 0]))
    valid = Preparer({'a': wide}).cameras['a'].valid
    x, y = np.meshgrid((np.arange(160) + 0.5 - 80) / 60, (np.arange(120) + 0.5 - 60) / 60)
    radius, turn = np.hypot(x, y), np.sqrt(1 / 1.8)
    assert valid[radius < turn - 0.05].all()
    assert not valid[(radius > turn + 0.05) & (radius < np.sqrt(1 / 0.6) - 0.05)].any()


def test_smaller_pictures_are_valid_where_nothing_repeated_is_mixed_in():
    valid = left_half()
    valid[:, 39] = False  # an odd edge
    small = camera(valid).resized(40)
    assert small.valid.shape == (30, 40)
    assert small.valid[:, :19].all() and not small.valid[:, 19:].any()
    assert camera(valid).placed(np.eye(4)).valid is not None
    assert camera().resized(40).valid is None


def test_points_are_not_seen_where_a_picture_is_not_valid():
    points = np.array([[-0.2, 0, 1], [0.2, 0, 1], [-5.0, 0, 1], [-0.2, 0, -1]])
    assert Visibility.of_points(points, camera(left_half())).seen.tolist() == [True] + 3 * [False]
    assert Visibility.of_points(points, camera()).seen.tolist() == [True, True, False, False]


@pytest.mark.parametrize('loss', [photometric_loss, _torch_loss])
def test_the_loss_asks_nothing_where_the_target_is_not_valid(loss):
    rng = np.random.default_rng(0)
    wanted, drawn = rng.random((2, 60, 80, 3), np.float32)
    valid = left_half()
    values = []
    for garbage in 0.1, 0.9:  # drawn there
        seen = torch.tensor(np.where(valid[..., None], drawn, garbage), dtype=torch.float32,
                            requires_grad=True)
        value = photometric_loss(seen, Target(wanted, valid=valid), 0.2)
        value.backward()
        assert not seen.grad[:, 40:].any() and seen.grad[:, :40].any()
        values.append(value.item())
    pasted = torch.tensor(np.where(valid[..., None], drawn, wanted))
    assert values[0] == values[1]
    assert values[0] == pytest.approx(loss(pasted, Target(wanted), 0.2, None).item(), rel=1e-5)


def test_exposure_is_learned_where_pictures_are_valid():
    rng = np.random.default_rng(0)
    drawn = rng.random((60, 80, 3), np.float32) * np.float32(0.7)
    learner = ExposureLearner(('a', 'b'))
    wrong = np.where(left_half()[..., None], drawn, drawn / 2)
    for _ in range(20):
        learner.see('a', torch.tensor(drawn), Target(wrong, valid=left_half()).telling)
        learner.see('b', torch.tensor(drawn), Target(drawn).telling)
    np.testing.assert_allclose(learner.exposures.cameras['a'].gain, 1, atol=1e-3)


def test_scores_know_valid_pixels_alone():
    rng = np.random.default_rng(0)
    pictures = rng.random((3, 60, 80, 3), np.float32)
    whole, half = Scorer(), Scorer()
    for number, truth in enumerate(pictures):
        drawn = np.clip(truth + np.float32(0.02 * (number + 1)), 0, 1)
        broken = np.where(left_half()[..., None], drawn, 0)
        told = half.add(truth, broken, pixels=left_half())
        expected = whole.add(truth[:, :40], drawn[:, :40])
        assert told.psnr == pytest.approx(expected.psnr)
        assert told.psnr_fitted == pytest.approx(expected.psnr_fitted)
        assert told.ssim == pytest.approx(expected.ssim, abs=0.02)  # another border
        if number:
            assert told.psnr_moving == pytest.approx(expected.psnr_moving, rel=0.02)
    nothing = Scorer().add(truth, truth, pixels=np.zeros((60, 80), bool))
    assert nothing.psnr is None


def wall(color: float = 0.5) -> GaussianScene:
    """A plain wall 1 m before the camera, of small Gaussians."""
    x, y = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-0.8, 0.8, 48))
    means = torch.tensor(np.stack([x.ravel(), y.ravel(), np.ones(x.size)], -1),
                         dtype=torch.float32)
    count = len(means)
    return GaussianScene(means, torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
                         torch.full((count, 3), 0.03), torch.full((count,), 0.9),
                         torch.full((count, 1, 3), (color - 0.5) / 0.28209479))


def test_nothing_is_wrong_changed_or_known_where_a_picture_is_not_valid():
    rasterizer, scene = CpuRasterizer(1), wall()
    white = np.full((60, 80, 3), 255, np.uint8)
    for valid in None, left_half():
        found = compare_views(scene, {'a': white}, {'a': camera(valid)}, rasterizer,
                              ReferenceImages({'a': white // 2}))['a']
        for mask in found.wrong, found.changed, found.change > 0:
            assert mask[:, :40].any() and mask[:, 45:].any() == (valid is None)
        gray = np.full((60, 80, 3), 128, np.uint8)
        sight = look(scene, {'a': gray}, {'a': camera(valid)}, rasterizer)['a']
        assert np.isfinite(sight.depth[:, :40]).mean() > 0.9
        assert np.isfinite(sight.depth[:, 40:]).any() == (valid is None)
        assert not sight.wrong[:, 40:].any()
        moved = seen_from(camera(shift=0.05), np.ones((60, 80), np.float32), gray,
                          camera(valid))
        assert moved.known[:, :33].all() and moved.known[:, 42:70].any() == (valid is None)


def test_tracks_neither_start_nor_end_where_a_picture_is_not_valid():
    rightward = Flow(np.full((60, 80, 2), (10, 0), np.float16), np.ones((60, 80), np.uint8),
                     (80, 60))
    for valid in None, left_half():
        track = Track(camera(valid), wall(), CpuRasterizer(1), 0)
        start = track.start[:, 0]
        assert track.visible[start >= 40].any() == (valid is None)
        track.advance([rightward])
        assert track.alive[(start > 5) & (start < 29)].all()
        assert track.alive[(start > 31) & (start < 39)].any() == (valid is None)


def test_stereo_matches_valid_pixels_alone():
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (60, 100, 3), np.uint8), (0, 0), 1)
    images = {'a': texture[:, :80], 'b': texture[:, 12:92]}  # a wall at 1 m, 0.2 m apart
    settings = StereoSettings(near=0.5, far=2.0, min_views=1)
    beside = replace(camera(shift=0.2), name='b')
    for in_a, in_b in (None, None), (left_half(), None), (None, left_half()):
        cameras = {'a': camera(in_a), 'b': replace(beside, valid=in_b)}
        maps = find_depth(images, cameras, settings=settings, threads=1)
        known = np.isfinite(maps['a'].depth)
        assert known[5:55, 20:33].mean() > 0.9
        # b has there what it shows 12 px further left
        assert (known[5:55, 45:].mean() > 0.7) == (in_a is None and in_b is None)
        assert known[:, 60:].any() == (in_a is None and in_b is None)
        np.testing.assert_allclose(np.median(maps['a'].depth[known]), 1, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize('lens', PINCUSHION)
def test_an_unseen_view_is_better_for_not_fitting_repeated_borders(lens, test_data, monkeypatch):
    """From both sides: better than before, not better than without a lens."""
    recording = open_recording(test_data / 'synthetic' / 'scene_C_small')
    names = 'cam00', 'cam01', 'cam03'
    frame_set = next(recording.frame_sets(0, 1))
    pinholes = {name: recording.cameras[name].resized(160) for name in (*names, 'cam02')}
    pictures = {name: cv2.resize(frame_set.pictures[name].decode(), (160, 120),
                                 interpolation=cv2.INTER_AREA) for name in pinholes}
    through = {name: replace(pinholes[name], lens=lens, distortion=np.array(PINCUSHION[lens]))
               for name in names}
    raw = {name: _through(pinholes[name], pictures[name], lens) for name in names}
    config = Config(threads=1, max_gaussians=4000, bootstrap=BootstrapConfig(iterations=120))
    lens_of_test = replace(pinholes['cam02'], lens=lens, distortion=np.array(PINCUSHION[lens]))
    scored = Preparer({'cam02': lens_of_test}).cameras['cam02'].valid  # others see it, too

    def score(cameras, images) -> float:
        pipeline = Pipeline(config, cameras)
        made = pipeline.start(RawFrameSet.of(0, images), recording.points())
        seen = render_view(pipeline.stages.rasterizer, made.scene, pinholes['cam02'])
        return Scorer().add(pictures['cam02'], seen.rgb, pixels=scored).psnr
    masked = score(through, raw)
    with monkeypatch.context() as patch:
        patch.setattr(preparer, '_valid', lambda source, maps: None)
        repeated = score(through, raw)
    assert repeated + 0.5 < masked
    assert masked < score(pinholes, {name: pictures[name] for name in names}) + 0.5


def _through(pinhole: Camera, picture: np.ndarray, lens: str) -> np.ndarray:
    """The raw picture that a lens takes of what a pinhole sees; by bisection, not by OpenCV."""
    fx, fy, (cx, cy) = pinhole.K[0, 0], pinhole.K[1, 1], pinhole.K[:2, 2]
    height, width = picture.shape[:2]
    x, y = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
    radius = np.hypot(x, y)
    grid = np.linspace(0, radius.max(), 200)
    straight = [brentq(lambda r, wanted=wanted: bent(r, lens) - wanted, 0, 3) for wanted in grid]
    stretch = np.interp(radius, grid, straight) / radius
    return cv2.remap(picture, np.float32(fx * x * stretch + cx - 0.5),
                     np.float32(fy * y * stretch + cy - 0.5), cv2.INTER_CUBIC,
                     borderMode=cv2.BORDER_REPLICATE)


def test_a_lens_that_shows_nothing_costs_no_score():
    nothing = camera(np.zeros((60, 80), bool))
    assert not nothing.shows(np.array([[1.0, 1], [40, 30]])).any()
    folded = camera(distortion=np.array([100.0, -100, 0, 0, 0]))
    made = Preparer({'a': folded})
    picture = RawPicture(np.zeros((60, 80, 3), np.uint8))
    assert 'a' in made.prepare(RawFrameSet(0, {'a': picture})).images
