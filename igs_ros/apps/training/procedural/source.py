# SPDX-License-Identifier: Apache-2.0
"""Samples of procedural scenes for training."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from igs_ros.apps.training.config import Views
from igs_ros.apps.training.order import shuffled
from igs_ros.apps.training.procedural.kept import read_sample, write_sample
from igs_ros.apps.training.procedural.keys import displacements, imperfect_key
from igs_ros.apps.training.procedural.rigs import Rig, random_rig
from igs_ros.apps.training.procedural.world import random_world
from igs_ros.apps.training.sample import Sample
from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.vision.flow import spread_views

_KEY_VIEWS = 8  # cameras at most that a key is fitted to


@dataclass(frozen=True, eq=False)
class _Look:
    """What cameras do to the light: gain by camera and channel, noise, compression."""

    gains: dict[str, np.ndarray]  # [3] each
    noise: float  # of 255
    quality: int  # JPEG

    def picture(self, rgb: np.ndarray, camera: str, rng: np.random.Generator) -> np.ndarray:
        """uint8 [H, W, 3] of what was rendered, 0..1."""
        values = 255 * rgb * self.gains[camera] + self.noise * rng.normal(size=rgb.shape)
        pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        _, data = cv2.imencode('.jpg', pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, self.quality))
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if decoded is None:
            raise RuntimeError('OpenCV cannot read the JPEG that it has just written')
        return np.ascontiguousarray(decoded[..., ::-1])


class ProceduralSource:
    """Endless samples; number n of one seed and rasterizer is always the same sample.

    Loss views are first cameras that neither the key nor the network has seen, then those that
    only the key has, then the inputs.

    Args:
        seed: fixes all samples.
        rasterizer: draws all pictures.
        views: how many a sample has; None = the defaults.
        frames: targets of a sample, one frame apart, the first one frame after the key.
        count: different samples, which then come again in another order, 0 = endless.
        folder: keeps them between passes and runs; None = each is made whenever it is asked for.

    Raises:
        InputError: fewer than one frame.
    """

    def __init__(self, seed: int, rasterizer: Rasterizer, views: Views | None = None,
                 frames: int = 4, count: int = 0, folder: Path | None = None):
        if frames < 1:
            raise InputError(f'procedural samples of {frames} frames; expected at least 1.')
        self.seed = seed
        self.rasterizer = rasterizer
        self.views = views or Views()
        self.frames = frames
        self.len_hint = count or None
        self._folder = folder

    def sample(self, number: int) -> Sample:
        """Sample `number`, 0 and up; making it takes several seconds of one core.

        Raises:
            InputError: a kept one cannot be read.
        """
        if self.len_hint:
            number = shuffled(number, self.len_hint, self.seed)
        if self._folder is None:
            return self._made(number)
        path = self._folder / (f'{self.seed}_{number}_{self.views.inputs}_{self.views.losses}_'
                               f'{self.frames}.npz')
        if not path.is_file():
            write_sample(path, self._made(number))
        return read_sample(path)

    def _made(self, number: int) -> Sample:
        rng = np.random.default_rng((self.seed, number))
        rig = random_rig(rng)
        world = random_world(rng, rig)
        look = _look(rng, rig)
        seen = [name for name in rig.cameras if name not in rig.unseen]
        inputs = spread_views({name: rig.cameras[name] for name in seen}, self.views.inputs)
        others = [name for name in seen if name not in inputs]
        losses = (*rig.unseen, *others, *inputs)[:self.views.losses]
        fitted = tuple(dict.fromkeys([*inputs, *seen]))[:_KEY_VIEWS]
        dense = world.scene(0.0)
        key_images = self._pictures(dense, rig.cameras, tuple(dict.fromkeys(fitted + losses)),
                                    look, rng)
        key = imperfect_key(dense, {name: key_images[name] for name in fitted}, rig.cameras,
                            rig.distance, self.rasterizer, rng)
        times = tuple(float(frame + 1) for frame in range(self.frames))
        targets = tuple(self._pictures(world.scene(time), rig.cameras,
                                       tuple(dict.fromkeys(inputs + losses)), look, rng)
                        for time in times)
        mean = np.mean([look.gains[name] for name in fitted], axis=0)
        exposures = {name: np.stack([gain / mean, 0 * gain]).astype(np.float32)
                     for name, gain in look.gains.items()}
        return Sample(f'procedural {self.seed}/{number}', key, rig.cameras, key_images, targets,
                      inputs, losses, exposures=exposures,
                      displacements=displacements(world, key.means.numpy().astype(float), times))

    def _pictures(self, scene: GaussianScene, cameras: dict[str, Camera], names: tuple[str, ...],
                  look: _Look, rng: np.random.Generator) -> dict[str, np.ndarray]:
        scene = scene.to(self.rasterizer.device)
        return {name: look.picture(render_view(self.rasterizer, scene, cameras[name]).rgb, name,
                                   rng) for name in names}


def _look(rng: np.random.Generator, rig: Rig) -> _Look:
    spread = rng.choice([0.0, 0.02, 0.05])
    gains = {name: np.exp(spread * (rng.normal() + 0.3 * rng.normal(size=3)))
             for name in rig.cameras}
    return _Look(gains, float(rng.choice([0.0, 0.5, 1.5])), int(rng.integers(88, 98)))
