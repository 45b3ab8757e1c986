# SPDX-License-Identifier: Apache-2.0
"""Frames of single cameras, and frame sets: one instant seen by the rig."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.core.errors import InputError
from igs_ros.io.pictures import DamagedPicture, decode_color, decode_stored, picture_size


class Picture(Protocol):
    """An image that may still be encoded."""

    def size(self) -> tuple[int, int]:
        """Width and height in px, without decoding; raises `InputError`."""
        ...

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3], sRGB, as the camera took it; raises `InputError`."""
        ...


@dataclass(frozen=True, eq=False)
class RawPicture:
    """A decoded image as the camera took it."""

    pixels: np.ndarray  # [H, W, 3] uint8 RGB

    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def decode(self) -> np.ndarray:
        """The pixels."""
        return self.pixels


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A JPEG or PNG file in memory; `origin` (file or topic) is named when it is broken."""

    data: bytes
    origin: str

    def size(self) -> tuple[int, int]:
        """Width and height in px by the header; raises `InputError` as `picture_size` does."""
        return picture_size(self.data, self.origin)

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3]; raises `InputError` as `decode_color` does."""
        return decode_color(self.data, self.origin)


class DepthPicture(Protocol):
    """A picture of a depth camera, registered to the colour camera of the same name."""

    def size(self) -> tuple[int, int]:
        """Width and height in px, without decoding; raises `InputError`."""
        ...

    def decode(self) -> np.ndarray:
        """float32 [H, W] m along the optical axis, NaN = not known; raises `InputError`."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedDepth:
    """A 16-bit PNG file in memory, 0 = not known; `origin` is named when it is broken."""

    data: bytes
    origin: str
    metres_per_unit: float

    def size(self) -> tuple[int, int]:
        """Width and height in px by the header; raises `InputError` as `picture_size` does."""
        return picture_size(self.data, self.origin)

    def decode(self) -> np.ndarray:
        """float32 [H, W] m; raises `InputError` when the bytes are no whole 16-bit grey PNG."""
        units = decode_stored(self.data, self.origin)
        if units.dtype != np.uint16 or units.ndim != 2:
            raise InputError(f'{self.origin}: {units.dtype} of shape {units.shape}; expected a '
                             f'depth picture, a PNG of one channel with 16 bits. Export the depth '
                             f'as such.')
        depth = units.astype(np.float32) * np.float32(self.metres_per_unit)
        return np.where(units > 0, depth, np.float32(np.nan))


@dataclass(frozen=True, eq=False)
class WorkingDepth:
    """A depth picture as its working camera would have taken it; decoded when asked for."""

    picture: DepthPicture
    source: Camera
    target: Camera

    def decode(self) -> np.ndarray:
        """float32 [h, w] m of the working camera; raises `InputError` for another size."""
        width, height = self.picture.size()
        if (width, height) != (self.source.width, self.source.height):
            raise InputError(
                f"camera '{self.source.name}': depth of {width}x{height} px, but its calibration "
                f'is for {self.source.width}x{self.source.height}; expected depth registered to '
                f'the pictures. Register it, or leave it out.')
        depth = self.picture.decode()
        maps = self.source.working_maps(self.target)
        # nearest: a mean of two depths lies on neither surface
        return cv2.remap(depth, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
                         borderValue=float('nan'))


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of one camera."""

    camera: str
    stamp_ns: int
    picture: Picture


