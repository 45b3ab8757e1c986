# SPDX-License-Identifier: Apache-2.0
"""What a rig check leaves: rig_check.json, and a picture of pairs and of the rig from above."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from igs_ros.core.camera import Camera
from igs_ros.core.files import replaced
from igs_ros.io.rig_recording import CheckedRecording
from igs_ros.vision.epipolar import depths, essential
from igs_ros.vision.rig_check import RigCheck
from igs_ros.vision.rig_facts import CameraFacts
from igs_ros.vision.rig_pairs import Pair, Verdict, limit_px, relative

EXIT = {Verdict.GOOD: 0, Verdict.WRONG: 1, Verdict.UNKNOWN: 3}
"""Exit codes of the programs that check."""
REPORT, PICTURE = 'rig_check.json', 'rig_check.png'
_PANELS = 6  # pairs that are drawn, the worst first
_LINES = 12  # matches of each with their epipolar lines
_PANEL_PX = 360  # width of one picture
_COLORS = {Verdict.GOOD: 'tab:green', Verdict.WRONG: 'tab:red', Verdict.UNKNOWN: 'tab:gray'}


def write_report(folder: Path, checked: CheckedRecording, facts: Mapping[str, CameraFacts],
                 remarks: list[str], timing: Mapping[str, Mapping[str, float]]) -> None:
    """Write both files.

    Args:
        folder: for them; made if it is not there.
        checked: the check, and what it was made of.
        facts: of the cameras.
        remarks: about these, in words.
        timing: of the cameras, by name and what it is; may be empty.

    Raises:
        OutputError: what the system says against it.
    """
    content = report(checked, facts, remarks, timing)
    with replaced(folder / REPORT) as draft:
        draft.write_text(json.dumps(content, indent=1, allow_nan=False))
    figure = _figure(checked)
    with replaced(folder / PICTURE) as draft:
        figure.savefig(draft, dpi=80, format='png')


def report(checked: CheckedRecording, facts: Mapping[str, CameraFacts], remarks: list[str],
           timing: Mapping[str, Mapping[str, float]]) -> dict:
    """The content of rig_check.json (docs/real_rigs.md); what cannot be told is null.

    Args:
        checked: what the check found.
        facts: of the cameras, by name.
        remarks: lines about the recording.
        timing: of the cameras, by name and what it is; may be empty.
    """
    check = checked.check
    return {key: _plain(value) for key, value in {
        'verdict': check.verdict.value, 'exit_code': EXIT[check.verdict],
        'frames': list(checked.numbers), 'lines': list(check.lines), 'remarks': remarks,
        'mistake': check.mistake and {'text': check.mistake.text,
                                      'cameras': list(check.mistake.who)},
        'cameras': {name: {'verdict': verdict.value, **asdict(facts[name]),
                           **timing.get(name, {})} for name, verdict in check.cameras.items()},
        'pairs': [_pair(pair, checked.cameras) for pair in check.pairs],
        'triples': [{'cameras': list(one.names), 'verdict': one.verdict.value,
                     'points': one.points, 'error_px': one.error_px} for one in check.triples]
    }.items()}


def _pair(pair: Pair, cameras: Mapping[str, Camera]) -> dict:
    return {'cameras': list(pair.names), 'verdict': pair.verdict.value,
            'matches': len(pair.matches), 'fitting': int(pair.fitting.sum()),
            'repeated': pair.matches.repeated, 'error_px': pair.error_px,
            'error_p90_px': pair.worst_px, 'floor_px': pair.floor_px,
            'limit_px': limit_px(*(cameras[name] for name in pair.names)),
            'behind': pair.behind, 'reason': pair.reason}


def _plain(value: object) -> object:
    """JSON knows no NaN: it becomes null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


def _figure(checked: CheckedRecording) -> Figure:
    order = {Verdict.WRONG: 0, Verdict.GOOD: 1, Verdict.UNKNOWN: 2}
    shown = sorted((pair for pair in checked.check.pairs
                    if set(pair.names) <= set(checked.images)),
                   key=lambda pair: (order[pair.verdict], -np.nan_to_num(pair.error_px)))[:_PANELS]
    rows = 1 + (len(shown) + 1) // 2
    figure = Figure(figsize=(14, 1.5 + 2.9 * rows), layout='constrained')
    axes = figure.subplots(rows, 2, squeeze=False)
    _draw_matrix(axes[0, 0], checked.check)
    _draw_above(axes[0, 1], checked)
    for axis, pair in zip(axes.ravel()[2:], shown, strict=False):
        axis.imshow(_panel(pair, checked))
        error = f'{pair.error_px:.1f} px' if pair.verdict is not Verdict.UNKNOWN else \
            f'cannot tell ({pair.reason})'
        axis.set_title(f'{pair.names[0]} - {pair.names[1]}: {error[:70]}', fontsize=9,
                       color=_COLORS[pair.verdict])
    for axis in axes.ravel()[2:]:
        axis.axis('off')
    return figure


def _draw_matrix(axis, check: RigCheck) -> None:
    names = list(check.cameras)
    grid = np.ones((len(names), len(names), 3))
    shades = {Verdict.GOOD: (0.75, 0.93, 0.75), Verdict.WRONG: (0.98, 0.7, 0.68),
              Verdict.UNKNOWN: (0.88, 0.88, 0.88)}
    for pair in check.pairs:
        i, j = (names.index(name) for name in pair.names)
        grid[i, j] = grid[j, i] = shades[pair.verdict]
        if len(names) <= 16:
            text = '?' if pair.verdict is Verdict.UNKNOWN else f'{pair.error_px:.1f}'
            for x, y in ((i, j), (j, i)):
                axis.text(x, y, text, ha='center', va='center', fontsize=8)
    axis.imshow(grid)
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_title('epipolar error, px (median; ? = cannot tell)', fontsize=10)


