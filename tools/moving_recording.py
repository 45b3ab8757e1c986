# SPDX-License-Identifier: Apache-2.0
"""Recordings of a rig that moves, drawn from a recording of one that stands still.

    python tools/moving_recording.py DATA OUT --cameras cam00 cam01 cam03 cam02 --held-out cam02

DATA is reconstructed in lockstep; its scenes, one after the other, there and back, are the world.
Virtual cameras in the places of some of DATA's, with narrower views, so that turning finds
something, move through it: OUT/still, OUT/sway and OUT/turn are recordings (docs/recordings.md)
of the same world whose poses are exact. The pictures are drawn by a Gaussian rasterizer: they
say how a moving rig compares with a still one, not how good a reconstruction is.
"""
from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config
from igs_ros.core.scene import GaussianScene
from igs_ros.io.recordings.open import open_recording
from igs_ros.pipeline import reconstruct
from igs_ros.render.cpu.rasterizer import CpuRasterizer
from igs_ros.render.rasterizer import Rasterizer, render_view

SWAY_M, SWAY_DEG, SWAY_HZ = 0.10, 5.0, 0.3
TURN_DEG, TURN_S = 30.0, 3.0


def still(seconds: float) -> tuple[float, float]:
    """Shift to the right (m) and turn about the vertical (degrees) of the rig at a time."""
    return 0.0, 0.0


def sway(seconds: float) -> tuple[float, float]:
    """To and fro."""
    phase = np.sin(2 * np.pi * SWAY_HZ * seconds)
    return SWAY_M * phase, SWAY_DEG * phase


def turn(seconds: float) -> tuple[float, float]:
    """From one side to the other, once."""
    return 0.0, TURN_DEG * (min(seconds / TURN_S, 1.0) - 0.5)


PATHS: dict[str, Callable[[float], tuple[float, float]]] = {
    'still': still, 'sway': sway, 'turn': turn}


def rig_motion(cameras: Sequence[Camera], shift_m: float, turn_deg: float) -> np.ndarray:
    """[4, 4] world_from_world: how the rig moves, about its middle, along and about its axes."""
    axes = cameras[0].camera_from_world[:3, :3]
    middle = np.mean([camera.center for camera in cameras], 0)
    rotation = Rotation.from_rotvec(np.radians(turn_deg) * axes[1]).as_matrix()
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = middle - rotation @ middle + shift_m * axes[0]
    return motion


def narrower(camera: Camera, width: int, zoom: float) -> Camera:
    """The camera with pictures of `width` px and a `zoom` times longer focal length."""
    resized = camera.undistorted().resized(width)
    K = resized.K.copy()
    K[0, 0], K[1, 1] = zoom * K[0, 0], zoom * K[1, 1]
    return Camera(camera.name, resized.width, resized.height, K, camera.camera_from_world)


def world_at(scenes: Sequence[GaussianScene], frame: int) -> GaussianScene:
    """There and back."""
    period = max(1, 2 * len(scenes) - 2)
    place = frame % period
    return scenes[min(place, period - place)] if len(scenes) > 1 else scenes[0]


def write(folder: Path, path: str, cameras: Sequence[Camera], held_out: Sequence[str],
          scenes: Sequence[GaussianScene], frames: int, rate_hz: float, rasterizer: Rasterizer
          ) -> None:
    """One recording."""
    poses: dict[str, list] = {camera.name: [] for camera in cameras}
    for camera in cameras:
        (folder / camera.name).mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        motion = np.linalg.inv(rig_motion(cameras, *PATHS[path](frame / rate_hz)))
        for camera in cameras:
            placed = camera.placed(camera.camera_from_world @ motion)
            poses[camera.name].append(placed.camera_from_world.tolist())
            rgb = render_view(rasterizer, world_at(scenes, frame), placed).rgb
            cv2.imwrite(str(folder / camera.name / f'{frame:04d}.png'),
                        (rgb[..., ::-1] * 255).round().astype(np.uint8))
    # where they are at first is their calibration
    entries = [{'name': camera.name, 'images': camera.name, 'width': camera.width,
                'height': camera.height, 'K': camera.K.tolist(),
                'world_to_camera': poses[camera.name][0]} for camera in cameras]
    rig = {'scene': f'{folder.parent.name} {path}', 'fps': rate_hz, 'held_out': list(held_out),
           'cameras': entries}
    (folder / 'rig.json').write_text(json.dumps(rig, indent=1))
    if path != 'still':
        (folder / 'poses.json').write_text(json.dumps({'world_to_camera': poses}))


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description='Recordings of a rig that moves.')
    parser.add_argument('data', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--cameras', nargs='+', help='those that are moved; all if not given')
    parser.add_argument('--held-out', nargs='*', default=[])
    parser.add_argument('--width', type=int, default=192, help='px, of the pictures')
    parser.add_argument('--zoom', type=float, default=1.5, help='of the focal lengths')
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--rate', type=float, default=10.0, help='Hz')
    parser.add_argument('--states', type=int, default=12, help='frames of DATA that are used')
    parser.add_argument('--gaussians', type=int, default=12000)
    parser.add_argument('--iterations', type=int, default=500, help='of the first scene')
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    recording = open_recording(options.data)
    config = Config.of({'width': 2 * options.width, 'max_gaussians': options.gaussians,
                        'bootstrap.iterations': options.iterations, 'hold_s': 0.0})
    scenes = [step.snapshot.scene for step in reconstruct(
        recording, config, cameras=list(recording.cameras), last=options.states)]
    chosen = [narrower(recording.cameras[name], options.width, options.zoom)
              for name in options.cameras or recording.cameras]
    for path in PATHS:
        write(options.out / path, path, chosen, options.held_out, scenes, options.frames,
              options.rate, CpuRasterizer(1))
        if (options.data / 'points3d.ply').is_file():
            shutil.copy(options.data / 'points3d.ply', options.out / path)
        logging.info('%s', options.out / path)


if __name__ == '__main__':
    main()
