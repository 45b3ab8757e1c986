# SPDX-License-Identifier: Apache-2.0
"""Any motion model, its moved scenes adjusted to the pictures by a few steps of descent.

    pictures that changed since the key -> tiles in which the moved scene is wrong
    -> Gaussians that moved, or that several views see wrong -> a few steps, one view each

What motion cannot explain is mended there: fast and tumbling things, leftovers where something
went away, shadows, highlights. Gaussians that did not move change only in color and opacity, and
what no picture saw change is aimed at what the key showed there, so that still things do not
flicker.
"""
from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved
from igs_ros.core.timing import span
from igs_ros.render.optimize import rotated
from igs_ros.render.rasterizer import Rasterizer, Rendering
from igs_ros.render.tiles import TILE, pixels_of, tile_grid, tiles_with, worst_tiles
from igs_ros.stages.expectation import Expectation
from igs_ros.stages.motion.descent import (
    STEPS,
    Values,
    ViewTarget,
    descend,
    from_params,
    to_params,
)
from igs_ros.stages.motion.models import Follower, MotionEffort, MotionModel
from igs_ros.vision.changes import changed_pixels
from igs_ros.vision.flow import spread_views
from igs_ros.vision.visibility import Visibility, agreed

_WRONG = 8 / 255  # blurred error above which a pixel that changed is wrong
_WRONG_STILL = 6 / 255  # and one that did not: motion drew over it
_SIGMA = 1.5  # px, blur of the error
_FULL_STEP = 96 / 255  # error at which steps reach their full size; at half, a sixth more flicker
_ENERGY = 0.95  # share of a view's squared error that its tiles must hold
_SHARE = 0.6  # of the views that see a Gaussian must see it wrong (and two, where two do)
_ENDS = 2.0  # standard deviations from the center to where a Gaussian must be wrong as well
_GEOMETRY = ('means', 'quats', 'log_scales')


class AdjustedMotion:
    """`inner` with its moved scenes adjusted; see the module.

    A step costs about 10 CPU ms at 480x360 with 30k Gaussians, choosing what is wrong 0.2 to 0.3
    CPU s. `counts` has `adjust_discarded`, too: adjustments that were not finite and not used.

    Args:
        inner: the model that moves the scenes.
        cameras: working cameras that feed the scene.
        rasterizer: draws the moved scenes.
        iterations: steps per moved scene, at full effort.
        views: how many cameras are met (0 = all), spread over the rig.
    """

    def __init__(self, inner: MotionModel, cameras: Mapping[str, Camera], rasterizer: Rasterizer,
                 iterations: int, views: int):
        self.inner = inner
        self.cameras = {name: cameras[name] for name in spread_views(cameras, views)}
        self.rasterizer = rasterizer
        self.discarded = 0
        self._full = self.iterations = iterations

    @property
    def name(self) -> str:
        """That of the model inside."""
        return self.inner.name

    @property
    def counts(self) -> dict[str, int]:
        """What went wrong."""
        return {**self.inner.counts, 'adjust_discarded': self.discarded}

    def set_effort(self, effort: MotionEffort) -> None:
        """What each step may cost from now on."""
        self.iterations = round(self._full * effort.adjust_share)
        self.inner.set_effort(effort)

    def observe(self, frame_set: FrameSet, shown: GaussianScene | None = None) -> None:
        """See `MotionModel`."""
        self.inner.observe(frame_set, *() if shown is None else (shown,))

    def follow(self, scene: GaussianScene, frame_set: FrameSet) -> AdjustedFollower:
        """A follower of `scene`, which shows `frame_set` (prepared)."""
        return AdjustedFollower(self, self.inner.follow(scene, frame_set))


@dataclass(frozen=True, eq=False)
class _ViewResidual:
    """A moved scene against the picture of one view."""

    target: torch.Tensor  # [H, W, 3]: the picture where it changed, else what the key shows
    error: np.ndarray  # [H, W] float32 0..1, blurred
    wrong: np.ndarray  # [H, W] bool
    depth: np.ndarray  # [H, W] float32 m of the moved scene, NaN = nothing there


@dataclass(frozen=True, eq=False)
class _Carried:
    """How Gaussians `rows` [M] differ from where motion had them, for the next frame set."""

    rows: np.ndarray
    apart: Values