def _draw_above(axis, checked: CheckedRecording) -> None:
    """Cameras, where they look, and the matched points, seen along the rig's common upward."""
    cameras = checked.cameras
    down = np.mean([camera.camera_from_world[1, :3] for camera in cameras.values()], axis=0)
    down /= np.linalg.norm(down) or 1.0
    ahead = np.mean([camera.camera_from_world[2, :3] for camera in cameras.values()], axis=0)
    ahead -= down * (ahead @ down)
    if np.linalg.norm(ahead) < 0.1:  # a ring has no common direction
        ahead = np.linalg.svd(down[None])[2][1]
    ahead /= np.linalg.norm(ahead)
    plane = np.stack([np.cross(down, ahead), ahead])
    points = [np.zeros((0, 3))]
    for pair in checked.check.pairs:
        if pair.verdict is Verdict.GOOD:
            points.append(_points(pair, cameras))
    flat = np.concatenate(points) @ plane.T
    axis.scatter(*flat.T, s=1, color='silver')
    centers = np.array([camera.center for camera in cameras.values()]) @ plane.T
    spread = np.median(np.linalg.norm(flat - centers.mean(0), axis=1)) if len(flat) else \
        float(np.ptp(centers, axis=0).max()) or 1.0
    for (name, camera), center in zip(cameras.items(), centers, strict=True):
        color = _COLORS[checked.check.cameras[name]]
        for x in 0.0, camera.width:
            ray = np.append(((x, camera.height / 2) - camera.K[:2, 2]) / np.diag(camera.K)[:2], 1)
            end = center + spread * (plane @ (camera.camera_from_world[:3, :3].T @ ray))
            axis.plot(*np.stack([center, end]).T, color=color, linewidth=0.6)
        axis.plot(*center, 'o', color=color)
        axis.annotate(name, center, fontsize=8, rotation=45)
    seen = np.concatenate([flat, centers])
    low, high = np.percentile(seen, [2, 98], axis=0)
    low, high = np.minimum(low, centers.min(0)), np.maximum(high, centers.max(0))
    margin = 0.1 * float((high - low).max()) + 1e-6
    axis.set_xlim(low[0] - margin, high[0] + margin)
    axis.set_ylim(low[1] - margin, high[1] + margin)
    axis.set_aspect('equal')
    axis.set_title('from above: cameras, edges of their pictures, matched points', fontsize=10)


def _points(pair: Pair, cameras: Mapping[str, Camera]) -> np.ndarray:
    """[P, 3] world points of the matches that fit."""
    one, other = (cameras[name] for name in pair.names)
    chosen = pair.matches.only(pair.fitting & pair.matches.fresh)
    rays = one.rays(chosen.pixels)
    near, _, _ = depths(rays, other.rays(chosen.other_pixels), relative(one, other))
    local = np.concatenate([rays, np.ones((len(rays), 1))], 1)[near > 0] * near[near > 0, None]
    return (local - one.camera_from_world[:3, 3]) @ one.camera_from_world[:3, :3]


def _panel(pair: Pair, checked: CheckedRecording) -> np.ndarray:
    """Both pictures side by side, with matches, and their epipolar lines in the second one."""
    one, other = (checked.cameras[name] for name in pair.names)
    pictures = [_shrunk(checked.images[name]) for name in pair.names]
    tall = max(len(picture) for picture in pictures)
    sheet = np.full((tall, 2 * _PANEL_PX, 3), 255, np.uint8)
    for column, picture in enumerate(pictures):
        sheet[:len(picture), column * _PANEL_PX:(column + 1) * _PANEL_PX] = picture
    rows = np.flatnonzero(pair.fitting & (pair.matches.rows[:, 0] == 0))
    rows = rows[np.linspace(0, len(rows) - 1, min(_LINES, len(rows))).astype(int)]
    E = essential(relative(one, other))
    for number, row in enumerate(rows):
        hue = np.array([[[180 * number // max(1, len(rows)), 220, 240]]], np.uint8)
        color = tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])
        a = pair.matches.pixels[row] * _PANEL_PX / one.width
        b = pair.matches.other_pixels[row] * _PANEL_PX / other.width
        cv2.circle(sheet, (int(a[0]), int(a[1])), 4, color, 1, cv2.LINE_AA)
        cv2.circle(sheet, (int(b[0]) + _PANEL_PX, int(b[1])), 4, color, 1, cv2.LINE_AA)
        line = E @ np.append(one.rays(pair.matches.pixels[row])[0], 1)
        _draw_line(sheet[:len(pictures[1]), _PANEL_PX:], line, other, color)
    return sheet


def _draw_line(picture: np.ndarray, line: np.ndarray, camera: Camera, color) -> None:
    """An epipolar line (of rays) in the picture of a camera; its lens is not drawn."""
    inverse = np.linalg.inv(camera.K)
    a, b, c = inverse.T @ line
    scale = _PANEL_PX / camera.width
    if abs(b) >= abs(a):
        ends = [(x, -(a * x + c) / b) for x in (0, camera.width)]
    else:
        ends = [(-(b * y + c) / a, y) for y in (0, camera.height)]
    flat = [tuple(int(np.clip(v * scale, -9999, 9999)) for v in end) for end in ends]
    cv2.line(picture, flat[0], flat[1], color, 1, cv2.LINE_AA)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height = max(1, round(len(picture) * _PANEL_PX / picture.shape[1]))
    return cv2.resize(picture, (_PANEL_PX, height), interpolation=cv2.INTER_AREA)
