# SPDX-License-Identifier: Apache-2.0
"""Small recordings written for tests."""
import json

import av
import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48
K = [[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]]


def frame_picture(camera: int, frame: int) -> np.ndarray:
    """[H, W, 3] uint8: red tells the camera, green the frame; noise in blue takes up bytes."""
    noise = np.random.default_rng(100 * camera + frame)
    picture = noise.integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[..., 0] = 40 + 30 * camera
    picture[..., 1] = 20 + 8 * frame
    return picture


def told(picture: np.ndarray) -> tuple[int, int]:
    """Camera and frame of a `frame_picture`, also after compression."""
    red, green = picture[..., 0].mean(), picture[..., 1].mean()
    return round((red - 40) / 30), round((green - 20) / 8)


def write_video(path, camera: int, frames: int, options=None, fps=30) -> None:
    with av.open(str(path), 'w', options=options or {}) as container:
        stream = container.add_stream('libx264', rate=fps, options={'crf': '1', 'g': '4'})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, 'yuv444p'
        for frame in range(frames):
            picture = av.VideoFrame.from_ndarray(frame_picture(camera, frame), format='rgb24')
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_images(folder, camera: int, frames: int) -> None:
    folder.mkdir(parents=True)
    for frame in range(frames):
        bgr = frame_picture(camera, frame)[..., ::-1]
        cv2.imwrite(str(folder / f'{frame:03d}.png'), bgr)


def pose(camera: int) -> np.ndarray:
    """camera_from_world [4, 4]: cameras side by side, each turned a little about y."""
    angle = 0.1 * camera
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0],
                      [-np.sin(angle), 0, np.cos(angle)]]
    matrix[:3, 3] = [0.2 * camera, 0.1, 1.5]
    return matrix


def rig_entry(camera: int, **changes) -> dict:
    """One camera of a rig.json."""
    return {'name': f'cam{camera:02d}', 'width': WIDTH, 'height': HEIGHT, 'K': K,
            'dist': [0.0] * 5, 'world_to_camera': pose(camera).tolist(), **changes}


def write_rig(folder, entries, **fields) -> None:
    rig = {'pixel_center': 0.5, 'fps': 30, 'cameras': entries, **fields}
    (folder / 'rig.json').write_text(json.dumps(rig))


def write_recording(folder, frames=(6, 6, 6), **fields):
    """A rig of videos, frames[i] frames in camera i."""
    folder.mkdir(exist_ok=True)
    for camera, count in enumerate(frames):
        write_video(folder / f'cam{camera:02d}.mp4', camera, count)
    write_rig(folder, [rig_entry(camera) for camera in range(len(frames))], **fields)
    return folder
