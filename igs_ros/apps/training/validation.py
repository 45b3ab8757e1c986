# SPDX-License-Identifier: Apache-2.0
"""How good the network is on samples that it does not learn from, against a key that stays."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from igs_ros.apps.training.models import TrainableMotion
from igs_ros.apps.training.sample import Sample
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.vision.metrics import MOVING_ABOVE, changed_pixels, psnr

PICTURES = 4  # samples that are also shown


@torch.no_grad()
def validate(model: TrainableMotion, samples: Sequence[Sample], rasterizer: Rasterizer,
             ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Means over all samples, of their last target, and pictures of the first samples.

    psnr and psnr_moving (dB; on the pixels that differ between key and target) of the loss views,
    and the same of the key as it is, `..._key`. Where displacements are known, their error (m):
    median and 90th percentile over the Gaussians that move, `displacement_...`, and of the key.
    Left out is what no sample has.

    Args:
        model: set to evaluation for the time, then to training.
        samples: none of them learned from.
        rasterizer: draws the loss views, on the device of `model`.

    Returns:
        The means by name, and pictures [H, 3 W, 3] uint8 by name: the key, the moved key and the
        truth, side by side.
    """
    model.module.eval()
    scores: dict[str, list[float]] = {}
    pictures = {}
    for number, sample in enumerate(samples):
        last = len(sample.target_images) - 1
        moved, = model.predict(sample, [last])
        key = sample.key_scene.to(rasterizer.device)
        for name, value in (_errors(sample, moved) | _scores(sample, rasterizer, key, moved)
                            ).items():
            scores.setdefault(name, []).append(value)
        if number < PICTURES:
            pictures[f'{number}_{sample.name}'] = _picture(sample, rasterizer, key, moved)
    model.module.train()
    return {name: float(np.mean(values)) for name, values in scores.items()}, pictures


def _scores(sample: Sample, rasterizer: Rasterizer, key: GaussianScene, moved: GaussianScene,
            ) -> dict[str, float]:
    """Mean PSNRs over the loss views; infinite ones (met exactly) are left out."""
    found: dict[str, list[float | None]] = {}
    for view in sample.loss_views:
        truth, before = sample.target_images[-1][view], sample.key_images.get(view)
        pixels = None if before is None else changed_pixels(before, truth, MOVING_ABOVE)
        for suffix, scene in (('', moved), ('_key', key)):
            drawn = _seen(sample, rasterizer, scene, view)
            found.setdefault(f'psnr{suffix}', []).append(psnr(truth, drawn))
            if pixels is not None:
                found.setdefault(f'psnr_moving{suffix}', []).append(psnr(truth, drawn, pixels))
    usable = {name: [v for v in values if v is not None and np.isfinite(v)]
              for name, values in found.items()}
    return {name: float(np.mean(values)) for name, values in usable.items() if values}


def _seen(sample: Sample, rasterizer: Rasterizer, scene: GaussianScene, view: str) -> np.ndarray:
    """[H, W, 3] 0..1: the rendering as the camera would record it."""
    drawn = rasterizer.render(scene, sample.cameras[view], depth=False).rgb
    return sample.exposed(view, drawn).clamp(0, 1).cpu().numpy()


def _errors(sample: Sample, moved: GaussianScene) -> dict[str, float]:
    if sample.displacements is None:
        return {}
    true = sample.displacements[-1]
    length = np.linalg.norm(true, axis=1)
    moving = length > 0
    if not moving.any():
        return {}
    found = moved.means.cpu().numpy() - sample.key_scene.means.numpy()
    error = np.linalg.norm(found - true, axis=1)
    return {f'displacement_{name}{suffix}': float(np.percentile(values[moving], share))
            for suffix, values in (('', error), ('_key', length))
            for name, share in (('median', 50), ('p90', 90))}


def _picture(sample: Sample, rasterizer: Rasterizer, key: GaussianScene, moved: GaussianScene,
             ) -> np.ndarray:
    view = sample.loss_views[-1]
    drawn = [_seen(sample, rasterizer, scene, view) for scene in (key, moved)]
    parts = [np.rint(picture * 255).astype(np.uint8) for picture in drawn]
    return np.concatenate([*parts, sample.target_images[-1][view]], 1)
