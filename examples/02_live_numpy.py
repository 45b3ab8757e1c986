# SPDX-License-Identifier: Apache-2.0
"""A live scene from pictures of one's own: numpy arrays, as any camera driver hands them over.

    python examples/02_live_numpy.py --out live.png

Five cameras look at a wall, and a ball swings in front of it. The middle one is only compared
with. Take your own calibrated `CAMERAS`, and your driver's pictures for `picture`.
"""
import time
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import igs_ros

WIDTH, HEIGHT, FOCAL = 240, 180, 220.0  # px
WALL, BALL, RADIUS = 2.0, 1.5, 0.2  # m: distances from the cameras, and of the ball


def camera(name: str, x: float, y: float) -> igs_ros.Camera:
    """A camera at (x, y, 0) m that looks along z; y points down."""
    K = [[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]
    camera_from_world = np.eye(4)
    camera_from_world[:2, 3] = -x, -y
    return igs_ros.Camera(name, WIDTH, HEIGHT, np.array(K), camera_from_world)


CAMERAS = {name: camera(name, x, y) for name, x, y in (
    ('left', -0.3, 0), ('right', 0.3, 0), ('top', 0, -0.25), ('bottom', 0, 0.25))}
UNSEEN = camera('middle', 0, 0)
RANDOM = np.random.default_rng(0)
WAVES = RANDOM.normal(0, 12, (3, 40))  # rad/m
COLORS = RANDOM.normal(0, 0.1, (40, 3))


def picture(camera: igs_ros.Camera, seconds: float) -> np.ndarray:
    """What the camera sees: uint8 RGB [height, width, 3]."""
    y, x = np.mgrid[:camera.height, :camera.width] + 0.5
    rays = np.stack([(x - camera.K[0, 2]) / FOCAL, (y - camera.K[1, 2]) / FOCAL,
                     np.ones_like(x)], -1)
    ball = np.array([0.3 * np.sin(1.5 * seconds), 0, BALL]) - camera.center
    a, b, c = (rays ** 2).sum(-1), rays @ ball, ball @ ball - RADIUS ** 2
    hit = b ** 2 > a * c
    depth = np.where(hit, (b - np.sqrt(np.maximum(b ** 2 - a * c, 0))) / a, WALL)
    points = rays * depth[..., None]
    points = np.where(hit[..., None], 2 * (points - ball), points + camera.center)
    return (255 * np.clip(0.5 + np.sin(points @ WAVES) @ COLORS, 0, 1)).astype(np.uint8)


def main(out: Path = Path('live.png'), updates: int = 40, rate_hz: float = 5.0,
         iterations: int = 300) -> None:
    """Follow the cameras live.

    Args:
        out: where the last view goes, beside what the camera would have seen.
        updates: of the scene, after which it ends.
        rate_hz: of the cameras.
        iterations: of the first scene.
    """
    config = igs_ros.Config.of({'bootstrap.iterations': iterations, 'refine.iterations': 30,
                                'max_gaussians': 8000})
    with igs_ros.LivePipeline(config, CAMERAS) as live:
        while (status := live.status()).frame_sets_processed < updates:
            stamp_ns = time.time_ns()
            live.offer(igs_ros.RawFrameSet.of(stamp_ns, {
                name: picture(camera, stamp_ns * 1e-9) for name, camera in CAMERAS.items()}))
            view = live.view(UNSEEN)
            if view is None:
                print(f'{status.state.name}: {status.message}')
            else:
                truth = picture(UNSEEN, view.stamp_ns * 1e-9)
                error = np.mean((view.rgb - truth / 255) ** 2)
                print(f'{status.state.name}: {status.gaussians} Gaussians, '
                      f'{1000 * view.age_s:.0f} ms old, {-10 * np.log10(error):.1f} dB, '
                      f'{status.keys_refined} keys, lost: {status.sets_lost}')
            time.sleep(max(0.0, 1 / rate_hz - (time.time_ns() - stamp_ns) * 1e-9))
        if (view := live.view(UNSEEN)) is not None:
            truth = picture(UNSEEN, view.stamp_ns * 1e-9)
            Image.fromarray(np.hstack([(255 * view.rgb).astype(np.uint8), truth])).save(out)


if __name__ == '__main__':
    tyro.cli(main)
