# SPDX-License-Identifier: Apache-2.0
"""AGM-Net as a whole: what a key needs once, and the motion to any number of targets.

Letters: B targets, V views, A anchors, N dynamic Gaussians, K neighbors, S size of the square
pictures, C = 128 channels.
"""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from igs_ros.stages.motion.agm import lift, modulation
from igs_ros.stages.motion.agm.anchors import AnchorTransformer
from igs_ros.stages.motion.agm.decode import Decoder, interpolate
from igs_ros.stages.motion.agm.flow import STRIDE, FlowBackbone
from igs_ros.stages.motion.agm.swin import PairTransformer

CHANNELS = 128


@dataclass(frozen=True, eq=False)
class RigTensors:
    """The views of a network, V of them; tensors of one dtype and device."""

    intrinsics: Tensor  # [V, 4] fx / width, fy / height, cx / width, cy / height
    world_from_camera: Tensor  # [V, 4, 4] m, OpenCV axes


@dataclass(frozen=True, eq=False)
class Ties:
    """Which anchors move which Gaussians."""

    anchors: Tensor  # [A, 3] m, world
    indices: Tensor  # [N, K] int64: nearest anchors of each dynamic Gaussian
    weights: Tensor  # [N, K], sum 1


@dataclass(frozen=True, eq=False)
class Key:
    """What AGM-Net knows of a key, computed once and shared by all targets."""

    features: Tensor  # [V, C, S/8, S/8] of the key's pictures, before matching
    modulation: Tensor  # [V, S/4, S/4, 2 C] shift and scale from camera and depth
    rig: RigTensors
    grid: Tensor  # [V, A, 2] where the views see the anchors
    ties: Ties

    def views(self, picked: Sequence[int]) -> Key:
        """The same key with some of its views, in that order."""
        rows = torch.tensor(picked, device=self.grid.device)
        rig = RigTensors(self.rig.intrinsics[rows], self.rig.world_from_camera[rows])
        return replace(self, features=self.features[rows], modulation=self.modulation[rows],
                       rig=rig, grid=self.grid[rows])

    def tied(self, ties: Ties) -> Key:
        """The same key with other anchors."""
        return replace(self, grid=_grid(self.rig, ties), ties=ties)


class AgmNet(nn.Module):
    """The published network with the published parameter names (igs_reference.md 1 and 2).

    The flow backbone is frozen. Works in the dtype of its parameters, float32 or float64; with
    `reduced` set to a shorter one, what is learned is computed in that (autocast), and geometry,
    sampling and sums over neighbors stay as they are.

    Args:
        double_division: divide pictures by 255 twice, as the authors' training and inference do;
            their weights expect it, others do not (igs_reference.md 0.1).
    """

    def __init__(self, double_division: bool = False):
        super().__init__()
        self.double_division = double_division
        self.reduced: torch.dtype | None = None  # bfloat16 or float16
        self.backbone = FlowBackbone(CHANNELS).requires_grad_(False)
        self.transformer = PairTransformer(1, CHANNELS)
        self.upsample = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.ModLN = modulation.ModLN(CHANNELS)
        self.triplane_encoder = nn.ModuleDict({'conv': AnchorTransformer(CHANNELS)})
        self.render = Decoder(CHANNELS)

    def encode(self, images: Tensor) -> Tensor:
        """Features [B, C, S/8, S/8] of single pictures [B, 3, S, S], sRGB 0..1."""
        # the backbone divides by 255: without the factor it is the second time for these
        with self._learned():
            return self.backbone.encode(images if self.double_division else images * 255)

    def key(self, images: Tensor, depth: Tensor, rig: RigTensors, ties: Ties) -> Key:
        """What is computed once for a key.

        Args:
            images: [V, 3, S, S] sRGB 0..1, the squeezed pictures of the key, S a multiple of 16.
            depth: [V, Hd, Wd] m, 0 = nothing there, of any size.
            rig: the V views.
            ties: which anchors move which Gaussians.
        """
        size = 2 * images.shape[-1] // STRIDE
        condition = modulation.condition(rig.intrinsics, rig.world_from_camera, depth, size, size)
        with self._learned():
            shift_and_scale = self.ModLN.shift_and_scale(condition)
        return Key(self.encode(images), shift_and_scale, rig, _grid(rig, ties), ties)

    def motion_features(self, key_features: Tensor, target_features: Tensor) -> Tensor:
        """Motion [B, C, h, w] between pictures, from their features [B, C, h, w]."""
        first, second = self.backbone.match(key_features, target_features)
        return self.adapt(first, second)

    def adapt(self, first: Tensor, second: Tensor) -> Tensor:
        """The fine-tuned block: embeddings [B, C, h, w] of two pictures to motion, as large."""
        first, second = (x.permute(0, 2, 3, 1) for x in (first, second))
        return self.transformer.update_first(first, second).permute(0, 3, 1, 2)

    def enlarge(self, motion: Tensor) -> Tensor:
        """[B, C, 2 h, 2 w]: `motion` [B, C, h, w] at twice the size."""
        motion = F.interpolate(motion, scale_factor=2, mode='bilinear', align_corners=False)
        return self.upsample(motion)

    def motion_maps(self, key: Key, targets: Tensor) -> Tensor:
        """[B, V, S/4, S/4, C] motion in the views, told of cameras and depth.

        Args:
            key: of V views.
            targets: [B, V, 3, S, S] sRGB 0..1, in the views of `key`.
        """
        batch, views = targets.shape[:2]
        key_features = key.features.repeat(batch, 1, 1, 1)
        with self._learned():
            motion = self.motion_features(key_features, self.encode(targets.flatten(0, 1)))
            motion = self.enlarge(motion).permute(0, 2, 3, 1).unflatten(0, (batch, views))
            return self.ModLN(motion, key.modulation)

    def lift(self, key: Key, maps: Tensor) -> Tensor:
        """Features of the anchors [B, A, C] from `motion_maps`."""
        return lift.lift(maps.to(key.grid.dtype), key.grid)

    def exchange(self, features: Tensor) -> Tensor:
        """Features of the anchors [B, A, C] after they looked at each other."""
        with self._learned():
            return self.triplane_encoder['conv'](features).to(features.dtype)

    def decode(self, key: Key, features: Tensor) -> tuple[Tensor, Tensor]:
        """Displacements [B, N, 3] m and turns [B, N, 4] from features of the anchors."""
        gathered = interpolate(features, key.ties.indices, key.ties.weights)
        with self._learned():
            displacements, turns = self.render(gathered)
        return displacements.to(features.dtype), turns.to(features.dtype)

    def forward(self, key: Key, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The motion of the dynamic Gaussians from the key to several targets.

        Args:
            key: of V views and N Gaussians.
            targets: [B, V, 3, S, S] sRGB 0..1, in the views of `key`.

        Returns:
            Displacements [B, N, 3] m and turns [B, N, 4], wxyz, not normalized: see
            `decode.turned`.
        """
        return self.decode(key, self.exchange(self.lift(key, self.motion_maps(key, targets))))

    def _learned(self) -> AbstractContextManager:
        if self.reduced is None:
            return nullcontext()
        return torch.autocast(self.upsample.weight.device.type, self.reduced)


def _grid(rig: RigTensors, ties: Ties) -> Tensor:
    camera_from_world = torch.linalg.inv(rig.world_from_camera)
    return lift.project(ties.anchors, rig.intrinsics, camera_from_world)
