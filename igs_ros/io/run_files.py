# SPDX-License-Identifier: Apache-2.0
"""The files of one run: results.json, final.ply, renders, video.mp4, contact.png, quality.png.

results.json is written first and stands for a complete run: without it, what else is there is of
a run that did not end.
"""
from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.files import checked_folder, read_json, writing
from igs_ros.core.scene import GaussianScene
from igs_ros.core.snapshot import View
from igs_ros.io.codec.ply import save_ply
from igs_ros.io.report import (
    PANEL_WIDTH,
    ContactRow,
    VideoWriter,
    contact_sheet,
    quality_plot,
    write_picture,
)
from igs_ros.io.results import write_results

log = logging.getLogger(__name__)
CONTACT_ROWS = 4
RESULTS = 'results.json'
FILES = (RESULTS, 'final.ply', 'video.mp4', 'contact.png', 'quality.png')
PREVIOUS = 'previous_run'
_RENDER = re.compile(r'(first_scene|frame_\d{4,})(_confidence)?\.png')


class RunFiles:
    """Collects the pictures of a run below `folder`, which is checked at once.

    With the first picture, the files of the last complete run there move to `PREVIOUS`, until
    this one is complete, too. No other files are touched. A picture that cannot be written ends
    the pictures, not the run: `finish` raises it.

    Args:
        folder: of the run; made if it is not there.
        rate_hz: of the recording; the video plays at that rate.

    Raises:
        OutputError: `folder` cannot be written to.
        InputError: a results.json is there that no run has written.
    """

    def __init__(self, folder: Path, rate_hz: float):
        self._folder = folder
        self._renders = folder / 'renders'
        for needed in (folder, self._renders):
            checked_folder(needed)
        _check_results(folder)
        self.rate_hz = rate_hz
        self._video: VideoWriter | None = None
        self._rows: list[ContactRow] = []
        self._last: ContactRow | None = None
        self._added, self._stride = 0, 1
        self._problem: OutputError | None = None

    def add(self, label: str, view: View, truth: np.ndarray | None) -> None:
        """The next picture.

        Args:
            label: such as 'frame 5', whose file is frame_0005.png: names sort as the run went.
            view: what was rendered, [H, W]; with a confidence, that is a picture of its own.
            truth: [H, W, 3] uint8 of the camera, None if it is missing.
        """
        if self._problem:
            return
        name = re.sub(r'\d+', lambda number: number[0].zfill(4), label.replace(' ', '_'))
        rendered = np.rint(np.clip(view.rgb, 0, 1) * 255).astype(np.uint8)
        camera = np.zeros(rendered.shape, np.uint8) if truth is None else truth
        try:
            video = self._begin()
            write_picture(self._renders / f'{name}.png', rendered)
            if view.confidence is not None:
                write_picture(self._renders / f'{name}_confidence.png',
                              np.rint(view.confidence * 255).astype(np.uint8))
            video.write(np.concatenate([camera, rendered], 1))
        except OutputError as error:
            log.warning('%s The run goes on without pictures.', error)
            self._problem = error
            self._discard_video()  # leaves room for results.json
            return
        self._keep(_panel_sized(ContactRow(label, camera, replace(view, rgb=rendered))))

    def _begin(self) -> VideoWriter:
        """Before anything is written."""
        if self._video is None:
            put_aside(self._folder)
            self._video = VideoWriter(self._folder / 'video.mp4', self.rate_hz)
        return self._video

    def _discard_video(self) -> None:
        if self._video is not None:
            self._video.discard()

    def _keep(self, row: ContactRow) -> None:
        """Few rows spread over a run of unknown length: every stride-th, the stride doubling."""
        if self._added % self._stride == 0:
            self._rows.append(row)
            if len(self._rows) == 4 * CONTACT_ROWS:
                self._rows, self._stride = self._rows[::2], 2 * self._stride
        self._added += 1
        self._last = row

    def pictures(self, results: dict, title: str) -> None:
        """Close the video; write the sheet at four times spread over the run, and the plot.

        Without a single picture there is no sheet, which is logged. What cannot be written is kept
        for `finish`.

        Args:
            results: those of results.json.
            title: of the plot.
        """
        if self._video is not None:
            self._try(self._video.close)
        self._try(quality_plot, results, self._folder / 'quality.png', title)
        if self._last is None:
            log.warning('%s: no picture was rendered, so there is no video.mp4 and no '
                        'contact.png', self._folder)
            return
        rows = self._rows if self._rows[-1] is self._last else [*self._rows, self._last]
        times = np.unique(np.linspace(0, len(rows) - 1, CONTACT_ROWS).round().astype(int))
        self._try(contact_sheet, [rows[time] for time in times], self._folder / 'contact.png')

    def finish(self, results: dict, title: str, scene: GaussianScene | None = None) -> None:
        """Write results.json and final.ply, close the video, write the sheet and the plot.

        In that order; all are tried.

        Args:
            results: as `validate_results` expects them.
            title: of the plot.
            scene: that of final.ply; None writes none.

        Raises:
            OutputError: about the first that cannot be written.
        """
        try:
            self._try(self._begin)
            self._try(write_results, self._folder / RESULTS, results)
            if scene is not None:
                self._try(save_ply, scene, self._folder / 'final.ply')
            self.pictures(results, title)
        finally:
            self._discard_video()
        if self._problem:
            raise self._problem
        _remove(self._folder / PREVIOUS)

    def abandon(self) -> None:
        """End early: what is half written goes, the pictures so far stay."""
        self._discard_video()
        if self._video is None:
            return
        before = f'; {PREVIOUS} has the run before' if _own(self._folder / PREVIOUS) else ''
        log.warning('%s: no results.json, for the run did not end; renders has its first %d '
                    'pictures%s', self._folder, self._added, before)

    def _try(self, write: Callable, *arguments) -> None:
        try:
            write(*arguments)
        except OutputError as error:
            self._problem = self._problem or error


