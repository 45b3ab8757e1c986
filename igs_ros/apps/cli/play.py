# SPDX-License-Identifier: Apache-2.0
"""`igs play`: publishes a recording as if its cameras were there."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from igs_ros.core.errors import InputError
from igs_ros.node.environment import require_ros


@dataclass(frozen=True)
class Play:
    """Publish a recording on camera topics."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of the recording."""
    cameras: tuple[str, ...] = ()
    """Cameras to publish; none = all that are not held out."""
    frames: str = '0:'
    """Frames A:B, 0-based, half-open."""
    rate: str = 'auto'
    """Frames per second, or auto: the next frame once SceneStatus shows the last one, never
    faster than recorded."""
    wait_for_keys: int = 0
    """With auto and the key interval N of the node: after every N-th frame, wait for the refined
    key as well, the pace at which none is skipped; 0 = do not wait."""
    loop: bool = False
    """Start again after the last frame, until interrupted."""
    wait_for_streaming: bool = False
    """Repeat the first frame, once per second, until SceneStatus says STREAMING; auto does so
    anyway."""
    table: Path | None = None
    """Write the stamp of every frame published in the first pass to this JSON file."""
    image_topic: str = '/{camera}/image_raw'
    """Topic of the pictures; /compressed is appended."""
    camera_info_topic: str = '/{camera}/camera_info'
    """Topic of the CameraInfo."""
    status_topic: str = '/igs/status'
    """SceneStatus of the reconstruction."""
    start_timeout: float = 900.0
    """Give up when the reconstruction is not STREAMING after so many s."""
    frame_timeout: float = 15.0
    """Go on when a frame is not shown after so many s."""

    def rate_hz(self) -> float | None:
        """Frames per second, None for auto; raises `InputError`."""
        if self.rate == 'auto':
            return None
        try:
            rate = float(self.rate)
        except ValueError:
            rate = 0.0
        if not 0 < rate <= 1000:
            raise InputError(f"--rate '{self.rate}': expected auto or frames per second above 0.")
        return rate

    def main(self) -> int:
        """Play; the exit code."""
        require_ros()
        from igs_ros.node.play import play  # imports rclpy
        return play(self)
