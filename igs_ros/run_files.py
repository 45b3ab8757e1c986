# SPDX-License-Identifier: Apache-2.0
"""The files of one run: renders, video.mp4, contact.png, quality.png, results.json."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from igs_ros.report import ContactRow, VideoWriter, contact_sheet, quality_plot, write_picture
from igs_ros.results import write_results
from igs_ros.view import View

CONTACT_ROWS = 4


class RunFiles:
    """Collects the pictures of a run below `folder`.

    rate_hz: of the recording; the video plays at that rate.
    """

    def __init__(self, folder: Path, rate_hz: float):
        self._folder = folder
        (folder / 'renders').mkdir(parents=True, exist_ok=True)
        self._video = VideoWriter(folder / 'video.mp4', rate_hz)
        self._rows: list[ContactRow] = []
        self._last: ContactRow | None = None
        self._added, self._stride = 0, 1

    def add(self, label: str, view: View, truth: np.ndarray | None) -> None:
        """The next picture; `truth` [H, W, 3] uint8 is the camera's, None if it is missing."""
        write_picture(self._folder / 'renders' / f'{label.replace(" ", "_")}.png', view.rgb)
        camera = np.zeros(view.rgb.shape, np.uint8) if truth is None else truth
        rendered = np.rint(view.rgb * 255).astype(np.uint8)
        self._video.write(np.concatenate([camera, rendered], 1))
        self._keep(ContactRow(label, camera, view))

    def _keep(self, row: ContactRow) -> None:
        """Few rows spread over a run of unknown length: every stride-th, the stride doubling."""
        if self._added % self._stride == 0:
            self._rows.append(row)
            if len(self._rows) == 4 * CONTACT_ROWS:
                self._rows, self._stride = self._rows[::2], 2 * self._stride
        self._added += 1
        self._last = row

    def pictures(self, frames: Sequence[dict], title: str) -> None:
        """Close the video; write the sheet at four times spread over the run, and the plot."""
        self._video.close()
        rows = self._rows if self._rows[-1] is self._last else [*self._rows, self._last]
        times = np.unique(np.linspace(0, len(rows) - 1, CONTACT_ROWS).round().astype(int))
        contact_sheet([rows[time] for time in times], self._folder / 'contact.png')
        quality_plot(frames, self._folder / 'quality.png', title)

    def finish(self, results: dict) -> None:
        """Write the pictures and results.json."""
        config = results['config']
        self.pictures(results['frames'], f"{results['scene']}, {config['motion']} motion, "
                                         f"key interval {config['key_interval']}")
        write_results(self._folder / 'results.json', results)
