# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to look at: a video, a contact sheet and a plot.

results.json is checked and written by `igs_ros.io.results`.
"""
from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from matplotlib.figure import Figure

from igs_ros.core.files import draft_of, replaced, writing
from igs_ros.core.snapshot import View
from igs_ros.vision.metrics import as_float

BT601 = 6  # SMPTE 170M in the numbering of H.264 (ITU-T H.273): what swscale converts with
LIMITED_RANGE = 1

PANEL_WIDTH = 480  # px, whatever the cameras have: labels stay readable, files small
HEADER_PX = 26
LABEL_COLOR = (255, 255, 255)
PANEL_GAP_PX = 4
DEPTH_SPREAD = (1, 99)  # percentiles of the depth shown; outliers must not eat the colors
NOTHING_GREY = 96
ERROR_FULL_SCALE = 0.25  # mean |difference| over RGB that gets the brightest color

KEY_COLOR = 'tab:red'


def _uint8(picture: np.ndarray) -> np.ndarray:
    return picture if picture.dtype == np.uint8 else np.rint(as_float(picture) * 255).astype('u1')


class VideoWriter:
    """H.264 4:2:0 in MP4, playable in browsers; use it as a context manager.

    The size is that of the first picture; odd sizes lose the last row or column, which 4:2:0
    cannot hold.

    Args:
        path: of the file, which is there when the video is complete.
        fps: pictures per second.
        crf: quality of libx264, 0 (no loss) to 51.

    Raises:
        OutputError: by all that writes, when the file cannot be written.
    """

    def __init__(self, path: str | Path, fps: float, crf: int = 18):
        self.path = Path(path)
        self._draft = draft_of(self.path)
        self.rate = Fraction(fps).limit_denominator(1001)
        self.crf = crf
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def write(self, picture: np.ndarray) -> None:
        """Append a picture [H, W, 3] sRGB, uint8 or float 0..1; all of one size."""
        height, width = (size - size % 2 for size in picture.shape[:2])
        pixels = np.ascontiguousarray(_uint8(picture)[:height, :width])
        frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
        with writing(self.path):
            if self._container is None:
                # the index goes to the front, so that a browser starts before it has everything
                self._container = av.open(str(self._draft), 'w',
                                          options={'movflags': 'faststart'})
            if self._stream is None:
                self._stream = self._new_stream(self._container, width, height)
            assert (width, height) == (self._stream.width, self._stream.height), picture.shape
            _mux(self._container, self._stream, frame)

    def close(self) -> None:
        """Finish the file; nothing is left behind when no picture was written."""
        if self._container is None or self._stream is None:
            self.discard()
            return
        try:
            with writing(self.path):
                _mux(self._container, self._stream, None)
                self._container.close()
                os.replace(self._draft, self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind of what is not finished."""
        if self._container is None:
            return
        container, self._container = self._container, None
        with contextlib.suppress(OSError):  # the end of the file, on a disk that is full
            container.close()
        self._draft.unlink(missing_ok=True)

    def _new_stream(self, container: OutputContainer, width: int, height: int) -> VideoStream:
        stream = container.add_stream('libx264', rate=self.rate,
                                            options={'crf': str(self.crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT601
        codec.color_range = LIMITED_RANGE
        return stream

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.discard() if error else self.close()


def _mux(container: OutputContainer, stream: VideoStream, frame: av.VideoFrame | None) -> None:
    """Encode a picture; None: all that the encoder still holds."""
    for packet in stream.encode(frame):
        container.mux(packet)


@dataclass(frozen=True, eq=False)
class ContactRow:
    """One instant of a contact sheet."""

    label: str  # e.g. 'frame 5'
    camera: np.ndarray  # [H, W, 3] uint8, what the camera saw
    view: View  # of the same size


def contact_sheet(rows: Sequence[ContactRow], path: str | Path) -> None:
    """Write a picture with one line per row: camera | render | depth | error, 480 px each.

    Depths of all rows share one scale; error is the mean |difference| over RGB.

    Raises:
        OutputError: it cannot be written.
    """
    depths = np.concatenate([row.view.depth[np.isfinite(row.view.depth)] for row in rows])
    near, far = np.percentile(depths, DEPTH_SPREAD) if depths.size else (0.0, 1.0)
    titles = ('camera', 'render', f'depth {near:.2f}-{far:.2f} m, gray: nothing',
              f'error 0-{ERROR_FULL_SCALE:g} (mean |RGB|)')
    lines = []
    for row in rows:
        panels = (row.camera, _uint8(row.view.rgb), depth_picture(row.view.depth, near, far),
                  error_picture(row.camera, row.view.rgb))
        labeled = [_with_header(panel, f'{row.label}: {title}' if number == 0 else title)
                   for number, (panel, title) in enumerate(zip(panels, titles, strict=True))]
        lines.append(_joined(labeled, axis=1))
    write_picture(path, _joined(lines, axis=0))


def depth_picture(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """[H, W, 3] uint8 of a depth map: near is bright, NaN gray.

    Args:
        depth: [H, W] m.
        near: m, drawn brightest, and what is nearer.
        far: m, drawn darkest, and what is farther.
    """
    known = np.isfinite(depth)
    closeness = (far - np.where(known, depth, far)) / max(far - near, 1e-9)
    return np.where(known[..., None], _colored(closeness, cv2.COLORMAP_VIRIDIS),
                    np.uint8(NOTHING_GREY))


def error_picture(truth: np.ndarray, rendered: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 of mean |difference| over RGB: black is none, bright is much."""
    error = np.abs(as_float(truth) - as_float(rendered)).mean(-1)
    return _colored(error / ERROR_FULL_SCALE, cv2.COLORMAP_INFERNO)


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture as PNG or JPEG, by the suffix of `path`.

    Args:
        path: of the file.
        picture: [H, W, 3] sRGB, uint8 or float 0..1; or levels, uint8 [H, W].

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(path)
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(_uint8(picture), cv2.COLOR_RGB2BGR)
    # imwrite would not say what the system says, and not notice a disk that is full
    _, data = cv2.imencode(path.suffix, pixels)
    with replaced(path, synced=False) as draft:
        draft.write_bytes(data.tobytes())


def quality_plot(results: dict, path: str | Path, title: str) -> None:
    """Plot the scores, the first scene's and the keys' marked, with the step times below.

    Also for runs without scores (None): then only the times are drawn.

    Args:
        results: results.json; its `bootstrap` and `frames` count.
        path: of the picture.
        title: above the plot.

    Raises:
        OutputError: it cannot be written.
    """
    figure = Figure(figsize=(9, 6), layout='constrained')
    scores, times = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    frames, first = results['frames'], _first_frame(results)
    indices = [frame['index'] for frame in frames]
    keys = [frame for frame in frames if frame['kind'] == 'key']
    for name, label in (('psnr', 'whole picture'), ('psnr_fitted', 'whole picture, fitted'),
                        ('psnr_moving', 'moving pixels')):
        values = _plottable([first, *frames], name)
        if np.isfinite(values).any():
            scores.plot([first['index'], *indices], values, marker='.', label=label)
    for view, value in first['views'].items():
        scores.plot(first['index'], value, 'x', color='tab:gray')
        scores.annotate(f'{view} {value:.1f}', (first['index'], value), (6, -3),
                        textcoords='offset points', fontsize=8, parse_math=False)
    for some, label, marker in (([first], 'first scene', 'D'), (keys, 'key', 'o')):
        if np.isfinite(_plottable(some, 'psnr')).any():
            scores.plot([one['index'] for one in some], _plottable(some, 'psnr'), marker,
                        label=label, markerfacecolor='none', color=KEY_COLOR)
    if scores.lines:
        scores.legend()
    else:
        scores.text(0.5, 0.5, 'no test view, no scores', ha='center', transform=scores.transAxes)
    scores.set_title(title, parse_math=False)  # a name may hold a $
    scores.set(ylabel='PSNR, dB')
    colors = [KEY_COLOR if frame['kind'] == 'key' else 'tab:gray' for frame in frames]
    times.bar(indices, _plottable(frames, 'step_s'), color=colors)
    times.set(xlabel='frame (red: key)', ylabel='step, s')
    times.xaxis.get_major_locator().set_params(integer=True)
    for axes in (scores, times):
        axes.grid(alpha=0.3)
    with replaced(Path(path), synced=False) as draft:
        figure.savefig(draft, dpi=110)


def _first_frame(results: dict) -> dict:
    """The scores of the first scene, as those of a frame."""
    first = results['bootstrap']
    views = {view: score['psnr'] for view, score in first.get('views', {}).items()
             if score['psnr'] is not None and np.isfinite(score['psnr'])}
    return {'index': first.get('index', 0), 'psnr': first['psnr_test'], 'psnr_moving': None,
            'psnr_fitted': first.get('psnr_test_fitted'), 'views': views if len(views) > 1 else {}}


def _plottable(frames, name) -> np.ndarray:
    values = [np.nan if frame.get(name) is None else frame[name] for frame in frames]
    return np.array(values, dtype=float)


def _colored(values: np.ndarray, colormap: int) -> np.ndarray:
    """[H, W, 3] uint8 RGB of values [H, W] 0..1."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, colormap), cv2.COLOR_BGR2RGB)


def _with_header(panel: np.ndarray, text: str) -> np.ndarray:
    size = (PANEL_WIDTH, max(1, round(panel.shape[0] * PANEL_WIDTH / panel.shape[1])))
    panel = cv2.resize(panel, size, interpolation=cv2.INTER_AREA)
    header = np.zeros((HEADER_PX, panel.shape[1], 3), np.uint8)
    scale = 0.5
    (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, (panel.shape[1] - 12) / max(text_width, 1))  # never cut off
    cv2.putText(header, text, (6, HEADER_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, scale, LABEL_COLOR, 1,
                cv2.LINE_AA)
    return np.concatenate([header, panel])


def _joined(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Pictures side by side (axis 1) or stacked (axis 0), with gaps."""
    shape = list(pictures[0].shape)
    shape[axis] = PANEL_GAP_PX
    parts = [pictures[0]]
    for picture in pictures[1:]:
        parts += [np.zeros(shape, np.uint8), picture]
    return np.concatenate(parts, axis)