@dataclass(frozen=True)
class PictureProblem:
    """Why one picture was left out; `str` is the text."""

    camera: str
    cause: str  # of the drop, as docs/topics.md lists them
    text: str  # for people: from where, what came, what was expected, what to do

    @classmethod
    def of(cls, camera: str, error: Exception) -> PictureProblem:
        """The problem of a picture of `camera` that `error` came of."""
        cause = 'damaged_picture' if isinstance(error, DamagedPicture) else 'unusable_picture'
        found = str(error) if isinstance(error, InputError) else f'not decoded: {error!r}'
        return cls(camera, cause, f"camera '{camera}': {found}")

    def __str__(self):
        return self.text


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Pictures that belong to one instant.

    As it leaves a reader or the assembler, `images` holds `Picture`s; after `Preparer.prepare`
    it holds uint8 RGB arrays [H, W, 3], sRGB, undistorted and resized. `depths` are decoded by
    whoever looks at them, before and after.
    """

    stamp_ns: int
    images: Mapping[str, Picture | np.ndarray]
    missing: tuple[str, ...] = ()  # cameras of the rig without a picture
    spread_ns: int = 0  # between the first and the last stamp of the pictures
    problems: tuple[PictureProblem, ...] = ()  # why pictures were left out
    depths: Mapping[str, DepthPicture] = field(default_factory=dict)  # of some cameras

    def only(self, cameras: Iterable[str]) -> FrameSet:
        """The pictures of some cameras."""
        names = set(cameras)
        return replace(self, images={k: v for k, v in self.images.items() if k in names},
                       missing=tuple(c for c in self.missing if c in names),
                       depths={k: v for k, v in self.depths.items() if k in names})


def check_size(picture: Picture, camera: Camera) -> None:
    """Raise `InputError` unless `picture`, not decoded, has the size of the calibration."""
    width, height = picture.size()
    if (width, height) != (camera.width, camera.height):
        raise InputError(
            f'a picture of {width}x{height} px, but its calibration is for '
            f'{camera.width}x{camera.height}. Use the calibration of this picture size.')


class Preparer:
    """Brings the pictures of a rig to the working cameras: undistorted and resized, once.

    sources: calibrated cameras of the raw pictures; width: of the working images in px, None
    keeps each camera's own. `cameras` holds the working cameras, without distortion.
    """

    def __init__(self, sources: Mapping[str, Camera], width: int | None = None):
        self.sources = dict(sources)
        self.cameras = {name: source.undistorted().resized(width or source.width)
                        for name, source in self.sources.items()}
        self._maps = {}

    def prepare(self, frame_set: FrameSet) -> FrameSet:
        """The frame set with decoded working images.

        A picture that has another size than its calibration (seen before it is decoded), is
        damaged, or costs any other error is left out, joins `missing`, and its message joins
        `problems`; pictures of unknown cameras are ignored.
        """
        images, missing, problems = {}, list(frame_set.missing), list(frame_set.problems)
        for name, picture in frame_set.images.items():
            if name not in self.sources:
                continue
            try:
                images[name] = self._working_image(name, picture)
            except Exception as error:  # of whatever kind: it costs this picture alone
                missing.append(name)
                problems.append(PictureProblem.of(name, error))
        depths = {name: WorkingDepth(picture, self.sources[name], self.cameras[name])
                  for name, picture in frame_set.depths.items() if name in self.sources}
        return replace(frame_set, images=images, missing=tuple(missing), problems=tuple(problems),
                       depths=depths)

    def _working_image(self, name: str, picture: Picture | np.ndarray) -> np.ndarray:
        source, target = self.sources[name], self.cameras[name]
        picture = RawPicture(picture) if isinstance(picture, np.ndarray) else picture
        check_size(picture, source)
        pixels = picture.decode()
        if source.distorted:
            if name not in self._maps:
                # drawn at full size first, so that shrinking can average instead of skipping
                self._maps[name] = cv2.convertMaps(*source.working_maps(source.undistorted()),
                                                   cv2.CV_16SC2)
            # what lies beyond the raw picture repeats its border: black would be learned as part
            # of the scene, and its edge would pass for a contour in flow and stereo
            pixels = cv2.remap(pixels, *self._maps[name], cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE)
        if (target.width, target.height) != (source.width, source.height):
            shrinking = target.width < source.width
            pixels = cv2.resize(pixels, (target.width, target.height),
                                interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        return np.ascontiguousarray(pixels)
