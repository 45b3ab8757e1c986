# SPDX-License-Identifier: Apache-2.0
"""Making a recording ready for training: key scenes at regular frames, and working pictures.

Published: a scene for every frame, targets up to 5 frames away on either side. A key every 10
frames with the same targets has every frame learned from, at a tenth of the cost.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from igs_ros.apps.training.prepared import (
    INDEX,
    camera_entries,
    is_whole,
    key_path,
    picture_path,
    read_index,
    write_index,
)
from igs_ros.core.config import Config, settings
from igs_ros.core.errors import InputError
from igs_ros.core.files import checked_folder, replaced
from igs_ros.core.frames import FrameSet, RawFrameSet
from igs_ros.io.codec.ply import load_ply, save_ply
from igs_ros.io.recordings.open import open_recording
from igs_ros.io.recordings.recording import Recording, require_still, test_view, train_views
from igs_ros.render.rasterizer import render_view
from igs_ros.stages.stages import Stages
from igs_ros.vision.metrics import psnr
from igs_ros.vision.preparer import Preparer

log = logging.getLogger(__name__)
_DECIDES = ('bootstrap.', 'max_gaussians', 'sh_degree', 'width', 'seed')  # settings


@dataclass(frozen=True)
class Request:
    """What to make ready."""

    data: Path
    out: Path
    config: Config
    every: int = 10  # frames from key to key
    first: int = 0
    last: int | None = None  # half-open
    test_view: str | None = None
    train_views: tuple[str, ...] | None = None


def prepare(request: Request) -> dict:
    """Make ready what is not yet there, or damaged, with a progress bar; returns the index.

    Raises:
        InputError: recording and options do not fit together, or to what is in `request.out`
            already.
        OutputError: a file cannot be written.
    """
    if request.every < 1:
        raise InputError(f'--every {request.every}: expected at least 1 frame.')
    recording = open_recording(request.data)
    require_still(recording, 'igs prepare')
    train = train_views(recording, test_view(recording, request.test_view), request.train_views)
    preparer = Preparer(recording.cameras, request.config.width or None)
    for folder in (request.out, key_path(request.out, 0).parent,
                   *(picture_path(request.out, name, 0).parent for name in recording.cameras)):
        checked_folder(folder)
    index = _index(request, recording, train, preparer)
    done = {entry['frame'] for entry in index['keys']}
    maker = _KeyMaker(request.config, recording, train, preparer)
    sets = recording.frame_sets(request.first, request.last)
    end = min(recording.frames_total, request.last or recording.frames_total)
    with progress_bar() as progress:
        bar = progress.add_task('preparing', total=end - request.first, note='')
        for frame, frame_set in enumerate(sets, request.first):
            is_key = (frame - request.first) % request.every == 0
            prepared = _with_pictures(request.out, frame, frame_set, preparer,
                                      needed=is_key and frame not in done)
            if prepared is not None:
                index['keys'].append(maker.make(
                    request.out, frame, prepared,
                    lambda stage, share: progress.update(bar, note=f'{stage} {share:.0%}')))
                write_index(request.out, index)
            progress.update(bar, advance=1, note='')
    return index


class _KeyMaker:
    """Makes key scenes as the pipeline makes its first one."""

    def __init__(self, config: Config, recording: Recording, train: tuple[str, ...],
                 preparer: Preparer):
        self._stages = Stages(config, {name: recording.cameras[name] for name in train})
        self._recording = recording
        self._train = train
        self._cameras = preparer.cameras

    def make(self, out: Path, frame: int, frame_set: FrameSet,
             tell: Callable[[str, float], None]) -> dict:
        """Write the scene of a prepared frame set; its entry in the index."""
        method = self._stages.config.bootstrap.method
        # points of a recording are those of its first frame; asked for, they serve all frames
        wanted = method == 'points' or (method == 'auto' and frame == 0)
        made = self._stages.first_scene(frame_set.only(self._train),
                                        self._recording.points() if wanted else None, tell)
        save_ply(made.scene, key_path(out, frame))
        report = made.report
        tests = [psnr(frame_set.images[name],
                      render_view(self._stages.rasterizer, made.scene, self._cameras[name]).rgb)
                 for name in frame_set.images if name not in self._train]
        return {'frame': frame, 'method': report.method, 'iterations': report.iterations,
                'gaussians': report.gaussians, 'psnr_train': report.psnr_train,
                'psnr_test': float(np.mean(tests)) if tests else None, 'cpu_s': report.cpu_s,
                'exposures': report.exposures}


def _index(request: Request, recording: Recording, train: tuple[str, ...],
           preparer: Preparer) -> dict:
    """The index to go on with: the one in the folder where it fits, else a new one."""
    values = {name: value for name, value in settings(request.config)
              if name.startswith(_DECIDES)}
    made_of = {
        'recording': str(request.data.resolve()), 'scene': recording.name,
        'fps': recording.rate_hz, 'first': request.first, 'every': request.every,
        'settings': values,
        'held_out': [name for name in recording.cameras if name not in train],
        'cameras': camera_entries(preparer.cameras)}
    found = read_index(request.out)
    if found is None:
        return {**made_of, 'keys': []}
    changed = [name for name, value in made_of.items() if found.get(name) != value]
    if changed:
        raise InputError(f'{request.out / INDEX}: made with other {", ".join(changed)}; expected '
                         f'the same to go on. Repeat them, or take another --out.')
    found['keys'] = [entry for entry in found['keys']
                     if _is_scene(key_path(request.out, entry['frame']))]
    return found


def _is_scene(path: Path) -> bool:
    try:
        load_ply(path)
    except InputError as error:
        log.warning('%s It is made anew.', error)
        return False
    return True


def _with_pictures(out: Path, frame: int, frame_set: RawFrameSet, preparer: Preparer, needed: bool,
                   ) -> FrameSet | None:
    """Write the working pictures that are not there, or damaged; the prepared set if `needed`."""
    missing = [name for name in frame_set.pictures if not is_whole(picture_path(out, name, frame))]
    for path in (picture_path(out, name, frame) for name in missing):
        if path.is_file():
            log.warning('%s: damaged; it is made anew', path)
    if not missing and not needed:
        return None
    prepared = preparer.prepare(frame_set if needed else frame_set.only(missing))
    for problem in prepared.problems:
        log.warning('frame %d: %s', frame, problem)
    for name in set(missing) & prepared.images.keys():
        _, data = cv2.imencode('.png', cv2.cvtColor(prepared.images[name], cv2.COLOR_RGB2BGR))
        with replaced(picture_path(out, name, frame), synced=False) as path:
            path.write_bytes(data.tobytes())
    return prepared if needed else None


def summary_lines(index: dict) -> Iterator[str]:
    """What was made, a line per key."""
    for entry in sorted(index['keys'], key=lambda entry: entry['frame']):
        test = entry['psnr_test']
        yield (f"frame {entry['frame']}: {entry['gaussians']} Gaussians from {entry['method']}, "
               f"{entry['psnr_train']:.2f} dB train"
               + (f', {test:.2f} dB test' if test is not None else ''))


def progress_bar(shown: bool = True) -> Progress:
    """Bars on stderr; each task has a field `note` beside its count."""
    return Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                    TextColumn('{task.fields[note]}'), TimeElapsedColumn(),
                    console=Console(stderr=True), disable=not shown)
