# SPDX-License-Identifier: Apache-2.0
"""What the flow views tell about the Gaussians of a key: where each is now, and whether it moved.

The 2-D track of a Gaussian starts where the key shows its center and follows the flow of each
step, which is the composed flow at that pixel. Views in which something lies before the Gaussian
are left out. Where the camera moved in a step, the point first goes to where it would be seen if
it stood still, and then follows the flow of what moved by itself.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.render.rasterizer import Rasterizer
from igs_ros.stages.expectation import Expectation
from igs_ros.vision.egomotion import carried
from igs_ros.vision.flow import Flow, FlowCache, dense_flow, own_flow
from igs_ros.vision.visibility import Visibility, majority

_DEPTH_TOLERANCE = 0.02  # of the depth: centers lie a little behind the surface they draw
_OPAQUE = 0.5  # minimum alpha at which the depth of the key means a surface
_AGREEING_SHARE = 0.4  # of the views that see a Gaussian must see it move, and two where two do


class Track:
    """The Gaussians of one key in one view.

    Args:
        camera: of the view, without distortion.
        scene: the key.
        rasterizer: draws the key, to find which Gaussians are in sight.
        stamp_ns: of the picture that the key shows.
    """

    def __init__(self, camera: Camera, scene: GaussianScene, rasterizer: Rasterizer,
                 stamp_ns: int):
        self.name, self._camera = camera.name, camera
        self.points = scene.means.cpu().numpy()
        found = Visibility.of_points(self.points, camera)
        self.start = np.where(found.seen[:, None], found.pixels, 0.0).astype(np.float32)  # [N, 2]
        with torch.no_grad():
            drawn = rasterizer.render(scene, camera)
        thickness = scene.scales.cpu().numpy().max(1, initial=0.0)
        found = found.before(drawn.require_depth().cpu().numpy(), _DEPTH_TOLERANCE, thickness)
        self.visible = found.seen & (found.at(drawn.alpha.cpu().numpy()) > _OPAQUE)  # [N]
        self.restart(stamp_ns)

    def restart(self, stamp_ns: int) -> None:
        """Back to the key."""
        self.stamp_ns = stamp_ns  # of the picture that `current` belongs to
        self.current = self.start
        self.alive = self.visible

    def advance(self, flows: Iterable[Flow], points: np.ndarray | None = None) -> None:
        """Follow some flows, one after the other.

        points: [N, 3] m, about where the Gaussians are; None: where the key has them.
        """
        for flow in flows:
            if flow.ways is not None:
                points = self.points if points is None else points
                self.current, inside = carried(self.current, points, *flow.ways)
                self.alive = self.alive & inside
            self.current, self.alive = flow.follow(self.current, self.alive)
            if self._camera.valid is not None:
                self.alive = self.alive & self._camera.shows(self.current)


class Tracks:
    """The Gaussians of one key in all flow views.

    Arrays hold V views in the order of `cameras` and N Gaussians.

    Args:
        cameras: of the flow views, where the calibration has them.
        scene: the key.
        frame_set: prepared; what `scene` shows.
        rasterizer: draws the key once per view.
        cache: flows between processed frame sets.
    """

    def __init__(self, cameras: Mapping[str, Camera], scene: GaussianScene, frame_set: FrameSet,
                 rasterizer: Rasterizer, cache: FlowCache):
        self._key = frame_set
        self._cache = cache
        self._rig = cameras
        self._expectation = Expectation.of(scene, frame_set, cameras, rasterizer)
        self._tracks = [Track(camera, scene, rasterizer, frame_set.stamp_ns)
                        for camera in frame_set.in_place(cameras).values()]
        shape = (len(self._tracks), len(scene))
        self.start = np.array([t.start for t in self._tracks], np.float32).reshape(*shape, 2)
        self.visible = np.array([t.visible for t in self._tracks], bool).reshape(shape)

    def at(self, stamp_ns: int, images: Mapping[str, np.ndarray] | None, flow_scale: float = 1.0,
           cameras: Mapping[str, Camera] | None = None, points: np.ndarray | None = None,
           ) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        """Where the views see the Gaussians in the frame set `stamp_ns`.

        Args:
            stamp_ns: of the frame set.
            images: [H, W, 3] uint8 by camera, its pictures, for direct flow from the key where the
                chain is broken; None where they are not at hand.
            flow_scale: share of their size at which direct flow is computed, 0..1.
            cameras: where they were taken; None: where the calibration has the cameras.
            points: [N, 3] m, about where the Gaussians are; None: where the key has them.

        Returns:
            Pixels [V, N, 2] float32 (of the key where not known), which of them are known [V, N]
            bool, and counts of what went wrong.
        """
        current, known = self.start.copy(), np.zeros_like(self.visible)
        counts = {'views_missing': 0, 'chain_breaks': 0}
        for v, track in enumerate(self._tracks):
            flows = self._cache.chain(track.name, track.stamp_ns, stamp_ns)
            if flows is not None:
                track.advance(flows, points)
            elif images is None or track.name not in images or track.name not in self._key.images:
                counts['views_missing'] += 1
                continue
            else:
                counts['chain_breaks'] += track.name in self._cache.cameras
                track.restart(self._key.stamp_ns)
                camera = (cameras or self._rig)[track.name]
                track.advance([self._direct(camera, images[track.name], flow_scale)], points)
            track.stamp_ns = stamp_ns
            current[v], known[v] = track.current, track.alive
        return current, known, counts

    def _direct(self, camera: Camera, image: np.ndarray, flow_scale: float) -> Flow:
        """Flow from the key's picture of a camera to `image`."""
        if self._expectation.moved(camera):
            return own_flow(self._expectation.expected(camera), image, flow_scale)
        return dense_flow(self._key.images[camera.name], image, flow_scale)


def moving(start: np.ndarray, current: np.ndarray, known: np.ndarray, min_px: float,
           ) -> tuple[np.ndarray, np.ndarray]:
    """Which Gaussians moved and which stood still, by the vote of the views.

    Args:
        start: [V, N, 2] px, where the key shows them.
        current: [V, N, 2] px, where they are now.
        known: [V, N] bool, the views that vote.
        min_px: least way of what moves.

    Returns:
        Moved [N] bool (by more than `min_px` in two views, or in the only one, and in 40 % of
        those that vote) and still [N] bool (not even half as far). What is neither was seen by no
        view, or is in doubt.
    """
    squared = np.square(current - start).sum(-1)
    votes = known.sum(0)
    moved = majority(((squared > min_px ** 2) & known).sum(0), votes, _AGREEING_SHARE)
    crept = majority(((squared > (min_px / 2) ** 2) & known).sum(0), votes, _AGREEING_SHARE)
    return moved, (votes > 0) & ~crept
