# SPDX-License-Identifier: Apache-2.0
"""What the scene of `igs bench live` is worth: PSNR of the camera that it never sees."""
from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np

from igs_ros.core.config import Config
from igs_ros.core.snapshot import Snapshot
from igs_ros.io.recordings.recording import Recording
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.rasterizer import render_view
from igs_ros.vision.metrics import psnr
from igs_ros.vision.preparer import Preparer

FRAMES = 6  # of the recording, spread over it: pictures that are compared, once each a minute
LOOK_S = 0.2  # how often it is seen whether one of them is shown
UNSCORED = {'psnr': None, 'psnr_frames': {}}


class UnseenView:
    """Compares some scenes with the pictures of camera `test`; its thread calls `run_once`.

    The same few frames are looked at every minute, so that minutes can be compared, each when it
    is shown next after its share of the minute: beside the rendering of `FRAMES` pictures,
    nothing is disturbed.

    Args:
        recording: gives the pictures of `test`, and its calibration.
        test: the camera that the scene never sees.
        config: says the width of the working pictures and the device.
        first: frame of the recording from which `frames` counts.
        frames: frame by stamp, ns, of all that is played.
    """

    def __init__(self, recording: Recording, test: str, config: Config, first: int,
                 frames: Mapping[int, int]):
        preparer = Preparer({test: recording.cameras[test]}, config.width or None)
        last = max(frames.values())
        wanted = np.unique(np.linspace(0, last, FRAMES).round().astype(int)).tolist()
        sets = enumerate(recording.frame_sets(first, first + last + 1, (test,)))
        pictures = {frame: preparer.prepare(frame_set).images.get(test)
                    for frame, frame_set in sets if frame in wanted}
        self._truths = {frame: picture for frame, picture in pictures.items()
                        if picture is not None}
        self._camera = preparer.cameras[test]
        self._rasterizer = make_rasterizer(config.device, 1)
        self._frames = frames
        self._lock = threading.Lock()
        self._pending: dict[int, Snapshot] = {}  # by frame; taken by `run_once`
        self.begin(60.0)

    def begin(self, period_s: float) -> None:
        """A minute, or what is taken for it, begins."""
        with self._lock:
            now_s, share_s = time.monotonic(), period_s / max(1, len(self._truths))
            self._due_s = {frame: now_s + place * share_s
                           for place, frame in enumerate(self._truths)}
            self._scores: dict[int, float] = {}

    def shown(self, snapshot: Snapshot) -> None:
        """Take note of a scene that is shown; called in the motion thread."""
        frame = self._frames.get(snapshot.stamp_ns)
        with self._lock:
            if frame in self._due_s and time.monotonic() >= self._due_s[frame]:
                del self._due_s[frame]
                self._pending[frame] = snapshot

    def run_once(self) -> float:
        """Score what is waiting; when to come again, s."""
        with self._lock:
            pending, self._pending = self._pending, {}
        for frame, snapshot in pending.items():
            view = render_view(self._rasterizer, snapshot.scene, self._camera)
            score = float(psnr(self._truths[frame], view.rgb))
            with self._lock:
                self._scores[frame] = score
        return LOOK_S

    def minute(self, period_s: float) -> dict:
        """`psnr` of the minute, the mean over `psnr_frames`; the next one begins."""
        with self._lock:
            scores = self._scores
        self.begin(period_s)
        return {'psnr': float(np.mean(list(scores.values()))) if scores else None,
                'psnr_frames': scores}
