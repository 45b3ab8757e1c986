# SPDX-License-Identifier: Apache-2.0
"""agm-small under training: its rounds, compared in unseen views.

Every round learns for itself, from the squared error that it leaves against that of geometry
alone: a ratio, so that easy and hard scenes count the same.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from igs_ros.apps.training.config import AgmSmallTrainConfig, TrainConfig
from igs_ros.apps.training.sample import Sample
from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.motion.agm_small import weights
from igs_ros.stages.motion.agm_small.evidence import KeyViews
from igs_ros.stages.motion.agm_small.net import CorrectionNet
from igs_ros.stages.motion.agm_small.rounds import KeyAnchors, carried, corrections
from igs_ros.stages.motion.geometric import GeometricMotion
from igs_ros.vision.metrics import MOVING_ABOVE, changed_pixels

_PERIOD_NS = 33_333_333  # between frames of a sample; only their order matters
_MIN_ERROR = 1e-5  # squared, added to both sides of a ratio: a perfect picture is no goal
_MIN_PIXELS = 50  # moving ones, for a view to be compared by them
_FAR_PX = 4.0  # displacements that are off by more are lost anyway
_KEPT_PRIORS = 400  # samples


@dataclass(frozen=True, eq=False)
class _Prior:
    """What geometry alone does to a key in one frame."""

    rows: np.ndarray  # [M] rows that moved
    means: Tensor  # [M, 3]
    quats: Tensor  # [M, 4]

    def moved(self, key: GaussianScene) -> GaussianScene:
        """The key, moved."""
        rows = torch.from_numpy(self.rows.astype(np.int64)).to(key.device)
        return key.replaced(means=key.means.index_copy(0, rows, self.means),
                            quats=key.quats.index_copy(0, rows, self.quats))


class TrainableAgmSmall:
    """`TrainableMotion` of the small network.

    Args:
        net: to start from, on any device.
        rasterizer: draws; the network is moved to its device.
        settings: what is learned.
    """

    name = 'agm_small'
    consecutive = True  # flow is followed from frame to frame

    def __init__(self, net: CorrectionNet, rasterizer: Rasterizer,
                 settings: AgmSmallTrainConfig):
        self.module = net.to(rasterizer.device)
        self._rasterizer = rasterizer
        self._settings = settings
        self._priors: dict[str, list[_Prior]] = {}
        self._rounds: WeakKeyDictionary[GaussianScene, list[GaussianScene]] = WeakKeyDictionary()

    @classmethod
    def build(cls, config: TrainConfig, rasterizer: Rasterizer) -> TrainableAgmSmall:
        """With seeded weights; it needs no files."""
        torch.manual_seed(config.seed)
        return cls(CorrectionNet(), rasterizer, config.agm_small)

    def predict(self, sample: Sample, targets: Sequence[int]) -> list[GaussianScene]:
        """See `TrainableMotion`. Frames before the targets are gone through without gradients."""
        key = sample.key_scene.to(self._rasterizer.device)
        inputs = {name: sample.cameras[name] for name in sample.input_views}
        views = KeyViews(key, inputs, sample.key_images, self._rasterizer)
        anchors, before, moved = KeyAnchors(key), None, []
        for frame, prior in enumerate(self._prior(sample)[:max(targets) + 1]):
            plain = prior.moved(key)
            evidence = views.evidence(sample.target_images[frame])
            start = carried(plain, before, evidence, prior.rows)
            with torch.set_grad_enabled(torch.is_grad_enabled() and frame in targets):
                scenes = list(corrections(self.module, start, anchors, evidence,
                                          (plain.means - key.means).norm(dim=1),
                                          self._settings.rounds))
            last = scenes[-1] if scenes else start
            before = plain, last.replaced(**{name: getattr(last, name).detach() for name in (
                'means', 'quats', 'scales', 'opacities', 'sh')})
            if frame in targets:
                self._rounds[last] = scenes
                moved.append(last)
        return moved

    def loss(self, sample: Sample, targets: Sequence[int], moved: Sequence[GaussianScene],
             ) -> Mapping[str, Tensor]:
        """`picture`, and where true displacements are known, `displacement`; weighted.

        `picture` is the mean over targets, rounds, and moving and all pixels of log10 of the
        squared error over that of geometry alone, in one random view that the network has not seen
        (where there is one); `displacement`: see `AgmSmallTrainConfig`.

        Args:
            sample: the example.
            targets: indices into its target pictures.
            moved: what `predict` returned for `targets`, the objects themselves.
        """
        key = sample.key_scene.to(self._rasterizer.device)
        unseen = [view for view in sample.loss_views if view not in sample.input_views]
        pictures, displacements = [torch.zeros((), device=key.device)], []
        for target, last in zip(targets, moved, strict=True):
            plain = self._prior(sample)[target].moved(key)
            for scene in self._rounds.get(last, ()):
                names = unseen or sample.loss_views
                view = names[int(torch.randint(len(names), ()))]
                pictures.append(self._gain(sample, target, view, scene, plain))
                displacements += self._drift(sample, target, scene, plain)
        terms = {'picture': torch.stack(pictures).sum() / max(len(pictures) - 1, 1)}
        if displacements:
            terms['displacement'] = self._settings.displacement \
                * torch.stack(displacements).mean()
        return terms

    def save(self, folder: Path) -> None:
        """One .safetensors file."""
        weights.save(self.module, folder / weights.NAME)

    def load(self, folder: Path) -> None:
        """See `TrainableMotion`."""
        self.module.load_state_dict(weights.load(folder / weights.NAME).state_dict())

    def _prior(self, sample: Sample) -> list[_Prior]:
        """Of all frames; takes a second the first time."""
        if sample.name not in self._priors:
            if len(self._priors) >= _KEPT_PRIORS:
                self._priors.pop(next(iter(self._priors)))
            self._priors[sample.name] = _priors(sample, self._rasterizer)
        return self._priors[sample.name]

    def _gain(self, sample, target, view, scene, plain) -> Tensor:
        with torch.no_grad():
            before = self._errors(sample, target, view, plain)
        after = self._errors(sample, target, view, scene)
        ratios = [torch.log10((now + _MIN_ERROR) / (then + _MIN_ERROR))
                  for now, then in zip(after, before, strict=True)]
        return torch.stack(ratios).mean()

    def _errors(self, sample, target, view, scene) -> list[Tensor]:
        """Mean squared errors: all pixels, and the moving ones where there are some."""
        drawn = self._rasterizer.render(scene, sample.cameras[view], depth=False).rgb
        truth = sample.target_images[target][view]
        picture = torch.from_numpy(truth.astype(np.float32) / 255).to(drawn.device)
        error = (sample.exposed(view, drawn) - picture).square().mean(-1)
        earlier = sample.target_images[target - 1] if target else sample.key_images
        errors = [error.mean()]
        if view in earlier:
            moving = changed_pixels(earlier[view], truth, MOVING_ABOVE)
            if moving.sum() > _MIN_PIXELS:
                errors.append(error[torch.from_numpy(moving).to(error.device)].mean())
        return errors

    def _drift(self, sample, target, scene, plain) -> list[Tensor]:
        """How much farther than by geometry alone moving Gaussians are from the truth, px."""
        if sample.displacements is None:
            return []
        true = torch.from_numpy(sample.displacements[target]).to(scene.device)
        goal = sample.key_scene.means.to(scene.device) + true
        camera = sample.cameras[sample.input_views[0]]
        forward = torch.from_numpy(camera.camera_from_world[2].copy()).to(goal)
        per_meter = camera.K[0, 0] / (plain.means @ forward[:3] + forward[3]).clamp_min(1e-3)
        rows = torch.isfinite(goal).all(1) & ((true.norm(dim=1) * per_meter) > 0.5)
        if not rows.any():
            return []
        # only known rows: the gradient of a distance to NaN is NaN, whatever its weight
        off = [((at.means[rows] - goal[rows]).norm(dim=1) * per_meter[rows]).clamp_max(_FAR_PX)
               for at in (scene, plain)]
        return [(off[0] - off[1]).mean()]


def _priors(sample: Sample, rasterizer: Rasterizer) -> list[_Prior]:
    cameras = {name: sample.cameras[name] for name in sample.input_views}
    model = GeometricMotion(cameras, rasterizer, MotionConfig(flow_views=0))
    sets = [FrameSet(number * _PERIOD_NS, {name: images[name] for name in cameras})
            for number, images in enumerate((sample.key_images, *sample.target_images))]
    model.observe(sets[0])
    follower = model.follow(sample.key_scene.to(rasterizer.device), sets[0])
    priors = []
    for frame_set in sets[1:]:
        model.observe(frame_set)
        moved = follower.move_to(frame_set)
        rows = torch.from_numpy(moved.rows.astype(np.int64)).to(moved.scene.device)
        priors.append(_Prior(moved.rows, moved.scene.means[rows], moved.scene.quats[rows]))
    return priors
