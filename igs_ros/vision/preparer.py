# SPDX-License-Identifier: Apache-2.0
"""Pictures as the cameras took them -> working images: decoded, undistorted, resized."""
from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from igs_ros.core.camera import Camera, rigid
from igs_ros.core.errors import InputError
from igs_ros.core.frames import (
    DepthPicture,
    FrameSet,
    HasSize,
    Picture,
    PictureProblem,
    RawFrameSet,
)
from igs_ros.core.machine import usable_cores

log = logging.getLogger(__name__)

_TOLD_BORDER = 0.02  # share of a picture
_WORTH_PX = 1_000_000  # of all pictures of a set; below, threads cost more than they save


@dataclass(frozen=True, eq=False)
class WorkingDepth:
    """A depth picture as its working camera would have taken it; decoded when asked for."""

    picture: DepthPicture
    source: Camera
    target: Camera

    def decode(self) -> np.ndarray:
        """float32 [h, w] m of the working camera, NaN = not known.

        Raises:
            InputError: it has another size than the calibration, or cannot be decoded.
        """
        width, height = self.picture.size()
        if (width, height) != (self.source.width, self.source.height):
            raise InputError(
                f"camera '{self.source.name}': depth of {width}x{height} px, but its calibration "
                f'is for {self.source.width}x{self.source.height}; expected depth registered to '
                f'the pictures. Register it, or leave it out.')
        depth = self.picture.decode()
        x, y = self.source.working_maps(self.target)
        # nearest: a mean of two depths lies on neither surface
        return cv2.remap(depth, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
                         borderValue=float('nan'))


def check_size(picture: HasSize, camera: Camera) -> None:
    """Prove that a picture, not decoded, has the size of the calibration.

    Raises:
        InputError: it has another one.
    """
    width, height = picture.size()
    if (width, height) != (camera.width, camera.height):
        raise InputError(
            f'a picture of {width}x{height} px, but its calibration is for '
            f'{camera.width}x{camera.height}. Use the calibration of this picture size.')


def working_widths(sources: Mapping[str, Camera], width: int | None) -> dict[str, int]:
    """The widths of the working pictures, px, by camera.

    An upright picture as wide as the wide ones beside it would have several times their pixels,
    and cost as much more: it gets as many as the largest of them, if there are any.

    Args:
        sources: calibrated cameras of one rig, by name.
        width: asked for, None = as recorded.
    """
    if width is None:
        return {name: source.width for name, source in sources.items()}
    wide = [width * width * source.height / source.width for source in sources.values()
            if source.width >= source.height]
    widths = {}
    for name, source in sources.items():
        upright = source.width < source.height
        most = math.sqrt(max(wide) * source.width / source.height) if upright and wide else width
        widths[name] = max(1, min(width, round(most)))
    return widths


