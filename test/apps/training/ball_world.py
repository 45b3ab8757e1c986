# SPDX-License-Identifier: Apache-2.0
"""A speckled ball that moves before a speckled wall, seen by five small cameras; as files, too."""
import json

import cv2
import numpy as np
import torch

from igs_ros.apps.training.prepared import camera_entries, key_path, picture_path, write_index
from igs_ros.apps.training.sample import Sample
from igs_ros.core.camera import Camera
from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.ply import save_ply
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import render_view

RASTERIZER = CpuRasterizer(1)
BOX = np.array([[-0.5, -0.5, 1.4], [0.6, 0.6, 2.6]])
STEP = np.array([0.03, 0.01, 0.0])  # m per frame
FRAMES = 7
WALL = 30 * 25
CENTERS = {'cam00': (0, 0, 0), 'cam01': (-0.6, 0, 0), 'cam02': (0.6, 0, 0),
           'cam03': (0, -0.5, 0), 'cam04': (0, 0.5, 0)}


def rig(width=64, height=48):
    """Five cameras that look along +z; the first one is held out."""
    cameras = {}
    for name, center in CENTERS.items():
        pose = np.eye(4)
        pose[:3, 3] = -np.array(center)
        cameras[name] = Camera(name, width, height,
                               [[1.2 * width, 0, width / 2], [0, 1.2 * width, height / 2],
                                [0, 0, 1]], pose)
    return cameras


def scene(frame=0):
    """The true scene of a frame."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-2, 2, 30), np.linspace(-1.6, 1.6, 25))
    wall = np.stack([x.ravel(), y.ravel(), np.full(x.size, 3.0)], 1)
    ball = rng.normal(size=(200, 3))
    ball = (0, 0, 2) + 0.35 * ball / np.linalg.norm(ball, axis=1, keepdims=True) + frame * STEP
    means = np.concatenate([wall, ball])
    radii = np.where(np.arange(len(means)) < WALL, 0.08, 0.045)
    return GaussianScene(
        torch.from_numpy(means).float(), torch.tensor([1.0, 0, 0, 0]).repeat(len(means), 1),
        torch.from_numpy(np.repeat(radii[:, None], 3, 1)).float(),
        torch.full((len(means),), 0.95),
        torch.from_numpy(rng.uniform(-1.5, 1.5, (len(means), 1, 3))).float())


def pictures(frame, cameras):
    """What the cameras see of a frame."""
    return {name: np.rint(255 * render_view(RASTERIZER, scene(frame), camera).rgb
                          ).astype(np.uint8) for name, camera in cameras.items()}


def sample(targets=(2,), box=BOX, inputs=('cam01', 'cam02', 'cam03'), losses=('cam01', 'cam02')):
    """The key of frame 0 and some targets."""
    cameras = rig()
    true = np.zeros((len(targets), len(scene()), 3), np.float32)
    true[:, WALL:] = np.array(targets)[:, None, None] * STEP
    return Sample(f'ball to {targets}', scene(), cameras, pictures(0, cameras),
                  tuple(pictures(target, cameras) for target in targets), inputs, losses, box,
                  true)


def write_png(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1])


def prepared_folder(folder, keys=(0, 4)):
    """What `igs prepare` would write of this world; cam00 is held out."""
    cameras = rig()
    for frame in range(FRAMES):
        for name, picture in pictures(frame, cameras).items():
            write_png(picture_path(folder, name, frame), picture)
    for frame in keys:
        key_path(folder, frame).parent.mkdir(exist_ok=True)
        save_ply(scene(frame), key_path(folder, frame))
    write_index(folder, {'scene': 'ball', 'held_out': ['cam00'],
                         'cameras': camera_entries(cameras),
                         'keys': [{'frame': frame} for frame in keys]})
    return folder


def igs_folder(root, pairs=((0, 1), (3, 2)), half=True):
    """The same in the layout of the authors: scene `ball`, frames 0 to 4."""
    cameras = rig()
    for frame in range(5):
        folder = root / 'ball' / f'colmap_{frame}'
        full, wanted = (rig(128, 96), 'images_r2') if half else (cameras, 'images')
        for name, picture in pictures(frame, cameras).items():
            write_png(folder / wanted / f'{name}.png', picture)
        model = folder / '3dgs_rade'
        for iterations in ('iteration_10000_compress', 'iteration_30000'):
            ply = model / 'point_cloud' / iterations / 'point_cloud.ply'
            ply.parent.mkdir(parents=True)
            save_ply(scene(frame) if 'compress' in iterations else scene(9), ply)
        (model / 'cameras.json').write_text(json.dumps(
            [camera_entry(number, camera) for number, camera in enumerate(full.values())]))
    entries = [{'scene_name': 'ball', 'cur_frame': f'colmap_{key}', 'next_frame': f'colmap_{to}'}
               for key, to in pairs]
    (root / 'N3D_train_gap_10.json').write_text(json.dumps({'train': entries, 'val': []}))
    (root / 'bbox.json').write_text(json.dumps({'ball': BOX.tolist()}))
    (root / 'ball' / 'group.json').write_text('[[1], [2], [3, 4]]')
    return root


def camera_entry(number, camera):
    """One camera of a 3DGS cameras.json."""
    pose = camera.world_from_camera
    return {'id': number, 'img_name': camera.name, 'width': camera.width, 'height': camera.height,
            'position': pose[:3, 3].tolist(), 'rotation': pose[:3, :3].tolist(),
            'fx': camera.K[0, 0], 'fy': camera.K[1, 1]}
