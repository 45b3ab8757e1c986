# SPDX-License-Identifier: Apache-2.0
"""AGM-Net under training: the same inputs as in `igs_ros.stages.motion.agm.model`, with gradients.

The flow backbone stays frozen, as published. Depth comes from drawing the key: the published
training reads pictures of it, which hold the same to a millimeter.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from igs_ros.apps.training.config import TrainConfig
from igs_ros.apps.training.sample import Sample
from igs_ros.core.errors import InputError
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.motion.agm import inputs, lift, weights
from igs_ros.stages.motion.agm.decode import turned
from igs_ros.stages.motion.agm.flow import MULTIPLE, STRIDE
from igs_ros.stages.motion.agm.inputs import AgmSizes
from igs_ros.stages.motion.agm.net import AgmNet, Key
from igs_ros.stages.motion.region import BoxRegion, ChangedRegion, Region


class TrainableAgm:
    """`TrainableMotion` of the published network.

    Args:
        net: with the weights to start from, on any device.
        rasterizer: draws the keys' depth; the network is moved to its device.
        sizes: how much the network is given.
    """

    name = 'agm'
    consecutive = False  # it looks at key and target only

    def __init__(self, net: AgmNet, rasterizer: Rasterizer, sizes: AgmSizes):
        self.module = net.to(rasterizer.device)
        self._rasterizer = rasterizer
        self._sizes = sizes

    @classmethod
    def build(cls, config: TrainConfig, rasterizer: Rasterizer) -> TrainableAgm:
        """With the frozen backbone of `config.weights`, the rest as published before training.

        Raises:
            InputError: the weights are not there or do not fit, or the size of the pictures cannot
                be used.
        """
        settings = config.agm
        if settings.picture % MULTIPLE:
            raise InputError(f'training setting agm.picture is {settings.picture}; expected a '
                             f'multiple of {MULTIPLE}.')
        torch.manual_seed(config.seed)
        net = AgmNet(settings.double_division)
        net.reduced = {'fp16': torch.float16, 'bf16': torch.bfloat16}.get(config.precision)
        net.load_state_dict(_backbone(config.weights or config.start), strict=False)
        return cls(net, rasterizer, AgmSizes(settings.picture, settings.anchors))

    def predict(self, sample: Sample, targets: Sequence[int]) -> list[GaussianScene]:
        """See `TrainableMotion`.

        Only Gaussians in the box that some input view sees move; without a box, those that the
        input views see change.
        """
        scene = sample.key_scene.to(self._rasterizer.device)
        region = self._region(sample, scene, targets)
        if len(region.rows) == 0:
            return [scene] * len(targets)
        like, views, size = self.module.upsample.weight, sample.input_views, self._sizes.picture
        key = self._key(sample, scene, region)
        pictures = torch.stack([inputs.stacked(inputs.squeezed(
            sample.target_images[target], views, size), views, like) for target in targets])
        displacements, turns = self.module(key, pictures)
        seen = lift.inside(key.grid).any(0)[key.ties.indices].any(1)
        moving = torch.from_numpy(region.rows).to(scene.device)[seen]
        return [_moved(scene, moving, displacement[seen], turn[seen])
                for displacement, turn in zip(displacements, turns, strict=True)]

    def loss(self, sample: Sample, targets: Sequence[int], moved: Sequence[GaussianScene],
             ) -> Mapping[str, Tensor]:
        """Nothing: the published terms besides the photometric one have weight 0.

        Args:
            sample: not looked at, as the other two.
            targets: indices into its target pictures.
            moved: what `predict` returned for `targets`.
        """
        return {}

    def save(self, folder: Path) -> None:
        """Two .safetensors files, as `igs run --motion agm --weights` reads them."""
        weights.save(self.module, folder)

    def load(self, folder: Path) -> None:
        """See `TrainableMotion`; published files, too.

        Files that say so decide about the double division.
        """
        found = weights.load(folder, self.module.double_division)
        self.module.load_state_dict(found.state_dict())
        self.module.double_division = found.double_division

    def _region(self, sample: Sample, scene: GaussianScene, targets: Sequence[int]) -> Region:
        if sample.box is not None:
            return BoxRegion(sample.key_scene.means.numpy(), sample.box)
        cameras = {view: sample.cameras[view] for view in sample.input_views}
        region = ChangedRegion(scene, sample.key_images, cameras, self._rasterizer)
        for target in targets:
            region.update(sample.target_images[target])
        return region

    def _key(self, sample: Sample, scene: GaussianScene, region: Region) -> Key:
        like, views, size = self.module.upsample.weight, sample.input_views, self._sizes.picture
        cameras = [sample.cameras[view] for view in views]
        pictures = inputs.squeezed(sample.key_images, views, size)
        return self.module.key(
            inputs.stacked(pictures, views, like),
            inputs.depths(scene, cameras, self._rasterizer, 2 * size // STRIDE, like),
            inputs.rig_of(cameras, like),
            inputs.tied(scene.means[region.rows], self._sizes, like, scene.means[region.around]))


def _moved(scene: GaussianScene, rows: Tensor, displacements: Tensor, turns: Tensor,
           ) -> GaussianScene:
    return scene.replaced(
        means=scene.means.index_add(0, rows, displacements),
        quats=scene.quats.index_copy(0, rows, turned(scene.quats[rows], turns)))


def _backbone(folder: str) -> Mapping[str, Tensor]:
    """The parameters that are not learned, by their names inside AGM-Net."""
    if not folder:
        raise InputError('training agm needs the weights of its frozen flow backbone; set '
                         '--weights DIR to a folder with gmflow/ (docs/training.md).')
    backbone = weights.inspect(folder).parts[0]
    if backbone.problems:
        raise InputError(f"weights '{folder}' cannot be used. {' '.join(backbone.problems)}")
    return backbone.state
