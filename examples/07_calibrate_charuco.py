# SPDX-License-Identifier: Apache-2.0
"""A rig.json from pictures of a ChArUco board: lenses, and where the cameras stand.

    python examples/07_calibrate_charuco.py left right top back --floor 000 --out rig.json

One folder of pictures per camera, the camera's name; pictures of one name in several folders show
the board at one place. `--board board.png` writes the board to print. Needs OpenCV 4.7 or newer.
"""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro

LEAST_CORNERS = 12  # of a picture that is used
FLIP = np.diag([1.0, -1, -1, 1])  # OpenCV's board has y down and z into it; ours z up, out of it


def make_board(columns: int, rows: int, square_m: float) -> cv2.aruco.CharucoBoard:
    """Squares of `square_m`, markers of three quarters of that."""
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_250)
    return cv2.aruco.CharucoBoard((columns, rows), square_m, 0.75 * square_m, dictionary)


def corners_of(folder: Path, board: cv2.aruco.CharucoBoard) -> tuple[dict, tuple[int, int]]:
    """Pixels [C, 2] by corner id, of every picture that shows enough; and the picture size."""
    detector, found, size = cv2.aruco.CharucoDetector(board), {}, (0, 0)
    for path in sorted(folder.iterdir()):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            continue
        size = picture.shape[::-1]
        pixels, ids, *_ = detector.detectBoard(picture)
        if ids is not None and len(ids) >= LEAST_CORNERS:
            found[path.stem] = dict(zip(ids.ravel().tolist(), pixels.reshape(-1, 2), strict=True))
    if len(found) < 5:
        raise SystemExit(f'{folder}: the board is seen in {len(found)} pictures; expected 15 or '
                         f'more. Check --columns and --rows, light and focus.')
    return found, size


def calibrate(names: Sequence[str], found: dict, sizes: dict, board: cv2.aruco.CharucoBoard,
              floor: str) -> list[dict]:
    """The cameras of a rig.json; world: the board in the pictures called `floor`, z up."""
    places = np.asarray(board.getChessboardCorners(), np.float32)
    lenses = {}
    for name in names:
        shots = found[name].values()
        error, K, lens, *_ = cv2.calibrateCamera(
            [places[list(shot)] for shot in shots], [np.array([*shot.values()]) for shot in shots],
            sizes[name], None, None)
        lenses[name] = K, lens.ravel()[:5]
        print(f'{name}: {len(shots)} pictures, {error:.3f} px, fx {K[0, 0]:.1f} '
              f'fy {K[1, 1]:.1f} cx {K[0, 2]:.1f} cy {K[1, 2]:.1f}')
    first = next((name for name in names if floor in found[name]), None)
    if first is None:
        raise SystemExit(f'--floor {floor}: no camera sees the board there; seen are '
                         f'{", ".join(sorted(found[names[0]]))}.')
    shot = found[first][floor]
    _, turn, shift = cv2.solvePnP(places[list(shot)], np.array([*shot.values()]), *lenses[first])
    poses = {first: rigid(cv2.Rodrigues(turn)[0], shift) @ FLIP}
    while len(poses) < len(names):  # the camera that shares most with one that is placed
        known, new = max(((a, b) for a in poses for b in names if b not in poses),
                         key=lambda pair: len(shared(found, *pair)))
        both = shared(found, known, new)
        if not both:
            raise SystemExit(f'{new}: no picture shows the board to it and to any of '
                             f'{", ".join(poses)} at once; take some that do.')
        seen, seen_new = ([np.array([found[name][at][i] for i in ids]) for at, ids in both]
                          for name in (known, new))
        (K, lens), (K_new, lens_new) = lenses[known], lenses[new]
        error, _, _, _, _, turn, shift, *_ = cv2.stereoCalibrate(
            [places[ids] for _, ids in both], seen, seen_new, K, lens, K_new, lens_new,
            sizes[known], flags=cv2.CALIB_FIX_INTRINSIC)
        poses[new] = rigid(turn, shift) @ poses[known]
        print(f'{known} to {new}: {len(both)} pictures, {error:.3f} px, '
              f'{np.linalg.norm(shift):.3f} m apart')
    return [{'name': name, 'width': sizes[name][0], 'height': sizes[name][1],
             'K': lenses[name][0].tolist(), 'dist': lenses[name][1].tolist(),
             'world_to_camera': poses[name].tolist()} for name in names]


def rigid(turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """[4, 4] of a rotation and a translation."""
    return np.vstack([np.column_stack([turn, shift]), [0, 0, 0, 1]])


def shared(found: dict, one: str, other: str) -> list[tuple[str, list[int]]]:
    """Pictures in which both cameras see enough of the same corners, and which."""
    both = [(at, sorted(found[one][at].keys() & found[other][at].keys()))
            for at in found[one].keys() & found[other].keys()]
    return sorted((at, ids) for at, ids in both if len(ids) >= LEAST_CORNERS)


def main(cameras: Annotated[tuple[Path, ...], tyro.conf.Positional] = (), columns: int = 7,
         rows: int = 5, square: float = 0.08, floor: str = '000', out: Path = Path('rig.json'),
         board: Path | None = None) -> None:
    """Calibrate.

    Args:
        cameras: folders of pictures, named as the cameras.
        columns: squares of the board.
        rows: squares of the board.
        square: side of a square as printed, m.
        floor: name of the pictures (without ending) in which the board lies on the floor.
        out: the rig.json.
        board: write the board to this picture instead.
    """
    pattern = make_board(columns, rows, square)
    if board is not None:
        cv2.imwrite(str(board), pattern.generateImage((200 * columns, 200 * rows)))
        return
    found, sizes = {}, {}
    for folder in cameras:
        found[folder.name], sizes[folder.name] = corners_of(folder, pattern)
    made = calibrate(tuple(found), found, sizes, pattern, floor)
    # OpenCV's pixels have their centers at whole numbers
    out.write_text(json.dumps({'pixel_center': 0, 'cameras': made}, indent=1))
    print(f'{out}: {len(made)} cameras')


if __name__ == '__main__':
    tyro.cli(main)
