# SPDX-License-Identifier: Apache-2.0
"""What stereo says to the optimization: losses of depth and of views between, and who is asked."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from igs_ros.core.camera import Camera, pixel_grid
from igs_ros.stages.bootstrap.guide import Guide
from igs_ros.stages.bootstrap.seeds import guessed_depth
from igs_ros.vision.stereo import DepthMap

K = np.array([[100.0, 0, 60.0], [0, 100.0, 45.0], [0, 0, 1]])
TEXTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (300, 500, 3),
                                                             dtype=np.uint8), (0, 0), 3)
CPU = torch.device('cpu')


def camera(x):
    pose = np.eye(4)
    pose[0, 3] = -x
    return Camera(f'at {x}', 120, 90, K, pose)


def world(view, box):
    """What `view` sees of a wall 3 m away and, maybe, a plain box before it: picture and depth."""
    grid = pixel_grid(view).reshape(-1, 2)
    points = view.unproject(grid, np.full(len(grid), 3.0))
    at = (points[:, :2] * 60 + [250, 150]).reshape(90, 120, 2).astype(np.float32)
    picture = cv2.remap(TEXTURE, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    depth = np.full((90, 120), 3.0, np.float32)
    if box:
        corners = view.project(np.array([[-0.2, -0.3, 2.0], [0.3, 0.3, 2.0]]))[0].round()
        (left, top), (right, bottom) = corners.astype(int)
        picture[top:bottom, left:right] = [250, 10, 10]
        depth[top:bottom, left:right] = 2.0
    return picture, depth


def guide(box=False, views=1, offsets=(-0.3, 0.3)):
    cameras = {f'cam{number}': camera(x) for number, x in enumerate(offsets)}
    made = {name: world(view, box) for name, view in cameras.items()}
    images = {name: picture for name, (picture, _) in made.items()}
    maps = {name: DepthMap.of_depth(depth, cameras[name], views)
            for name, (_, depth) in made.items()}
    return Guide.of(images, maps, guessed_depth(images, maps), seed=0, device=CPU), cameras


@pytest.mark.parametrize('box', [False, True])
def test_a_view_between_shows_what_is_there(box):
    """Warped pictures against the world seen from there; what is hidden has no weight."""
    found, _ = guide(box)
    assert found is not None and len(found.views) > 10
    for view in found.views:
        x = float(view.camera.center[0])
        assert -0.3 < x < 0.3
        truth, _ = world(view.camera, box)
        error = np.abs(view.rgb.numpy() - truth / 255).max(-1)
        sure = view.weight[..., 0].numpy() == 1
        assert sure.mean() > 0.6
        assert np.median(error[sure]) < 0.02 and np.mean(error[sure] > 0.2) < 0.02
        if box and abs(x) < 0.25:  # beside the box there is wall that one camera alone sees
            assert (view.weight == 0).float().mean() > 0.01


def test_what_is_right_costs_nothing_and_wrong_depth_does():
    found, cameras = guide()
    losses = {}
    for meters in (3.0, 3.3, 2.7, 0.5):
        drawn = SimpleNamespace(alpha=torch.ones(90, 120),
                                require_depth=lambda m=meters: torch.full((90, 120), m))
        losses[meters] = float(found.depth_loss('cam0', drawn))
    assert losses[3.0] < 1e-6
    assert losses[3.3] == pytest.approx(0.1 * (1 - 3 / 3.3), rel=1e-3)  # of inverse depth
    assert losses[0.5] > losses[2.7] > losses[3.3]
    half = SimpleNamespace(alpha=torch.ones(45, 60),
                           require_depth=lambda: torch.full((45, 60), 3.0))
    assert float(found.depth_loss('cam1', half)) < 1e-6
    assert found.depth_of('elsewhere') is None and len(cameras) == 2


@pytest.mark.parametrize('views, strength', [(1, 1.0), (2, 1.0), (3, 0.5), (4, None), (9, None)])
def test_many_cameras_know_better(views, strength):
    found, _ = guide(views=views)
    assert (found and found.strength) == strength


def test_one_camera_has_no_view_between():
    found, _ = guide(offsets=(0.0,))
    assert found is not None and found.views == () and list(found.depths) == ['cam0']


def test_the_same_seed_makes_the_same_views():
    first, again = guide(True)[0], guide(True)[0]
    assert all(torch.equal(a.rgb, b.rgb) and torch.equal(a.weight, b.weight)
               for a, b in zip(first.views, again.views, strict=True))
