# SPDX-License-Identifier: Apache-2.0
"""Frames of single cameras, and frame sets: one instant seen by the rig, raw and prepared."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Protocol

import numpy as np

from igs_ros.core.camera import ROUNDING, Camera, rigid
from igs_ros.core.errors import DamagedPicture, InputError, shown


class HasSize(Protocol):
    """What has the size of a picture."""

    def size(self) -> tuple[int, int]:
        """Width and height in px, without decoding.

        Raises:
            InputError: the header of a file says none that can be used.
        """
        ...


class Picture(HasSize, Protocol):
    """An image that may still be encoded."""

    def decode(self) -> np.ndarray:
        """uint8 RGB [H, W, 3], sRGB, as the camera took it.

        Raises:
            InputError: it cannot be decoded.
        """
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


class Depth(Protocol):
    """Depth of the pixels of an image."""

    def decode(self) -> np.ndarray:
        """float32 [H, W] m along the optical axis, NaN = not known.

        Raises:
            InputError: it cannot be decoded.
        """
        ...


class DepthPicture(Depth, HasSize, Protocol):
    """A picture of a depth camera, registered to the color camera of the same name."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of one camera."""

    camera: str
    stamp_ns: int
    picture: Picture
    camera_from_world: np.ndarray | None = None  # [4, 4] m at exposure; None = as calibrated


@dataclass(frozen=True)
class PictureProblem:
    """Why one picture was left out; `str` is the text."""

    camera: str
    cause: str  # of the drop, as docs/topics.md lists them
    text: str  # human-readable: from where, what came, what was expected, what to do

    @classmethod
    def of(cls, camera: str, error: Exception) -> PictureProblem:
        """The problem of a picture of `camera` that `error` came of."""
        cause = 'damaged_picture' if isinstance(error, DamagedPicture) else 'unusable_picture'
        found = str(error) if isinstance(error, InputError) else f'not decoded: {error!r}'
        return cls(camera, cause, f"camera '{camera}': {found}")

    def __str__(self):
        return self.text


@dataclass(frozen=True, eq=False)
class RawFrameSet:
    """Pictures that belong to one instant, as they leave a reader or the assembler."""

    stamp_ns: int
    pictures: Mapping[str, Picture]  # by camera, maybe still encoded
    missing: tuple[str, ...] = ()  # cameras of the rig without a picture
    spread_ns: int = 0  # between the first and the last stamp of the pictures
    depths: Mapping[str, DepthPicture] = field(default_factory=dict)  # of some cameras
    poses: Mapping[str, np.ndarray] = field(default_factory=dict)
    # camera_from_world [4, 4] float64 (m, OpenCV axes) at exposure, by camera; those without one
    # are where the rig's calibration has them. The preparer leaves out a picture whose pose is
    # not rigid.

    @classmethod
    def of(cls, stamp_ns: int, images: Mapping[str, np.ndarray],
           poses: Mapping[str, np.ndarray] | None = None) -> RawFrameSet:
        """Of decoded images by camera, as the cameras took them.

        Args:
            stamp_ns: time of exposure, ns since whenever; the same clock for all frame sets.
            images: uint8 RGB [H, W, 3] by camera; kept, not copied: do not write to them later.
            poses: camera_from_world [4, 4] at exposure (m, OpenCV axes) of cameras that may have
                moved; the others are where the rig's calibration has them.

        Raises:
            InputError: a stamp that is no whole number, an image of another type or shape, or a
                pose that is not rigid.
        """
        if not isinstance(stamp_ns, Integral):
            raise InputError(f'a frame set with stamp {shown(stamp_ns)}; expected whole '
                             f'nanoseconds, such as time.time_ns().')
        for name, image in images.items():
            if not (isinstance(image, np.ndarray) and image.dtype == np.uint8
                    and image.ndim == 3 and image.shape[2] == 3):
                found = f'{image.dtype} {list(image.shape)}' if isinstance(image, np.ndarray) \
                    else type(image).__name__
                raise InputError(f"camera '{name}': an image of {found}; expected a numpy array, "
                                 f'uint8 RGB [height, width, 3].')
        return cls(int(stamp_ns), {name: RawPicture(image) for name, image in images.items()},
                   poses={name: rigid(pose, f"camera '{name}'")
                          for name, pose in (poses or {}).items()})

    def only(self, cameras: Iterable[str]) -> RawFrameSet:
        """The pictures of some cameras."""
        names = set(cameras)
        return replace(self, pictures={k: v for k, v in self.pictures.items() if k in names},
                       missing=tuple(c for c in self.missing if c in names),
                       depths={k: v for k, v in self.depths.items() if k in names},
                       poses={k: v for k, v in self.poses.items() if k in names})


def elsewhere(then: Camera | None, now: Camera | None, tolerance: float = ROUNDING) -> bool:
    """Whether a camera moved, by more than `tolerance`.

    Args:
        then: where it was; None: where the rig's calibration has it.
        now: where it is; None likewise.
        tolerance: m and rad; by default what rounding does to a pose.
    """
    if then is None or now is None:
        return then is not now
    return not now.is_at(then.camera_from_world, tolerance)


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Working images that belong to one instant: decoded, undistorted and resized.

    `vision.preparer` makes them of raw ones. Depths are decoded by whoever looks at them.
    """

    stamp_ns: int
    images: Mapping[str, np.ndarray]  # by camera; [H, W, 3] uint8 RGB, sRGB
    missing: tuple[str, ...] = ()  # cameras of the rig without an image
    spread_ns: int = 0  # between the first and the last stamp of the pictures
    problems: tuple[PictureProblem, ...] = ()  # why pictures were left out
    depths: Mapping[str, Depth] = field(default_factory=dict)  # of some cameras
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    # working cameras of those that are not where the rig's calibration has them

    def moved_since(self, before: FrameSet, name: str) -> bool:
        """Whether camera `name`, of which both have an image, was elsewhere in `before`."""
        return elsewhere(before.cameras.get(name), self.cameras.get(name))

    def in_place(self, rig: Mapping[str, Camera]) -> dict[str, Camera]:
        """The working cameras `rig`, each where it was when this set was taken."""
        return {name: self.cameras.get(name, camera) for name, camera in rig.items()}

    def only(self, cameras: Iterable[str]) -> FrameSet:
        """The images of some cameras."""
        names = set(cameras)
        return replace(self, images={k: v for k, v in self.images.items() if k in names},
                       missing=tuple(c for c in self.missing if c in names),
                       depths={k: v for k, v in self.depths.items() if k in names},
                       cameras={k: v for k, v in self.cameras.items() if k in names})