class AdjustedFollower:
    """Moves one key; made by `AdjustedMotion.follow`."""

    def __init__(self, model: AdjustedMotion, inner: Follower):
        self.scene, self.frame_set = inner.scene, inner.frame_set
        self._model, self._inner = model, inner
        self._lock = threading.Lock()
        self._key = Expectation.of(self.scene, self.frame_set, model.cameras, model.rasterizer)
        self._shown: dict[str, tuple[Camera, Rendering]] = {}  # the key, from where each was last
        self._cameras: Mapping[str, Camera] = self._key.cameras  # where they are now
        self._pixel = _pixel_sizes(self.scene, self._key.cameras)
        self._carried: _Carried | None = None
        self._last: Moved | None = None

    def move_to(self, frame_set: FrameSet) -> Moved:
        """The key moved to `frame_set` (prepared, newer than the last one given, or equal)."""
        with self._lock:
            if self._last is None or self._last.stamp_ns != frame_set.stamp_ns:
                self._last = self._inner.move_to(frame_set)
                if frame_set.stamp_ns != self.frame_set.stamp_ns and self._model.iterations:
                    with torch.no_grad(), span('adjust'):
                        self._last = self._adjusted(self._last, frame_set)
            return self._last

    def _adjusted(self, moved: Moved, frame_set: FrameSet) -> Moved:
        moves = np.zeros(len(self.scene), bool)
        moves[moved.rows.astype(np.int64)] = True
        self._cameras = frame_set.in_place(self._model.cameras)
        changed = {name: self._changed(camera, frame_set.images[name])
                   for name, camera in self._cameras.items()
                   if name in frame_set.images and name in self.frame_set.images}
        carried = self._still_carried(moved.scene, moves, changed)
        current = _merged(moved.scene, carried, moves)
        residuals = {name: self._compare_view(name, current, mask, frame_set.images[name])
                     for name, mask in changed.items() if mask.any()}
        residuals = {name: one for name, one in residuals.items() if one.wrong.any()}
        free, error = self._free(current, moves, residuals)
        rows = np.flatnonzero(free)
        if len(rows):
            values = self._descended(current, rows, moves[rows], error[rows], residuals)
            if values is None:
                self._model.discarded += 1
            else:
                carried = _joined(moved.scene, carried, rows, values)
        self._carried = carried
        return Moved(_merged(moved.scene, carried, moves),
                     np.union1d(moved.rows, carried.rows).astype(np.uint32), moved.stamp_ns)

    def _key_from(self, camera: Camera) -> Rendering:
        """The key as `camera` sees it; with depth where it is elsewhere than it was then."""
        last, drawn = self._shown.get(camera.name, (None, None))
        if last is None or drawn is None or not last.is_at(camera.camera_from_world):
            drawn = self._model.rasterizer.render(self.scene, camera,
                                                  depth=self._key.moved(camera))
            self._shown[camera.name] = (camera, drawn)
        return drawn

    def _changed(self, camera: Camera, image: np.ndarray) -> np.ndarray:
        """[H, W] bool: where `image`, of `camera`, shows something else than the key's."""
        if not self._key.moved(camera):
            changed = changed_pixels(image, self.frame_set.images[camera.name])
        else:
            expected = self._key.expected(camera, self._key_from(camera))
            # what the key did not see counts, too: there may be Gaussians that nothing was fitted
            # to
            changed = changed_pixels(image, expected.reference(image)) | ~expected.known
        return changed if camera.valid is None else changed & camera.valid

    def _still_carried(self, scene, moves, changed) -> _Carried:
        """What was adjusted before, of rows that move or are still seen to differ from the key.

        Without any picture, all of it.
        """
        if self._carried is None:
            return _Carried(np.zeros(0, np.int64), to_params(scene.select(torch.zeros(0).long())))
        if not changed:
            return self._carried
        rows = self._carried.rows
        part = scene.select(torch.from_numpy(rows).to(scene.device))
        visible = {name: Visibility.of(part, self._cameras[name]) for name in changed}
        kept = moves[rows] | agreed(changed, visible, _SHARE)
        index = torch.from_numpy(np.flatnonzero(kept)).to(scene.device)
        return _Carried(rows[kept], {name: value[index]
                                     for name, value in self._carried.apart.items()})

    def _compare_view(self, name, scene, changed, image) -> _ViewResidual:
        camera, rasterizer = self._cameras[name], self._model.rasterizer
        # one tile more on each side, for what motion drew over still pixels
        near = cv2.dilate(tiles_with(changed).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        drawn = rasterizer.render(scene, camera, tiles=near)
        picture = torch.from_numpy(image).to(drawn.rgb.device).float() / 255
        target = torch.where(torch.from_numpy(changed).to(picture.device)[..., None], picture,
                             self._key_from(camera).rgb)
        error = (drawn.rgb - target).abs().amax(2).cpu().numpy()
        error[~pixels_of(near, camera.height, camera.width)] = 0
        if camera.valid is not None:
            error[~camera.valid] = 0
        error = cv2.GaussianBlur(error, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT_101)
        depth = torch.where(drawn.alpha < 0.5, torch.nan, drawn.require_depth()).cpu().numpy()
        return _ViewResidual(target, error, error > np.where(changed, _WRONG, _WRONG_STILL), depth)

    def _free(self, scene, moves, residuals) -> tuple[np.ndarray, np.ndarray]:
        """Which Gaussians are to be adjusted [N] bool, and how wrong each looks [N] 0..1."""
        if not residuals:
            return np.zeros(len(scene), bool), np.zeros(len(scene))
        cameras, masks = self._cameras, {name: one.wrong for name, one in residuals.items()}
        visible = {name: Visibility.of(scene, cameras[name], one.depth)
                   for name, one in residuals.items()}
        error = sum(visible[name].at(one.error).astype(np.float64)
                    for name, one in residuals.items())
        error /= np.maximum(sum(one.seen.astype(np.int64) for one in visible.values()), 1)
        still = np.flatnonzero(agreed(masks, visible, _SHARE) & ~moves)
        part = scene.select(torch.from_numpy(still).to(scene.device))
        longest = torch.zeros_like(part.means).scatter_(
            1, part.scales.argmax(1, keepdim=True), part.scales.amax(1, keepdim=True) * _ENDS)
        offsets = rotated(torch.nn.functional.normalize(part.quats, dim=1), longest)
        inside = np.ones(len(still), bool)
        for end in (offsets, -offsets):
            placed = part.replaced(means=part.means + end)
            inside &= agreed(masks, {name: Visibility.of(placed, cameras[name], one.depth)
                                     for name, one in residuals.items()}, _SHARE)
        free = moves.copy()
        free[still[inside]] = True
        return free, error

    def _descended(self, scene, rows, moves, error, residuals) -> Values | None:
        """The values of Gaussians `rows` after descent; None if they are not finite."""
        rasterizer, device = self._model.rasterizer, scene.device
        index = torch.from_numpy(rows).to(device)
        stay = np.ones(len(scene), bool)
        stay[rows] = False
        frozen = scene.select(torch.from_numpy(np.flatnonzero(stay)).to(device))
        targets = []
        for name, residual in residuals.items():
            camera = self._cameras[name]
            tiles = _worst_tiles(np.where(residual.wrong, residual.error, 0))
            targets.append(ViewTarget(camera, residual.target, tiles,
                            rasterizer.context(frozen, camera, tiles=tiles)))
        part = scene.select(index)
        size = np.minimum(error / _FULL_STEP, 1)
        sizes = {}
        for name, value in to_params(part).items():
            each = size * STEPS[name]
            if name in _GEOMETRY:
                each = each * moves
            if name == 'means':
                each = each * self._pixel[rows]
            each = torch.from_numpy(each).float().to(device)
            sizes[name] = each.view(-1, *[1] * (value.ndim - 1))
        values = descend(to_params(part), part.sh[:, 1:], targets, rasterizer, sizes,
                         self._model.iterations)
        finite = torch.stack([torch.isfinite(value).all() for value in values.values()]).all()
        return values if bool(finite) else None


def _pixel_sizes(scene: GaussianScene, cameras: Mapping[str, Camera]) -> np.ndarray:
    """[N] float64 m: the length of a pixel at each Gaussian, in the view where it is finest."""
    means = scene.means.detach().cpu().numpy().astype(np.float64)
    sizes = np.full(len(means), np.inf)
    for camera in cameras.values():
        depth = camera.to_camera(means)[:, 2]
        sizes = np.where(depth > 0, np.minimum(sizes, depth / camera.K[0, 0]), sizes)
    return np.where(np.isfinite(sizes), sizes, 0.0)  # behind all cameras: nothing to learn from


def _worst_tiles(error: np.ndarray) -> np.ndarray:
    """The fewest tiles, bool [rows, columns], that hold most of the squared error [H, W]."""
    rows, columns = tile_grid(*error.shape)
    padded = np.zeros((rows * TILE, columns * TILE))
    padded[:error.shape[0], :error.shape[1]] = np.square(error, dtype=np.float64)
    return worst_tiles(padded.reshape(rows, TILE, columns, TILE).sum((1, 3)), _ENERGY)


def _merged(scene: GaussianScene, carried: _Carried, moves: np.ndarray) -> GaussianScene:
    """`scene` with what is carried added; geometry only to rows that move."""
    if not len(carried.rows):
        return scene
    index = torch.from_numpy(carried.rows).to(scene.device)
    part = scene.select(index)
    new = from_params({name: value + carried.apart[name]
                       for name, value in to_params(part).items()}, part.sh[:, 1:])
    turned = torch.nn.functional.normalize(new.quats, dim=1)
    geometry = torch.from_numpy(np.flatnonzero(moves[carried.rows])).to(scene.device)
    changes = {'opacities': scene.opacities.index_copy(0, index, new.opacities),
               'sh': scene.sh.index_copy(0, index, new.sh)}
    for name, values in (('means', new.means), ('quats', turned), ('scales', new.scales)):
        changes[name] = getattr(scene, name).index_copy(0, index[geometry], values[geometry])
    return scene.replaced(**changes)


def _joined(scene: GaussianScene, carried: _Carried, rows: np.ndarray, values: Values
            ) -> _Carried:
    """`carried` with the new `values` of `rows`, as differences to `scene`."""
    kept = np.flatnonzero(~np.isin(carried.rows, rows))
    both = np.concatenate([carried.rows[kept], rows])
    order = np.argsort(both, kind='stable')
    index = torch.from_numpy(rows).to(scene.device)
    before, at = to_params(scene.select(index)), torch.from_numpy(kept).to(scene.device)
    picked = torch.from_numpy(order).to(scene.device)
    apart = {name: torch.cat([carried.apart[name][at], values[name] - before[name]])[picked]
             for name in values}
    return _Carried(both[order], apart)
