# SPDX-License-Identifier: Apache-2.0
"""Rounds of correction: look at what is wrong, ask the network, take its steps.

Everything that the network gets is free of scale: colors, pixels, ratios, cosines.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from igs_ros.core.scene import SH_C0, GaussianScene
from igs_ros.stages.motion.agm_small.evidence import Evidence, Slopes
from igs_ros.stages.motion.agm_small.net import CorrectionNet, Neighborhood
from igs_ros.vision.neighbors import fps, knn
from igs_ros.vision.visibility import changed_gaussians

_ANCHORS, _NEIGHBORS = 1024, 8
_MIN_WEIGHT = 0.3  # px: Gaussians that are blended into less stay as they are
_SHARE = 0.6  # of the views that see a Gaussian must see it change, for it to be corrected
_MEMORY = 0.6  # share of the last round's direction that stays in the next one's
_MAX_PX, _MAX_GROWTH, _MAX_TURN, _MAX_LOGIT = 2.0, 0.3, 0.1, 2.0  # per round
_EPS = 1e-4  # keeps logarithms and logits finite
_FREE = ('means', 'quats', 'scales', 'opacities', 'sh')


class KeyAnchors:
    """Anchors of a key: farthest points, so that each stands for what is around it."""

    def __init__(self, scene: GaussianScene):
        points = scene.means.detach().cpu().numpy().astype(np.float64)
        picked = points[fps(points, _ANCHORS)]
        nearest = knn(points, picked, 1)[1][:, 0] if len(points) else np.zeros(0, np.int64)
        neighbors = knn(picked, picked, _NEIGHBORS + 1)[1][:, 1:]
        if neighbors.shape[1] == 0:  # a single anchor is its own neighbor
            neighbors = np.zeros((len(picked), 1), np.int64)
        self._nearest = torch.from_numpy(nearest).to(scene.device)
        self._neighbors = torch.from_numpy(neighbors).to(scene.device)

    def of(self, rows: Tensor) -> Neighborhood:
        """The neighborhood of some Gaussians of the key."""
        return Neighborhood(self._nearest[rows], self._neighbors)


@dataclass(frozen=True, eq=False)
class _Fixed:
    """What does not change from round to round, of M Gaussians in V views."""

    rows: Tensor  # [M]
    neighborhood: Neighborhood
    weights: Tensor  # [V, M] px
    total: Tensor  # [M] px, their sums
    per_meter: Tensor  # [V, M] px per m
    scale: Tensor  # [M] px per m, mean over the views
    moved: Tensor  # [M] px, how far geometry moved them


def corrections(net: CorrectionNet, scene: GaussianScene, anchors: KeyAnchors,
                evidence: Evidence, moved: Tensor, rounds: int) -> Iterator[GaussianScene]:
    """The scene after each round; differentiable in the network, through one round each.

    Rows that no view is wrong about, and those that neither moved nor changed in several views,
    are those of `scene`; nothing is yielded where there are no others.

    Args:
        net: what is asked.
        scene: where to start, N Gaussians.
        anchors: of its key.
        evidence: not used before.
        moved: [N] m, how far geometry moved the Gaussians.
        rounds: how many.
    """
    weights = evidence.weights(scene)
    free = (weights.sum(0) > _MIN_WEIGHT) & ((moved > 0) | _changed(scene, evidence))
    rows = torch.nonzero(free).flatten()
    if len(rows) == 0:
        return
    fixed = _fixed(scene, rows, anchors, evidence, weights[:, rows], moved)
    memory = torch.zeros(len(rows), 3, device=scene.device)
    for number in range(rounds):
        scene = _detached(scene)
        slopes = evidence.slopes(scene).select(rows)
        part = scene.select(rows)
        ways = _ways(slopes, fixed, memory)
        memory = ways.remembered
        views, features = _features(slopes, fixed, ways, part, number)
        colors, steps = net(views, features, slopes.colors, fixed.weights, fixed.neighborhood)
        scene = _stepped(scene, part, fixed, ways, colors, steps)
        yield scene


def carried(moved: GaussianScene, before: tuple[GaussianScene, GaussianScene] | None,
            evidence: Evidence, rows: np.ndarray) -> GaussianScene:
    """The moved key with the corrections of the instant before, where something still changes.

    Args:
        moved: the key as geometry alone moves it now.
        before: the key as geometry alone moved it to the instant before, and corrected; None =
            there was none.
        evidence: of now.
        rows: [M] those that geometry moved now.
    """
    if before is None:
        return moved
    plain, corrected = before
    kept = _changed(moved, evidence).cpu().numpy()
    kept[rows] = True
    kept &= _differ(plain, corrected)
    at = torch.from_numpy(np.flatnonzero(kept)).to(moved.device)
    old, new, now = plain.select(at), corrected.select(at), moved.select(at)
    opacities = torch.sigmoid(_logit(now.opacities) + _logit(new.opacities)
                              - _logit(old.opacities))
    return _put(moved, at, now.means + new.means - old.means,
                normalize(now.quats + new.quats - old.quats, dim=1),
                now.scales * new.scales / old.scales.clamp_min(1e-12), opacities,
                now.sh + new.sh - old.sh)


def _changed(scene: GaussianScene, evidence: Evidence) -> Tensor:
    """[N] bool: Gaussians that several views see change; others would only flicker."""
    cameras = {camera.name: camera for camera in evidence.cameras}
    changed = changed_gaussians(scene, evidence.changed, cameras, _SHARE)
    return torch.from_numpy(changed).to(scene.device)


def _fixed(scene, rows, anchors, evidence, weights, moved) -> _Fixed:
    points = scene.means[rows].detach()
    per_meter = []
    for camera in evidence.cameras:
        forward = torch.from_numpy(camera.camera_from_world[2].copy()).to(points)
        depth = points @ forward[:3] + forward[3]
        per_meter.append(camera.K[0, 0] / depth.clamp_min(_EPS))
    per_meter = torch.stack(per_meter)
    total = weights.sum(0)
    scale = (per_meter * weights).sum(0) / total
    return _Fixed(rows, anchors.of(rows), weights, total, per_meter, scale, moved[rows] * scale)


@dataclass(frozen=True, eq=False)
class _Directions:
    """Directions in which the M Gaussians can go; lengths say how much it would help."""

    own: Tensor  # [M, 3] m
    remembered: Tensor  # [M, 3] m, with the rounds before
    body: Tensor  # [M, 3] m, of all that is around
    scales: Tensor  # [M, 3] of log scales
    logits: Tensor  # [M]
    quats: Tensor  # [M, 4]


def _ways(slopes: Slopes, fixed: _Fixed, memory: Tensor) -> _Directions:
    total = (fixed.total + 0.5)[:, None]
    own = slopes.means.sum(0) / fixed.scale[:, None] / total
    area = fixed.neighborhood
    around = area.mean(own, fixed.total)
    around = around + around[area.neighbors].mean(1)
    return _Directions(own, _MEMORY * memory + own, around[area.anchor],
                       slopes.log_scales.sum(0) / total, slopes.logits.sum(0) / total[:, 0],
                       slopes.quats.sum(0) / total)


def _features(slopes: Slopes, fixed: _Fixed, ways: _Directions, part: GaussianScene, number: int,
              ) -> tuple[Tensor, Tensor]:
    """[V, M, VIEW_FEATURES] and [M, FEATURES], most of them within -2..2."""
    weights, total = fixed.weights, fixed.total
    errors = slopes.colors / (weights + 0.5)[..., None]
    error = slopes.colors.sum(0) / (total + 0.5)[:, None]
    apart = errors - error
    size = part.scales.max(1).values
    together = slopes.means.sum(0).expand_as(slopes.means)
    pull = slopes.means.norm(dim=-1) / fixed.scale / (weights + 0.5)
    views = torch.cat([4 * errors, 4 * apart, torch.stack([
        torch.log1p(weights) / 3, torch.log(fixed.per_meter * size + 0.1) / 2,
        (weights > 0.5).float(), _cosine(slopes.means, together), _level(pull)], -1)], -1)
    spread = ((weights[..., None] * apart.square()).sum(0) / (total + 0.5)[:, None]).mean(-1)
    flatness = size / part.scales.min(1).values.clamp_min(1e-12)
    features = torch.cat([4 * error, part.sh[:, 0] * SH_C0, torch.stack([
        torch.log1p(total) / 3, part.opacities, 4 * spread.sqrt(),
        (weights > 0.5).float().sum(0) / len(weights), torch.log1p(fixed.moved) / 2,
        torch.full_like(total, min(number, 3) / 3), torch.full_like(total, float(number == 0)),
        _level(ways.own.norm(dim=-1)), _level(ways.remembered.norm(dim=-1)),
        _level(ways.body.norm(dim=-1)), _cosine(ways.own, ways.remembered),
        _cosine(ways.own, ways.body), (10 * ways.logits).clamp(-2, 2),
        _level(ways.scales.norm(dim=-1)), (20 * ways.scales.sum(-1)).clamp(-2, 2),
        _level(ways.quats.norm(dim=-1)), torch.log(size * fixed.scale + 0.1) / 2,
        torch.log1p(flatness) / 4], -1)], -1)
    return views, features


def _stepped(scene: GaussianScene, part: GaussianScene, fixed: _Fixed, ways: _Directions,
             colors: Tensor, steps: Tensor) -> GaussianScene:
    paces = _MAX_PX * torch.tanh(steps[:, 1:4] / _MAX_PX)  # px
    shift = paces[:, :1] * _unit(ways.own) + paces[:, 1:2] * _unit(ways.remembered) \
        + paces[:, 2:] * _unit(ways.body)
    growth = _MAX_GROWTH * (torch.tanh(steps[:, 4:5]) * _unit(ways.scales)
                            + torch.tanh(steps[:, 5:6]))
    turn = _MAX_TURN * torch.tanh(steps[:, 6:7]) * _unit(ways.quats)
    logits = _logit(part.opacities) + _MAX_LOGIT * torch.tanh(steps[:, 7] / _MAX_LOGIT)
    constant = part.sh[:, 0] + steps[:, :1] * colors / SH_C0
    return _put(scene, fixed.rows, part.means + shift / fixed.scale[:, None],
                normalize(part.quats + turn, dim=1), part.scales * torch.exp(growth),
                torch.sigmoid(logits), torch.cat([constant[:, None], part.sh[:, 1:]], 1))


def _put(scene: GaussianScene, rows: Tensor, *values: Tensor) -> GaussianScene:
    """The scene with other values of the attributes `_FREE` in some rows."""
    return scene.replaced(**{name: getattr(scene, name).index_copy(0, rows, value)
                             for name, value in zip(_FREE, values, strict=True)})


def _detached(scene: GaussianScene) -> GaussianScene:
    return scene.replaced(**{name: getattr(scene, name).detach() for name in _FREE})


def _differ(one: GaussianScene, other: GaussianScene) -> np.ndarray:
    """[N] bool: rows of which any free attribute differs."""
    different = [(getattr(one, name) != getattr(other, name)).flatten(1).any(1)
                 if getattr(one, name).ndim > 1 else getattr(one, name) != getattr(other, name)
                 for name in _FREE]
    return torch.stack(different).any(0).cpu().numpy()


def _logit(values: Tensor) -> Tensor:
    return torch.logit(values, eps=_EPS)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-12)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return (_unit(one) * _unit(other)).sum(-1)


def _level(lengths: Tensor) -> Tensor:
    """Logarithm of a length from nothing (-1.3) to a lot (1)."""
    return torch.log(lengths + _EPS) / 4 + 1
