# SPDX-License-Identifier: Apache-2.0
"""From a sample to its loss: network, rasterizer and comparison as one module.

One module, because several processes share gradients through its `forward`.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from igs_ros.apps.training.config import LossConfig
from igs_ros.apps.training.models import TrainableMotion
from igs_ros.apps.training.sample import Sample
from igs_ros.core.scene import GaussianScene
from igs_ros.render.loss import Target, photometric_loss
from igs_ros.render.rasterizer import Rasterizer


class LossOfSample(nn.Module):
    """The loss of single samples.

    Args:
        model: what is trained.
        rasterizer: draws what is compared, on the device of `model`.
        config: weights of the photometric terms.
    """

    def __init__(self, model: TrainableMotion, rasterizer: Rasterizer, config: LossConfig):
        super().__init__()
        self.module = model.module
        self._model = model
        self._rasterizer = rasterizer
        self._config = config

    def forward(self, sample: Sample, targets: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its terms by name, scalars; `targets` index the sample's pictures."""
        # networks know themselves what may be computed in half precision; geometry and colors
        # may not
        with torch.autocast(self._rasterizer.device.type, enabled=False):
            moved = self._model.predict(sample, targets)
            terms = dict(self._model.loss(sample, targets, moved))
            if self._config.l1 + self._config.dssim > 0:
                terms['photometric'] = self._photometric(sample, targets, moved)
            total = sum(terms.values(), torch.zeros((), device=self._rasterizer.device))
        if not total.requires_grad:
            # nothing can move here; the processes still expect a gradient for every parameter
            total = total + sum(0 * p.sum() for p in self.module.parameters() if p.requires_grad)
        return total, {name: term.detach() for name, term in terms.items()}

    def _photometric(self, sample: Sample, targets: Sequence[int], moved: list[GaussianScene],
                     ) -> Tensor:
        """l1 |difference| + dssim (1 - SSIM), the mean over targets and views."""
        weight = self._config.l1 + self._config.dssim
        losses = []
        for target, scene in zip(targets, moved, strict=True):
            for view in sample.loss_views:
                drawn = self._rasterizer.render(scene, sample.cameras[view], depth=False)
                wanted = Target(sample.target_images[target][view], drawn.rgb.device)
                seen = sample.exposed(view, drawn.rgb)
                losses.append(photometric_loss(seen, wanted, self._config.dssim / weight))
        return weight * torch.stack(losses).mean()