class Preparer:
    """Brings the pictures of a rig to the working cameras: undistorted and resized, once.

    `cameras` holds the working cameras, without distortion; what lies beyond the raw picture is
    not `valid` in them.

    Args:
        sources: calibrated cameras of the raw pictures.
        width: of the working images in px, None keeps each camera's own (`working_widths`).
        threads: that decode and undistort large sets, as far as there are cores; images do
            not depend on it. `close` ends them.
    """

    def __init__(self, sources: Mapping[str, Camera], width: int | None = None,
                 threads: int = 1):
        self.sources = dict(sources)
        widths = working_widths(self.sources, width)
        self.cameras: dict[str, Camera] = {}
        self._maps: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # of distorted cameras
        for name, source in self.sources.items():
            straight = source.undistorted()
            if source.distorted:
                # drawn at full size first, so that shrinking can average instead of skipping
                maps = source.working_maps(straight)
                straight = replace(straight, valid=_valid(source, maps))
                self._maps[name] = cv2.convertMaps(*maps, cv2.CV_16SC2)
            self.cameras[name] = straight.resized(widths[name])
        self._threads = min(threads, usable_cores(), len(self.sources))
        self._pool: ThreadPoolExecutor | None = None  # from the first frame set on

    def prepare(self, frame_set: RawFrameSet) -> FrameSet:
        """The frame set with decoded working images.

        A picture that has another size than its calibration (seen before it is decoded), is
        damaged, has a pose that is not rigid, or costs any other error is left out, joins
        `missing`, and its message joins `problems`; pictures of unknown cameras are ignored.
        """
        names = [name for name in frame_set.pictures if name in self.sources]
        if self._threads > 1 and sum(self.sources[name].width * self.sources[name].height
                                     for name in names) >= _WORTH_PX:
            self._pool = self._pool or ThreadPoolExecutor(self._threads, 'prepare')
            made = list(self._pool.map(lambda name: self._made(name, frame_set), names))
        else:
            made = [self._made(name, frame_set) for name in names]
        images, missing, problems, cameras = {}, list(frame_set.missing), [], {}
        for name, one in zip(names, made, strict=True):
            if isinstance(one, PictureProblem):
                missing.append(name)
                problems.append(one)
                continue
            images[name], moved = one
            if moved is not None:
                cameras[name] = moved
        depths = {name: WorkingDepth(picture, self.sources[name], self.cameras[name])
                  for name, picture in frame_set.depths.items() if name in self.sources}
        return FrameSet(frame_set.stamp_ns, images, tuple(missing), frame_set.spread_ns,
                        tuple(problems), depths, cameras)

    def close(self) -> None:
        """End the threads; another frame set starts new ones."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _made(self, name: str, frame_set: RawFrameSet,
              ) -> tuple[np.ndarray, Camera | None] | PictureProblem:
        """The working image of a camera, and where that was if it moved; or what was wrong."""
        try:
            moved = self._moved_camera(name, frame_set)
            return self._working_image(name, frame_set.pictures[name]), moved
        except Exception as error:  # of whatever kind: it costs this picture alone
            return PictureProblem.of(name, error)

    def _moved_camera(self, name: str, frame_set: RawFrameSet) -> Camera | None:
        """The working camera where it was; None if that is where the calibration has it."""
        if name not in frame_set.poses:
            return None
        pose = rigid(frame_set.poses[name], 'at exposure')
        camera = self.cameras[name]
        return None if camera.is_at(pose) else camera.placed(pose)

    def _working_image(self, name: str, picture: Picture) -> np.ndarray:
        source, target = self.sources[name], self.cameras[name]
        check_size(picture, source)
        pixels = picture.decode()
        if source.distorted:
            # what lies beyond the raw picture is not valid, but windows reach there: it repeats
            # the border, as the edge of black would pass for a contour in flow and stereo
            places, fractions = self._maps[name]
            pixels = cv2.remap(pixels, places, fractions, cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE)
        if (target.width, target.height) != (source.width, source.height):
            shrinking = target.width < source.width
            pixels = cv2.resize(pixels, (target.width, target.height),
                                interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        return np.ascontiguousarray(pixels)


def _valid(source: Camera, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
    """[H, W] bool: pixels of the straightened picture that the raw one shows; None = all.

    Not those beyond it (by more than a pixel, which nobody sees), nor those where the lens's
    formula, beyond what it was made for, turns back and shows the raw picture again, mirrored.
    """
    x, y = maps
    inside = (x >= -1) & (y >= -1) & (x <= source.width) & (y <= source.height)
    if min(source.width, source.height) > 1:
        (x_down, x_right), (y_down, y_right) = np.gradient(x), np.gradient(y)
        inside &= x_right * y_down - x_down * y_right > 0
    if inside.all():
        return None
    share = float(1 - inside.mean())
    if share >= _TOLD_BORDER:
        log.warning("camera '%s': %.0f %% of its straightened picture lie beyond the raw one; "
                    'they are left out of everything. Rectified pictures of a larger focal length '
                    'would use more of their pixels.', source.name, 100 * share)
    return inside
