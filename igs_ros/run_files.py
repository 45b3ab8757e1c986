# SPDX-License-Identifier: Apache-2.0
"""The files of one run: renders, video.mp4, contact.png, quality.png, results.json."""
from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from igs_ros.report import (
    PANEL_WIDTH,
    ContactRow,
    VideoWriter,
    contact_sheet,
    quality_plot,
    write_picture,
)
from igs_ros.results import write_results
from igs_ros.view import View

log = logging.getLogger(__name__)
CONTACT_ROWS = 4


class RunFiles:
    """Collects the pictures of a run below `folder`; renders of an older run there are removed.

    rate_hz: of the recording; the video plays at that rate.
    """

    def __init__(self, folder: Path, rate_hz: float):
        self._folder = folder
        self._renders = folder / 'renders'
        self._renders.mkdir(parents=True, exist_ok=True)
        for old in self._renders.glob('*.png'):
            old.unlink()
        self._video = VideoWriter(folder / 'video.mp4', rate_hz)
        self._rows: list[ContactRow] = []
        self._last: ContactRow | None = None
        self._added, self._stride = 0, 1

    def add(self, label: str, view: View, truth: np.ndarray | None) -> None:
        """The next picture; `truth` [H, W, 3] uint8 is the camera's, None if it is missing.

        label: such as 'frame 5', whose file is frame_0005.png: names sort as the run went.
        """
        name = re.sub(r'\d+', lambda number: number[0].zfill(4), label.replace(' ', '_'))
        rendered = np.rint(np.clip(view.rgb, 0, 1) * 255).astype(np.uint8)
        write_picture(self._renders / f'{name}.png', rendered)
        camera = np.zeros(rendered.shape, np.uint8) if truth is None else truth
        self._video.write(np.concatenate([camera, rendered], 1))
        self._keep(_panel_sized(ContactRow(label, camera, replace(view, rgb=rendered))))

    def _keep(self, row: ContactRow) -> None:
        """Few rows spread over a run of unknown length: every stride-th, the stride doubling."""
        if self._added % self._stride == 0:
            self._rows.append(row)
            if len(self._rows) == 4 * CONTACT_ROWS:
                self._rows, self._stride = self._rows[::2], 2 * self._stride
        self._added += 1
        self._last = row

    def pictures(self, frames: Sequence[dict], title: str) -> None:
        """Close the video; write the sheet at four times spread over the run, and the plot.

        Without a single picture there is no sheet, which is logged.
        """
        self._video.close()
        quality_plot(frames, self._folder / 'quality.png', title)
        if self._last is None:
            log.warning('%s: no picture was rendered, so there is no video.mp4 and no '
                        'contact.png', self._folder)
            return
        rows = self._rows if self._rows[-1] is self._last else [*self._rows, self._last]
        times = np.unique(np.linspace(0, len(rows) - 1, CONTACT_ROWS).round().astype(int))
        contact_sheet([rows[time] for time in times], self._folder / 'contact.png')

    def finish(self, results: dict) -> None:
        """Write the pictures and results.json."""
        self.pictures(results['frames'], f"{results['scene']}, {results['motion']} motion, "
                                         f"key interval {results['config']['key_interval']}")
        write_results(self._folder / 'results.json', results)


def _panel_sized(row: ContactRow) -> ContactRow:
    """`row` no wider than it is drawn: up to 16 rows are kept, of cameras of any size."""
    height, width = row.camera.shape[:2]
    if width <= PANEL_WIDTH:
        return row
    size = (PANEL_WIDTH, max(1, round(height * PANEL_WIDTH / width)))
    view = row.view
    return replace(
        row, camera=cv2.resize(row.camera, size, interpolation=cv2.INTER_AREA),
        view=replace(view, rgb=cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA),
                     # depths of two surfaces, or NaN, must not be mixed
                     depth=cv2.resize(view.depth, size, interpolation=cv2.INTER_NEAREST),
                     alpha=cv2.resize(view.alpha, size, interpolation=cv2.INTER_AREA)))
