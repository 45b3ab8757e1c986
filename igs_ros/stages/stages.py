# SPDX-License-Identifier: Apache-2.0
"""The stages of a reconstruction, made once for one rig."""
from __future__ import annotations

from collections.abc import Mapping

from igs_ros.core.camera import Camera
from igs_ros.core.config import Config, checked
from igs_ros.core.errors import InputError
from igs_ros.core.frames import FrameSet
from igs_ros.core.points import Points
from igs_ros.core.scene import GaussianScene
from igs_ros.core.timing import span
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.support import Supported, supported
from igs_ros.stages.bootstrap.first_scene import FirstScene, first_scene
from igs_ros.stages.motion.choose import check_motion, make_motion
from igs_ros.stages.motion.models import MotionModel
from igs_ros.stages.refine.refiner import Refiner
from igs_ros.stages.warm_up import Progress, warm_up
from igs_ros.vision.preparer import Preparer


class Stages:
    """The stages for one rig, made once.

    Args:
        config: all settings.
        cameras: calibrated cameras (raw, maybe distorted) that feed the scene, by name.

    Raises:
        InputError: the settings cannot work, or there is no camera.
    """

    def __init__(self, config: Config, cameras: Mapping[str, Camera]):
        self.config = checked(config)
        check_motion(config.motion, config.motion_model)  # before a first scene is made
        if not cameras:
            raise InputError('a rig without cameras; expected at least one, by name.')
        self.preparer = Preparer(cameras, config.width or None, config.threads)
        self.cameras = self.preparer.cameras
        self.rasterizer = make_rasterizer(config.device, config.threads)
        # with threads of its own: live, they yield to those of motion and views
        self._refine_rasterizer = make_rasterizer(config.device, config.threads)
        self.change(config)

    def change(self, config: Config) -> None:
        """Other settings from now on, but for those that made what is kept.

        What a refinement in another thread uses stays as it is: it has the refiner that it began
        with.
        """
        self.config = config
        self.refiner = Refiner(self._refine_rasterizer, self.cameras, config.refine,
                               config.max_gaussians, config.seed, config.threads)

    def new_motion(self) -> MotionModel:
        """A motion model that has seen nothing yet."""
        return make_motion(self.config.motion, self.cameras, self.rasterizer,
                           self.config.motion_model, self.config.threads)

    def warm_up(self, progress: Progress = lambda stage, done: None) -> None:
        """Load or compile what frames would wait for; see warm_up.py."""
        with span('warm_up'):
            warm_up(self.rasterizer, progress)

    def first_scene(self, frame_set: FrameSet, points: Points | None = None,
                    progress: Progress | None = None,
                    scene: GaussianScene | None = None) -> FirstScene:
        """The first key scene (see `stages.bootstrap`).

        Args:
            frame_set: prepared; what the scene shows.
            points: sparse points of the recording, if it has some.
            progress: gets a stage and which share of it is done, 0..1.
            scene: taken instead of one that is made, as one from a PLY is.

        Raises:
            InputError: nothing can be made of these images.
        """
        return first_scene(self.config.bootstrap.method, frame_set,
                           frame_set.in_place(self.cameras), points, self.rasterizer, self.config,
                           progress, given=scene)

    def supported(self, scene: GaussianScene, frame_set: FrameSet, refining: bool = True
                  ) -> Supported:
        """`scene` with the support of its Gaussians.

        Args:
            scene: what is shown.
            frame_set: prepared; what it shows.
            refining: whether the thread that refines asks.
        """
        rasterizer = self._refine_rasterizer if refining else self.rasterizer
        with span('support'):
            return supported(scene, frame_set, frame_set.in_place(self.cameras), rasterizer)