def put_aside(folder: Path) -> None:
    """Move a complete run in `folder` to `PREVIOUS`; the pictures of one that did not end go.

    Raises:
        OutputError: files there cannot be moved or removed.
    """
    with writing(folder / PREVIOUS):
        if not (folder / RESULTS).is_file():
            for name in _own_renders(folder):
                (folder / name).unlink()
            return
        _remove(folder / PREVIOUS)
        for name in _own(folder):
            target = folder / PREVIOUS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder / name, target)


def _check_results(folder: Path) -> None:
    path = folder / RESULTS
    if not path.is_file():
        return
    found = read_json(path, 'what `igs run` writes')
    if not (isinstance(found, dict) and {'scene', 'bootstrap', 'frames'} <= found.keys()):
        raise InputError(f'{path}: not written by `igs run`, which would overwrite it. Move it, '
                         f'or take another --out.')


def _own(folder: Path) -> list[str]:
    """What a run has left in `folder`: results.json first, without it there is no complete run."""
    files = [name for name in FILES if (folder / name).is_file()]
    return files + _own_renders(folder)


def _own_renders(folder: Path) -> list[str]:
    return [f'renders/{path.name}' for path in (folder / 'renders').glob('*.png')
            if _RENDER.fullmatch(path.name)]


def _remove(folder: Path) -> None:
    """Remove what a run has left in `folder`, and the folder where nothing else is in it."""
    for name in _own(folder):
        (folder / name).unlink()
    for emptied in (folder / 'renders', folder):
        with contextlib.suppress(OSError):  # not empty, or not there
            emptied.rmdir()


def _panel_sized(row: ContactRow) -> ContactRow:
    """`row` no wider than it is drawn: up to 16 rows are kept, of cameras of any size."""
    height, width = row.camera.shape[:2]
    if width <= PANEL_WIDTH:
        return row
    size = (PANEL_WIDTH, max(1, round(height * PANEL_WIDTH / width)))
    view = replace(row.view, confidence=None, known_depth=None)
    return replace(
        row, camera=cv2.resize(row.camera, size, interpolation=cv2.INTER_AREA),
        view=replace(view, rgb=cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA),
                     # depths of two surfaces, or NaN, must not be mixed
                     depth=cv2.resize(view.depth, size, interpolation=cv2.INTER_NEAREST),
                     alpha=cv2.resize(view.alpha, size, interpolation=cv2.INTER_AREA)))
