# SPDX-License-Identifier: Apache-2.0
"""One scene over time: its key, the motion that moves it, and what is shown now."""
from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import Moved, advanced, first_snapshot, with_new_key
from igs_ros.stages.motion.models import Follower, MotionModel
from igs_ros.stages.plausibility import Change
from igs_ros.stages.refine.reference import ReferenceImages

log = logging.getLogger(__name__)
_USUAL_PERIOD_NS = 33_333_333  # before two frame sets have told


class Timeline:
    """Follows frame sets with a scene. For one thread; snapshots may be read from any.

    Args:
        new_motion: makes a motion model that has seen nothing.
        scene: the first key.
        frame_set: prepared; what `scene` shows.
        scene_id: of all its snapshots.
    """

    def __init__(self, new_motion: Callable[[], MotionModel], scene: GaussianScene,
                 frame_set: FrameSet, scene_id: int = 1):
        self._new_motion = new_motion
        self._period_ns = _USUAL_PERIOD_NS
        self.jumps = 0  # how often the stamps went back
        self._breaks_before = 0
        self.reference = ReferenceImages.of(frame_set)  # of the key
        self._kept: tuple[GaussianScene, FrameSet, ReferenceImages] | None = None
        self._start(scene, frame_set)
        self.snapshot = first_snapshot(scene, frame_set.stamp_ns, scene_id)

    @property
    def chain_breaks(self) -> int:
        """How often motion had to fall back to direct flow."""
        return self._breaks_before + self._motion.counts.get('chain_breaks', 0)

    @property
    def newest(self) -> FrameSet:
        """The frame set processed last."""
        return self._newest

    @property
    def step_s(self) -> float:
        """Time from the frame set before the newest one to it: velocities are measured over it."""
        return self._period_ns * 1e-9

    def cameras_moved(self, frame_set: FrameSet) -> bool:
        """Whether a camera of `frame_set` is elsewhere than in the newest one."""
        return any(frame_set.moved_since(self._newest, name) for name in frame_set.images)

    def advance(self, frame_set: FrameSet, change: Change = Change.NONE) -> Moved:
        """Move the key to a frame set and show it.

        When the stamps go back (a looping bag), the scene as shown goes on as a key that was
        seen just before, and velocities are unknown for one step: the loop is no motion. They
        are unknown, too, after frame sets that were held.

        Args:
            frame_set: prepared.
            change: what it is; where it is NEW, the scene shown until now is kept, and where it is
                BACK, the kept one goes on.

        Returns:
            What a key is to be made of: the moved scene; after a hold, the one shown before (with
            the rows that moved), because flow across the gap may misplace more than it places:
            keys of it are as good or up to 0.2 dB better. The moved one is shown until then.
        """
        if change in (Change.NEW, Change.BACK):
            self._kept, kept = (self.snapshot.scene, self._newest, self.reference), self._kept
            if change is Change.BACK and kept is not None:
                log.info('the pictures are what they were before: so is the scene')
                scene, shows, self.reference = kept
                self._restart(scene, shows, frame_set.stamp_ns, None)
        jumped = frame_set.stamp_ns < self._newest.stamp_ns
        if jumped:
            self._jump_before(frame_set.stamp_ns)
        shown = self.snapshot.scene
        if self.cameras_moved(frame_set):
            self._motion.observe(frame_set, shown)
        else:
            self._motion.observe(frame_set)
        moved = self._follower.move_to(frame_set)
        if jumped or change is not Change.NONE:
            moved = replace(moved, scene=moved.scene.replaced(velocities=None))
        self._period_ns = max(1, frame_set.stamp_ns - self._newest.stamp_ns)
        self._newest = frame_set
        self.snapshot = advanced(self.snapshot, moved)
        return moved if change is Change.NONE else replace(
            moved, scene=shown.replaced(velocities=None))

    @property
    def follow(self) -> Callable[[GaussianScene, FrameSet], Follower]:
        """Makes what will move a key that shows a frame set (prepared), in any thread.

        It is of use until the stamps go back.
        """
        return self._motion.follow

    def take_key(self, key: GaussianScene, frame_set: FrameSet,
                 reference: ReferenceImages | None = None,
                 follower: Follower | None = None, parents: np.ndarray | None = None) -> None:
        """Show a new key, moved to the newest frame set.

        Args:
            key: the refined scene.
            frame_set: prepared; what `key` shows.
            reference: what it was fitted to, None = what the key before was.
            follower: made by `follow` for this key, None = it is made now.
            parents: as in `Snapshot.key_parents`.
        """
        follower = follower or self.follow(key, frame_set)
        moved = follower.move_to(self._newest)
        # all at once: where motion fails, the last key goes on
        self._follower, self.reference = follower, reference or self.reference
        self.snapshot = with_new_key(self.snapshot, key, frame_set.stamp_ns, moved, parents)

    def _start(self, scene: GaussianScene, frame_set: FrameSet) -> None:
        self._motion = self._new_motion()
        self._motion.observe(frame_set)
        self._follower = self._motion.follow(scene, frame_set)
        self._newest = frame_set

    def _jump_before(self, stamp_ns: int) -> None:
        log.warning('stamps jumped back by %.2f s (a looping recording?): the scene is kept',
                    (self._newest.stamp_ns - stamp_ns) * 1e-9)
        self.jumps += 1
        self._restart(self.snapshot.scene, self._newest, stamp_ns,
                      np.arange(len(self.snapshot.scene)))

    def _restart(self, scene: GaussianScene, shows: FrameSet, stamp_ns: int,
                 parents: np.ndarray | None) -> None:
        """Go on with `scene`, as if `shows`, which it shows, were the set before `stamp_ns`."""
        self._breaks_before = self.chain_breaks
        before = replace(shows, stamp_ns=stamp_ns - self._period_ns)
        self._start(scene, before)
        self.snapshot = with_new_key(self.snapshot, scene, before.stamp_ns,
                                     self._follower.move_to(before), parents)
