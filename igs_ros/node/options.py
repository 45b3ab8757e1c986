# SPDX-License-Identifier: Apache-2.0
"""Options of the programs of this room that have a subcommand; no ROS is imported for them."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.io.recordings.bag_options import BagOptions


@dataclass(frozen=True)
class DemoOptions:
    """What `igs demo` takes."""

    out: Path = Path('demo_out')
    """Folder for the results."""
    data: Path | None = None
    """Recording to play; default: the workbench that ships with the package."""
    max_gaussians: int = 20000
    """Bound of the scene."""
    bootstrap_iterations: int = 1500
    """Optimization steps of the first scene."""
    refine_iterations: int = 50
    """Optimization steps per key frame."""
    key_interval: int = 2
    """A key frame every so many processed frame sets; the player waits for each."""
    threads: int = 2
    """Threads of the rasterizer."""
    seed: int = 0
    """Seed of everything random."""
    timeout: float = 900.0
    """Give up after so many s; the whole demo takes some 2 minutes on 2 cores."""

    def config(self) -> Config:
        """The settings of the node."""
        default = Config()
        return replace(
            default, max_gaussians=self.max_gaussians, key_interval=self.key_interval,
            threads=self.threads, seed=self.seed,
            bootstrap=replace(default.bootstrap, iterations=self.bootstrap_iterations),
            refine=replace(default.refine, iterations=self.refine_iterations))


@dataclass(frozen=True)
class PlayOptions:
    """What `igs play` takes."""

    data: Annotated[Path, tyro.conf.Positional]
    """The recording: a folder, or a ROS 2 bag."""
    bag: Annotated[BagOptions, tyro.conf.arg(name='')]
    """What a bag does not say itself."""
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
    image_topic: str = '{camera}/image_raw'
    """Topic of the pictures; /compressed is appended."""
    camera_info_topic: str = '{camera}/camera_info'
    """Topic of the CameraInfo."""
    tf: Literal['auto', 'always', 'never'] = 'auto'
    """Whether the poses of the cameras are broadcast: those that stand still on /tf_static, those
    that move on /tf, at the stamp of each picture; auto = where any of them moves. In the frame
    --world-frame, 'map' where that is not given."""
    status_topic: str = '/igs/status'
    """SceneStatus of the reconstruction."""
    start_timeout: float = 900.0
    """Give up when the reconstruction is not STREAMING after so many s."""
    frame_timeout: float = 15.0
    """Go on when a frame is not shown after so many s."""

    def rate_hz(self) -> float | None:
        """Frames per second, None for auto.

        Raises:
            InputError: it is neither auto nor a rate above 0 and up to 1000.
        """
        if self.rate == 'auto':
            return None
        try:
            rate = float(self.rate)
        except ValueError:
            rate = 0.0
        if not 0 < rate <= 1000:
            raise InputError(f"--rate '{self.rate}': expected auto or frames per second above 0.")
        return rate


@dataclass(frozen=True)
class RecordOptions:
    """What `igs record` takes."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder for the bag (MCAP); must not be there yet."""
    topics: tuple[str, ...] = ()
    """Topics to record; none = all that the node subscribes to and publishes, and TF."""
    node: str = '/igs'
    """The reconstruction node, with its namespace."""
    timeout: float = 30.0
    """Give up when the node is not there after so many s."""
