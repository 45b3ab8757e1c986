# SPDX-License-Identifier: Apache-2.0
"""What cameras that move saw before is not forgotten."""
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import concatenated
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.refine import places
from igs_ros.stages.refine.places import remembered
from igs_ros.stages.refine.reference import ReferenceImages


def turned(camera, degrees):
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([0, np.radians(degrees), 0]).as_matrix()
    return camera.placed(camera.camera_from_world @ motion)


def test_a_place_is_remembered_if_it_sees_something_else(world):
    points, here = world.wall.means.numpy(), world.cameras['a']
    first = remembered((), [here], points)
    assert first == (here,)
    assert remembered(first, [turned(here, 8)], points) == first  # three quarters of it are known
    away = turned(here, 25)
    assert remembered(first, [away], points) == (here, away)
    assert remembered(first, [turned(here, 180)], points) == first  # there is nothing


def test_the_oldest_places_go(world, monkeypatch):
    monkeypatch.setattr(places, '_MOST', 2)
    found = remembered((), [turned(world.cameras['a'], angle) for angle in (-25, 0, 25)],
                       world.wall.means.numpy())
    assert len(found) == 2 and found[1].camera_from_world[0, 2] > 0.4


def seen_by(scene, cameras, stamp_ns):
    """The frame set that cameras elsewhere take of a scene."""
    drawn = {name: render_view(CpuRasterizer(1), scene, camera).rgb
             for name, camera in cameras.items()}
    return FrameSet(stamp_ns, {name: np.uint8(np.clip(255 * rgb, 0, 255))
                               for name, rgb in drawn.items()}, cameras=cameras)


def test_births_at_the_limit_take_no_place_of_what_was_seen_before(world):
    """The rig has turned to the right, where a board appears: the left is out of sight."""
    cameras = {name: turned(camera, -16) for name, camera in world.cameras.items()}
    now = seen_by(concatenated([world.wall, world.board]), cameras, 1)
    fitted = ReferenceImages.of(seen_by(world.wall, cameras, 0))
    left = world.wall.means[:, 0].numpy() < -1.2
    kept = {}
    for visited in ((), tuple(world.cameras.values())):
        refined = world.refine(world.wall, now, replace(fitted, visited=visited),
                               limit=len(world.wall), iterations=3)
        assert refined.born > 20 and len(refined.scene) <= len(world.wall)
        kept[len(visited)] = np.count_nonzero(refined.scene.means[:, 0].numpy() < -1.2)
    # 140 are born, and some of the left lies beyond all pictures, and has to go first
    assert kept[0] < 0.65 * left.sum() < 0.75 * left.sum() < kept[4]
