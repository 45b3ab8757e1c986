# SPDX-License-Identifier: Apache-2.0
"""Optical flow between the pictures of one camera, chained over time.

Fast and rotating things are followed better by many small flows, one after the other, than by
one flow from the key frame (reference/quality_calibration.md 7, fact 4). Every picture is matched
once with the one before it; all followers share those flows.
"""
from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet
from igs_ros.vision.egomotion import Expected

_LOG = logging.getLogger(__name__)
_NOISE = 6  # of 255: smaller differences, blurred over 5x5 px, are codec and sensor noise
_MARGIN = 48  # px around what changed: context for the flow, and room for what moves far
_SMALLEST = 32  # px: DIS needs a few patches of 8 px in each direction
_MAX_LINKS = 4096  # flows of pictures in which nothing moved take no bytes, but must end, too


@dataclass(frozen=True, eq=False)
class Flow:
    """Where the pixels of an earlier picture are in a later one."""

    forward: np.ndarray | None  # [h, w, 2] float16 px of the pictures; None = nothing moved
    trusted: np.ndarray | None  # [h, w] uint8, 1 = the backward flow leads back; None = all
    size: tuple[int, int]  # W, H of the pictures, px; the arrays may be coarser
    ways: tuple[Camera, Camera] | None = None
    # where the camera was and is; then the earlier picture is the one that it should have taken
    # from where it is now, and points have to be brought there before they follow

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        return sum(array.nbytes for array in (self.forward, self.trusted) if array is not None)

    def follow(self, points: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points of the earlier picture in the later one.

        Args:
            points: [N, 2] float32 px, centers at +0.5.
            alive: [N] bool, whose points are still followed.

        Returns:
            The moved points [N, 2], and [N] bool who of them is still alive: inside the picture,
            on trusted flow. Others stay where they are and are not to be used.
        """
        if self.forward is None or self.trusted is None:
            return points, alive
        on_grid = points * np.divide(self.trusted.shape[::-1], self.size, dtype=np.float32)
        sampled = _sample(self.forward.astype(np.float32), on_grid)
        # all four pixels around the point must be trusted
        trusted = _sample(self.trusted.astype(np.float32), on_grid) > 0.99
        moved = points + sampled
        inside = ((moved > 0) & (moved < self.size)).all(1)
        alive = alive & trusted & inside
        return np.where(alive[:, None], moved, points), alive


def dense_flow(earlier: np.ndarray, later: np.ndarray, scale: float = 1.0) -> Flow:
    """Flow from one picture to another of the same standing camera.

    DIS optical flow (Kroeger et al. 2016), computed only around what changed; trust follows from
    the forward-backward check of Sundaram et al. 2010.

    Args:
        earlier: [H, W, 3] uint8 RGB.
        later: [H, W, 3] uint8 RGB.
        scale: 0..1, share of their size at which the flow is computed; its values are px of the
            pictures all the same.
    """
    return _flow(earlier, later, earlier, scale)


def own_flow(expected: Expected, later: np.ndarray, scale: float = 1.0) -> Flow:
    """Flow of what moved by itself, in a picture of a camera that moved, too.

    What is not known is not trusted.

    Args:
        expected: what `later` should show, had nothing else moved.
        later: [H, W, 3] uint8 RGB.
        scale: as in `dense_flow`.
    """
    flow = _flow(expected.completed(later), later, expected.reference(later), scale)
    known = expected.known.astype(np.uint8)
    forward, trusted = flow.forward, flow.trusted
    if forward is None or trusted is None:
        forward, trusted = np.zeros((*known.shape, 2), np.float16), np.ones_like(known)
    known = cv2.resize(known, trusted.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return Flow(forward, np.minimum(trusted, known), flow.size,
                (expected.before, expected.camera))


def _flow(earlier: np.ndarray, later: np.ndarray, compared: np.ndarray, scale: float) -> Flow:
    """Around what differs between `later` and `compared`."""
    size = earlier.shape[1::-1]
    same = compared is earlier
    earlier, later = (_gray(image, scale) for image in (earlier, later))
    compared = earlier if same else _gray(compared, scale)
    box = _changed_box(compared, later, round(_MARGIN * scale))
    if box is None:
        return Flow(None, None, size)
    forward = _dis(earlier[box], later[box])
    backward = _dis(later[box], earlier[box])
    height, width = earlier.shape
    flow = np.zeros((height, width, 2), np.float16)
    trusted = np.ones((height, width), np.uint8)
    flow[box] = forward * np.divide(size, (width, height), dtype=np.float32)
    trusted[box] = _leads_back(forward, backward)
    return Flow(flow, trusted, size)


def spread_views(cameras: Mapping[str, Camera], count: int) -> tuple[str, ...]:
    """`count` cameras (0 = all) spread over the rig: far apart, or looking elsewhere.

    The first is the one closest to the middle of the rig, which shares most with the others; the
    rest are farthest points of position and viewing direction. In the order picked.
    """
    names = list(cameras)
    if count <= 0 or count >= len(names):
        return tuple(names)
    centers = np.array([cameras[name].center for name in names])
    centers -= centers.mean(0)
    extent = max(np.linalg.norm(centers, axis=1).max(), 1e-9)
    axes = np.array([cameras[name].camera_from_world[2, :3] for name in names])
    features = np.concatenate([centers / extent, axes], 1)
    gaps = np.linalg.norm(features - features.mean(0), axis=1)
    picked = [int(gaps.argmin())]
    gaps = np.full(len(names), np.inf)
    while len(picked) < count:
        gaps = np.minimum(gaps, np.linalg.norm(features - features[picked[-1]], axis=1))
        gaps[picked] = -1.0
        picked.append(int(gaps.argmax()))
    return tuple(names[i] for i in picked)


@dataclass(frozen=True, eq=False)
class _Link:
    earlier_ns: int
    later_ns: int
    flow: Flow


class FlowCache:
    """Flows from each processed picture to the next one of the same camera.

    A camera that misses a frame set is linked across it. Without cameras it only knows the stamps.
    Safe to use from several threads.

    Args:
        cameras: names of those to match.
        limit_bytes: bound of all flows together, the oldest go first.
    """

    def __init__(self, cameras: tuple[str, ...], limit_bytes: int):
        self.cameras = cameras
        self.nbytes = 0
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._links: list[tuple[str, _Link]] = []  # oldest first
        self._newest: dict[str, FrameSet] = {}  # by camera: the last set with its picture
        self._stamps: list[int] = []
        self._told = False

    def observe(self, frame_set: FrameSet, scale: float = 1.0,
                expected: Mapping[str, Expected] | None = None) -> None:
        """Match the pictures of a processed frame set with those before.

        Sets come in time order; an older one means that time starts anew, and clears the cache.

        Args:
            frame_set: of working images.
            scale: 0..1, at which the flow is computed (`dense_flow`).
            expected: what cameras that moved since the set before should see, made of that set;
                one that moved and has none is not matched.
        """
        expected = expected or {}
        with self._lock:
            if self._stamps and frame_set.stamp_ns < self._stamps[-1]:
                self._clear()
            if self._stamps and frame_set.stamp_ns == self._stamps[-1]:
                return
            self._stamps = self._stamps[-1:] + [frame_set.stamp_ns]
            before = dict(self._newest)
            images = {name: frame_set.images[name] for name in self.cameras
                      if name in frame_set.images}
            self._newest.update(dict.fromkeys(images, frame_set.only(images)))
        for name, image in images.items():
            if name not in before:
                continue
            last = before[name]
            if not frame_set.moved_since(last, name):
                flow = dense_flow(last.images[name], image, scale)
            elif name in expected:
                flow = own_flow(expected[name], image, scale)
            else:
                continue
            self._add(name, _Link(last.stamp_ns, frame_set.stamp_ns, flow))

    def previous_stamp(self, stamp_ns: int) -> int | None:
        """Stamp of the set processed just before the newest, if the newest is `stamp_ns`."""
        with self._lock:
            if len(self._stamps) == 2 and self._stamps[1] == stamp_ns:
                return self._stamps[0]
            return None

    def chain(self, camera: str, earlier_ns: int, later_ns: int) -> list[Flow] | None:
        """The flows of a camera that lead from one picture to another; None = chain broken.

        Args:
            camera: by name.
            earlier_ns: stamp of the picture to begin with.
            later_ns: stamp of the picture to end with.
        """
        with self._lock:
            links = {link.earlier_ns: link for name, link in self._links if name == camera}
        flows = []
        while earlier_ns < later_ns and earlier_ns in links:
            flows.append(links[earlier_ns].flow)
            earlier_ns = links[earlier_ns].later_ns
        return flows if earlier_ns == later_ns else None

    def _add(self, camera: str, link: _Link) -> None:
        with self._lock:
            if not self._stamps or self._stamps[-1] < link.later_ns:
                return  # time started anew meanwhile
            self._links.append((camera, link))
            self.nbytes += link.flow.nbytes
            while self.nbytes > self._limit or len(self._links) > _MAX_LINKS:
                self.nbytes -= self._links.pop(0)[1].flow.nbytes
            if not self._links and not self._told:
                self._told = True
                _LOG.warning('cache_mb = %.1f holds not even one flow of %.1f MB: motion uses '
                             'direct flow from the key frame; raise cache_mb',
                             self._limit / 1e6, link.flow.nbytes / 1e6)

    def _clear(self) -> None:
        self._links, self._newest, self._stamps, self.nbytes = [], {}, [], 0


def _gray(image: np.ndarray, scale: float) -> np.ndarray:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale == 1:
        return gray
    size = [max(1, round(side * scale)) for side in gray.shape[::-1]]
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


def _changed_box(earlier: np.ndarray, later: np.ndarray, margin: int,
                 ) -> tuple[slice, slice] | None:
    """The part of the picture around all that changed; None = nothing did."""
    change = cv2.blur(cv2.absdiff(earlier, later), (5, 5)) > _NOISE
    if not change.any():
        return None

    def around(axis: int) -> slice:
        where = np.flatnonzero(change.any(1 - axis))
        return slice(max(where[0] - margin, 0), min(where[-1] + 1 + margin, change.shape[axis]))
    return around(0), around(1)


def _dis(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """[H, W, 2] float32 px."""
    height, width = earlier.shape
    padding = (0, max(0, _SMALLEST - height), 0, max(0, _SMALLEST - width))
    if any(padding):
        earlier, later = (cv2.copyMakeBorder(image, *padding, cv2.BORDER_REPLICATE)
                          for image in (earlier, later))
    # a new one each time: the objects hold buffers and must not be shared by threads
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    # no flow to start from: OpenCV's types leave None out
    flow = dis.calc(np.ascontiguousarray(earlier), np.ascontiguousarray(later),
                    None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return flow[:height, :width]


def _leads_back(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    height, width = forward.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + forward[..., 0], y + forward[..., 1]
    back = cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap = np.square(forward + back).sum(-1)
    allowed = 0.01 * (np.square(forward).sum(-1) + np.square(back).sum(-1)) + 0.5
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return (gap < allowed) & inside


def _sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear values [N] or [N, C] of a float32 image at points [N, 2] (centers at +0.5)."""
    shape = (-1, image.shape[2]) if image.ndim == 3 else (-1,)
    # remap takes tables of at most 32767 rows: N points become rows of 1024
    count = len(points)
    padded = np.zeros((-(-max(count, 1) // 1024) * 1024, 2), np.float32)
    padded[:count] = points - 0.5
    x, y = (np.ascontiguousarray(padded[:, i].reshape(-1, 1024)) for i in (0, 1))
    values = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(shape)[:count]
