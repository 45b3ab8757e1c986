# SPDX-License-Identifier: Apache-2.0
"""Pictures of a ChArUco board by cameras that are known, for the test of its calibration."""
from pathlib import Path

import cv2
import numpy as np

from igs_ros.core.camera import Camera

SQUARES, SQUARE_M = (7, 5), 0.08
_PX = 100  # of a square in the picture of the board
_FINE = 2  # drawn so many times larger, then averaged


def looking_at(name, position, target, focal=500.0, size=(640, 480)):
    """A camera [x, y, z] m with its picture upright (z up); principal point off the middle."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = right, np.cross(forward, right), forward
    pose[:3, 3] = -pose[:3, :3] @ position
    K = np.array([[focal, 0, size[0] / 2 + 6.5], [0, focal, size[1] / 2 - 4.5], [0, 0, 1]])
    return Camera(name, *size, K, pose, np.array([-0.12, 0.05, 0.001, -0.001, 0]))


def pixels(camera, places):
    """[P, 2]: where a distorted camera sees `places` [P, 3] m, world."""
    pose = camera.camera_from_world
    turn, _ = cv2.Rodrigues(pose[:3, :3])
    return cv2.projectPoints(places, turn, pose[:3, 3], camera.opencv_K,
                             camera.distortion)[0].reshape(-1, 2)


def write_shots(folder: Path, cameras, boards) -> None:
    """folder/CAMERA/NNN.png: the board at each of `boards` (world_from_board [4, 4], z out of it).

    The origin of a board is its upper left corner, x goes right, y up, in m.
    """
    board = cv2.aruco.CharucoBoard(SQUARES, SQUARE_M, 0.75 * SQUARE_M,
                                   cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_250))
    drawn = board.generateImage((_PX * SQUARES[0], _PX * SQUARES[1]), marginSize=0)
    # a white border, as on paper
    drawn = cv2.copyMakeBorder(drawn, *[_PX // 2] * 4, cv2.BORDER_CONSTANT, value=255)
    scale = SQUARE_M / _PX  # m per px
    board_from_px = np.array([[scale, 0, scale * (0.5 - _PX / 2)],
                              [0, -scale, -scale * (0.5 - _PX / 2)], [0, 0, 0], [0, 0, 1]])
    finer = np.array([[_FINE, 0, (_FINE - 1) / 2], [0, _FINE, (_FINE - 1) / 2], [0, 0, 1]])
    for camera in cameras:
        (folder / camera.name).mkdir(parents=True)
        K = camera.opencv_K
        size = camera.width, camera.height
        maps = _distorting(camera)
        for number, world_from_board in enumerate(boards):
            seen = K @ (camera.camera_from_world @ world_from_board)[:3] @ board_from_px
            large = cv2.warpPerspective(drawn, finer @ seen, (_FINE * size[0], _FINE * size[1]),
                                        flags=cv2.INTER_LINEAR, borderValue=110)
            pinhole = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
            picture = cv2.remap(pinhole, *maps, cv2.INTER_CUBIC, borderValue=110)
            noise = np.random.default_rng(number).normal(0, 2, picture.shape)
            picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / camera.name / f'{number:03d}.png'), picture)


def _distorting(camera):
    """For every pixel of the camera's picture, where the pinhole's picture has it."""
    x, y = np.meshgrid(np.arange(camera.width, dtype=np.float64),
                       np.arange(camera.height, dtype=np.float64))
    K = camera.opencv_K
    straight = cv2.undistortPoints(np.stack([x, y], -1).reshape(-1, 1, 2), K, camera.distortion,
                                   P=K).reshape(camera.height, camera.width, 2)
    return straight.astype(np.float32)[..., 0], straight.astype(np.float32)[..., 1]


def boards_for(cameras, shared=8, near=6, seed=0):
    """world_from_board: on the floor, then held up around 0; and close to each camera in turn."""
    random = np.random.default_rng(seed)
    middle = np.eye(4)
    middle[:3, 3] = -SQUARES[0] * SQUARE_M / 2, SQUARES[1] * SQUARE_M / 2, 0
    boards = [middle]
    for _ in range(shared - 1):
        held = np.eye(4)
        held[:3, :3] = cv2.Rodrigues(random.uniform(-0.4, 0.4, 3))[0]
        held[:3, 3] = random.uniform([-0.15, -0.15, 0.0], [0.15, 0.15, 0.25])
        boards.append(held @ middle)
    for camera in cameras:
        for _ in range(near):
            held = np.diag([1.0, -1, -1, 1])  # faces the camera
            held[:3, :3] = cv2.Rodrigues(random.uniform(-0.5, 0.5, 3))[0] @ held[:3, :3]
            held[:3, 3] = random.uniform([-0.1, -0.1, 0.55], [0.1, 0.1, 0.7])
            boards.append(camera.world_from_camera @ held @ middle)
    return boards
