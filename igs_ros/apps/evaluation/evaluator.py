# SPDX-License-Identifier: Apache-2.0
"""The views that a run is scored by: drawn, compared with what their cameras saw, and written."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from igs_ros.apps.evaluation.detail import frame_detail
from igs_ros.apps.evaluation.sessions import Shown, Skipped
from igs_ros.core.camera import Camera
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.core.snapshot import Snapshot, View
from igs_ros.core.timing import spending
from igs_ros.io.codec.state import key_arrays, serialized_size, update_arrays
from igs_ros.io.run_files import RunFiles
from igs_ros.render.exposure import recorded
from igs_ros.render.rasterizer import Rasterizer, render_view
from igs_ros.render.support import with_confidence
from igs_ros.stages.bootstrap.first_scene import BootstrapReport
from igs_ros.vision import metrics
from igs_ros.vision.preparer import Preparer

WORLD_FRAME = 'map'  # only its length counts here: it is part of the serialized message


class Evaluator:
    """Renders the views of the watched cameras, scores them and hands the first to the files.

    Args:
        preparer: of all cameras of the recording.
        views: names of the watched cameras, at least one.
        scored: whether they are test views (a train view is only rendered, in its own exposure).
        rasterizer: draws the views.
        files: where the pictures of the first camera go, None = nowhere.
        confidence: whether they are to have pictures of their confidence beside them.
    """

    def __init__(self, preparer: Preparer, views: Sequence[str], scored: bool,
                 rasterizer: Rasterizer, files: RunFiles | None, confidence: bool = False):
        self._preparer = preparer
        self._views = tuple(views)
        self._scored = scored
        self._rasterizer = rasterizer
        self._files = files
        self._confidence = confidence
        self._exposures: Mapping[str, Mapping[str, list[float]]] = {}
        self.scorers = metrics.Scorers(self._views)
        self.details: list[dict] = []  # of the frames so far, see igs_ros.apps.evaluation.detail

    def first(self, made: BootstrapReport, snapshot: Snapshot, frame_set: RawFrameSet) -> dict:
        """The `bootstrap` of results.json; this frame also starts the comparisons in time.

        Args:
            made: how the first scene was made.
            snapshot: the first scene.
            frame_set: what it was made of, with the pictures of the watched cameras.
        """
        self._exposures = made.exposures
        scores, _ = self._look('first scene', snapshot, frame_set)
        mean = metrics.mean_score(list(scores.values()))
        return {'method': made.method, 'seconds': made.seconds, 'cpu_s': made.cpu_s,
                'iterations': made.iterations, 'stopped_by': made.stopped_by,
                'gaussians': made.gaussians, 'psnr_train': made.psnr_train,
                'psnr_test': mean.psnr, 'psnr_train_fitted': made.psnr_train_fitted,
                'psnr_test_fitted': mean.psnr_fitted, 'views': _listed(scores)}

    def frame(self, shown: Shown) -> dict:
        """One entry of `frames` in results.json."""
        snapshot, motion, refinement = shown.snapshot, shown.motion, shown.refinement
        scores, render_s = self._look(f'frame {shown.index}', snapshot, shown.frame_set,
                                      shown.kind == 'key')
        mean = asdict(metrics.mean_score(list(scores.values())))
        self.details.append(frame_detail(shown.index, self._psnr_copy(shown), shown.refined))
        return {
            'index': shown.index, 'kind': shown.kind,
            **{name: mean[name] for name in metrics.SCORES}, 'motion_s': motion.wall_s,
            'motion_cpu_s': motion.cpu_s, 'refine_s': refinement.wall_s,
            'refine_cpu_s': refinement.cpu_s, 'render_s': render_s,
            'step_s': shown.step.wall_s, 'step_cpu_s': shown.step.cpu_s,
            'gaussians': len(snapshot.scene), 'moved': len(snapshot.moved_rows),
            'state_bytes': state_bytes(snapshot, shown.kind),
            **{name: mean[name] for name in metrics.FITTED}, 'views': _listed(scores)}

    def skip(self, frame: Skipped) -> None:
        """Note a frame that was never shown: its pictures still say what moves."""
        if self._scored:
            images = self._prepared(frame.frame_set).images
            for name, scorer in self.scorers.of.items():
                scorer.add(images.get(name), None, pixels=self._preparer.cameras[name].valid)

    def _psnr_copy(self, shown: Shown) -> float | None:
        """PSNR of the key as it is, not moved to a candidate; mean over the views."""
        if not self._scored or shown.kind == 'key':
            return None
        images = self._prepared(shown.frame_set).images
        return metrics.mean(
            metrics.psnr(images[name], render_view(self._rasterizer, shown.snapshot.key,
                                                   self._place(name, shown.frame_set)).rgb,
                         self._preparer.cameras[name].valid)
            for name in self._views if name in images)

    def _prepared(self, frame_set: RawFrameSet) -> FrameSet:
        return self._preparer.prepare(frame_set.only(self._views))

    def _place(self, name: str, frame_set: RawFrameSet) -> Camera:
        """A watched camera, where it was."""
        pose, camera = frame_set.poses.get(name), self._preparer.cameras[name]
        return camera if pose is None else camera.placed(pose)

    def _look(self, label: str, snapshot: Snapshot, frame_set: RawFrameSet, is_key: bool = False,
              ) -> tuple[dict[str, metrics.Score], float]:
        """The scores by view, and the seconds that one view took."""
        with spending() as spent:
            views = {name: self._view(name, snapshot, frame_set) for name in self._views}
        images = self._prepared(frame_set).images
        if self._files:
            first = self._views[0]
            shown = views[first]
            if self._confidence:
                shown = with_confidence(shown, snapshot.scene, self._rasterizer)
            self._files.add(label, shown, images.get(first))
        if not self._scored:
            return {}, spent().wall_s / len(views)
        return {name: self.scorers.of[name].add(images.get(name), view.rgb, is_key,
                                                self._preparer.cameras[name].valid)
                for name, view in views.items()}, spent().wall_s / len(views)

    def _view(self, name: str, snapshot: Snapshot, frame_set: RawFrameSet) -> View:
        view = render_view(self._rasterizer, snapshot.scene, self._place(name, frame_set),
                           snapshot.stamp_ns)
        known = self._exposures.get(name)  # of cameras that train; the others are the mean camera
        return view if known is None else recorded(view, known['gain'], known['offset'])


def _listed(scores: Mapping[str, metrics.Score]) -> dict[str, dict]:
    return {name: asdict(score) for name, score in scores.items()}


def state_bytes(snapshot: Snapshot, kind: str) -> int:
    """Size of the serialized message of a frame: GaussianCloud at keys, else GaussianUpdate."""
    if kind == 'key':
        return serialized_size(key_arrays(snapshot.key), WORLD_FRAME)
    return serialized_size(update_arrays(snapshot.key, snapshot.scene), WORLD_FRAME)
