# SPDX-License-Identifier: Apache-2.0
"""Calibrated pinhole cameras.

`Camera.K` has pixel centers at +0.5: the image spans [0, width] x [0, height] and the middle of
the first pixel is (0.5, 0.5). OpenCV and ROS CameraInfo put that middle at (0, 0). The half pixel
lives here (`opencv_K`, `from_opencv_K`) and in `node/convert.py`, nowhere else.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike

from igs_ros.core.errors import InputError, shown
from igs_ros.core.lenses import DEFAULT, LENSES, checked_coefficients, padded

MAX_SIDE_PX = 16384  # of pictures; what claims to be larger is damaged or means harm
FOCAL = (0.01, 1000.0)  # lengths in picture sides: a view of 177 degrees, one of 0.06
MAX_NAME = 128  # bytes: names become folders, files and topics
ROUNDING = 1e-6  # of a pose, m and rad: a thousandth of a pixel at a focal length of 1000 px


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera at one place in the world.

    Raises:
        InputError: the calibration cannot be used (see `_check`).
    """

    name: str
    width: int  # px
    height: int  # px
    K: np.ndarray  # [3, 3] float64, px, pixel centers at +0.5
    camera_from_world: np.ndarray  # [4, 4] float64, m, OpenCV axes (x right, y down, z forward)
    distortion: np.ndarray = field(default_factory=lambda: padded(DEFAULT, ()))  # of the lens
    lens: str = DEFAULT  # one of `core.lenses.LENSES`
    cut_out: bool = False  # of larger pictures: the principal point may lie outside
    valid: np.ndarray | None = None
    # [height, width] bool: pixels of a straightened picture that the raw one shows; None = all

    def __post_init__(self):
        for name in ('K', 'camera_from_world', 'distortion'):
            value = np.array(getattr(self, name), dtype=np.float64)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        assert self.valid is None or self.valid.shape == (self.height, self.width), self.name
        self._check()

    def _check(self):
        require_name(self.name)
        who = f"camera '{self.name}'"
        if not (1 <= self.width <= MAX_SIDE_PX and 1 <= self.height <= MAX_SIDE_PX):
            raise InputError(f'{who}: image size {self.width}x{self.height}; expected 1 to '
                             f'{MAX_SIDE_PX} px a side. Check the calibration.')
        if self.K.shape != (3, 3) or not np.isfinite(self.K).all() or self.K[0, 0] <= 0 \
                or self.K[1, 1] <= 0:
            raise InputError(f'{who}: intrinsics K = {self.K.tolist()}; expected a finite 3x3 '
                             f'matrix with positive focal lengths. Calibrate this camera, or make '
                             f'its driver load the calibration.')
        if abs(self.K[1, 0]) > 1e-9 * self.K[1, 1] or not np.allclose(self.K[2], (0, 0, 1),
                                                                      rtol=0, atol=1e-9):
            raise InputError(f'{who}: intrinsics K = {self.K.tolist()}; expected the form '
                             f'[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]. Check the calibration: K '
                             f'is stored row by row.')
        if abs(self.K[0, 1]) > 1e-9 * self.K[0, 0]:
            raise InputError(f'{who}: intrinsics with skew {self.K[0, 1]}; expected none. '
                             f'Calibrate with a pinhole model without skew.')
        sides = np.array([self.width, self.height])
        focal, middle = np.diag(self.K)[:2], self.K[:2, 2]
        if (focal < FOCAL[0] * sides).any() or (focal > FOCAL[1] * sides).any():
            raise InputError(f'{who}: focal lengths {focal.tolist()} px for pictures of '
                             f'{self.width}x{self.height}; expected {FOCAL[0]:g} to {FOCAL[1]:g} '
                             f'times their sides. Check the calibration: K is in pixels.')
        if not self.cut_out and ((middle < 0).any() or (middle > sides).any()):
            raise InputError(f'{who}: principal point {middle.tolist()} outside its pictures of '
                             f'{self.width}x{self.height} px; expected it inside. Check the '
                             f'calibration.')
        checked_coefficients(self.lens, self.distortion, who)
        rigid(self.camera_from_world, who)

    @classmethod
    def from_opencv_K(cls, name: str, width: int, height: int, K: ArrayLike,
                      camera_from_world: ArrayLike, distortion: ArrayLike | None = None,
                      lens: str = DEFAULT) -> Camera:
        """A camera from intrinsics with integer pixel centers (OpenCV, ROS CameraInfo).

        Args:
            name: of the camera.
            width: of its pictures, px.
            height: of its pictures, px.
            K: [3, 3] px, the middle of the first pixel at (0, 0).
            camera_from_world: [4, 4] m, OpenCV axes (x right, y down, z forward).
            distortion: coefficients of the lens; None for none.
            lens: one of `core.lenses.LENSES`.

        Raises:
            InputError: the calibration cannot be used.
        """
        shifted = np.array(K, dtype=np.float64)
        if shifted.shape == (3, 3):
            shifted[:2, 2] += 0.5
        return cls(name, width, height, shifted, np.asarray(camera_from_world),
                   padded(lens, ()) if distortion is None else np.asarray(distortion), lens)

    @property
    def opencv_K(self) -> np.ndarray:
        """[3, 3] float64 intrinsics with integer pixel centers (OpenCV, ROS CameraInfo)."""
        K = self.K.copy()
        K[:2, 2] -= 0.5
        return K

    @property
    def center(self) -> np.ndarray:
        """[3] float64 position of the camera in the world, m."""
        return -self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3]

    @property
    def world_from_camera(self) -> np.ndarray:
        """[4, 4] float64 pose of the optical frame in the world."""
        pose = np.eye(4)
        pose[:3, :3] = self.camera_from_world[:3, :3].T
        pose[:3, 3] = self.center
        return pose

    @property
    def distorted(self) -> bool:
        """Whether straight lines of the world are bent in the image."""
        return self.lens != DEFAULT or bool(np.any(self.distortion))

    def resized(self, width: int) -> Camera:
        """The same camera with images of `width` px, the height in proportion (rounded)."""
        height = max(1, round(self.height * width / self.width))
        scale = np.array([[width / self.width], [height / self.height], [1.0]])
        valid = self.valid
        if valid is not None and valid.shape != (height, width):
            shares = cv2.resize(valid.astype(np.float32), (int(width), height),
                                interpolation=cv2.INTER_AREA)
            valid = shares > 1 - 1e-3  # nothing of what was repeated is mixed in
        return replace(self, width=int(width), height=int(height), K=self.K * scale, valid=valid)

    def cut(self, corner: tuple[int, int], size: tuple[int, int],
            binning: tuple[int, int] = (1, 1)) -> Camera:
        """The camera of a part of its pictures, whose pixels may then be combined.

        Args:
            corner: (x, y) of the part in the whole picture, px.
            size: (width, height) of the part there, px.
            binning: pixels that become one, along x and y; what is left over is cut off.

        Raises:
            InputError: a part without pixels, or one that is not inside.
        """
        assert self.valid is None, 'raw pictures are cut, not straightened ones'
        (x, y), (width, height), (across, down) = corner, size, binning
        if min(x, y) < 0 or x + width > self.width or y + height > self.height \
                or min(width // across, height // down) < 1:
            raise InputError(f"camera '{self.name}': the part {width}x{height}+{x}+{y} of its "
                             f'pictures of {self.width}x{self.height} px, binned {across}x{down}; '
                             f'expected a part inside, with pixels. Check the calibration.')
        K = self.K.copy()
        K[:2, 2] -= x, y
        K[:2] /= [[across], [down]]
        return replace(self, width=width // across, height=height // down, K=K, cut_out=True)

    def undistorted(self) -> Camera:
        """The same camera without distortion, intrinsics unchanged."""
        return replace(self, lens=DEFAULT, distortion=padded(DEFAULT, ()))

    def placed(self, camera_from_world: np.ndarray) -> Camera:
        """The same camera elsewhere."""
        return replace(self, camera_from_world=camera_from_world)

    def is_at(self, camera_from_world: np.ndarray, tolerance: float = ROUNDING) -> bool:
        """Whether it stands at this pose, to within `tolerance` (m, rad).

        By default that is what rounding does: no pixel tells.
        """
        return np.allclose(self.camera_from_world, camera_from_world, rtol=0, atol=tolerance)

    def shows(self, pixels: np.ndarray) -> np.ndarray:
        """[N] bool: pixels [N, 2] (centers at +0.5) in the picture, where it is valid."""
        inside = np.asarray(((pixels >= 0) & (pixels < (self.width, self.height))).all(1))
        if self.valid is not None:
            columns, rows = pixels[inside].astype(np.int64).T
            inside[inside] = self.valid[rows, columns]
        return inside

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points [N, 3] in the optical frame, [N, 3] m."""
        return points @ self.camera_from_world[:3, :3].T + self.camera_from_world[:3, 3]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] (centers at +0.5, no distortion) and depths [N] m of world points [N, 3].

        Points behind the camera get a depth <= 0 and a pixel without meaning.
        """
        local = self.to_camera(np.asarray(points, dtype=np.float64))
        depth = local[:, 2]
        safe = np.where(np.abs(depth) < 1e-12, 1e-12, depth)
        return (local[:, :2] / safe[:, None]) * np.diag(self.K)[:2] + self.K[:2, 2], depth

    def unproject(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """World points [N, 3] m of pixels [N, 2] (centers at +0.5) at depths [N] m."""
        rays = (np.asarray(pixels, dtype=np.float64) - self.K[:2, 2]) / np.diag(self.K)[:2]
        local = np.concatenate([rays, np.ones((len(rays), 1))], 1) * np.asarray(depth)[:, None]
        return (local - self.camera_from_world[:3, 3]) @ self.camera_from_world[:3, :3]

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """[N, 2] float64 where rays of raw pixels [N, 2] meet the plane z = 1 of the camera.

        Pixels have their centers at +0.5; the lens is removed, NaN where it cannot be.
        """
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2) - 0.5
        if not len(pixels):
            return pixels
        return LENSES[self.lens].rays(pixels, self.opencv_K, self.distortion)

    def working_maps(self, target: Camera) -> tuple[np.ndarray, np.ndarray]:
        """Remap tables (float32 [h, w] x and y, OpenCV pixels of this camera's raw image).

        For `target`, this camera undistorted and resized: undistortion and resizing in one pass.
        """
        return LENSES[self.lens].undistort_maps(self.opencv_K, self.distortion, target.opencv_K,
                                                (target.width, target.height))


def rigid(pose: ArrayLike, who: str) -> np.ndarray:
    """A pose as float64 [4, 4], if it is rigid.

    Args:
        pose: [4, 4] camera_from_world, m.
        who: of whom; the message begins with it.

    Raises:
        InputError: it is not finite, of another shape, or not a rotation and a translation.
    """
    try:
        found = np.asarray(pose, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    rotation = found[:3, :3] if found.shape == (4, 4) else np.zeros((3, 3))
    if not (np.isfinite(found).all() and np.linalg.det(rotation) > 0
            and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
            and np.allclose(found[3], (0, 0, 0, 1), atol=1e-9)):
        raise InputError(f'{who}: camera_from_world = {shown(found.tolist())}; expected a rigid '
                         f'4x4 transform (meters). Check the extrinsics.')
    return found


def require_name(name: str) -> None:
    """Prove that `name` can be a camera's: it becomes folders, files and topics.

    Raises:
        InputError: it cannot.
    """
    good = (isinstance(name, str) and name.isprintable() and name == name.strip()
            and 0 < len(name.encode()) <= MAX_NAME and not name.startswith('.')
            and not {'/', '\\'} & set(name))
    if not good:
        raise InputError(f'camera {shown(name)}: expected a name of 1 to {MAX_NAME} bytes without '
                         f'/, \\ and control characters, not starting with a dot or a space. '
                         f'Rename this camera.')


def pixel_grid(camera: Camera) -> np.ndarray:
    """[H, W, 2] float64 centers of all pixels, (x, y)."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.stack([x, y], -1)
