# SPDX-License-Identifier: Apache-2.0
"""One rig of three cameras, written as each tool writes it (rules: docs/recordings.md)."""
import json
import struct
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / 'recordings'))
from recording_files import HEIGHT, WIDTH, frame_picture, pose, write_images  # noqa: E402

NAMES = ('cam00', 'cam01', 'cam02')
K = np.array([[50.0, 0, 31.5], [0, 51.0, 23.5], [0, 0, 1]])  # pixel centers at whole numbers
BEND = {'plumb_bob': (0.1, -0.02, 0.001, -0.002, 0.003), 'equidistant': (0.01, 0.02, -0.01, 0.001)}
OPENGL = np.diag([1.0, -1, -1, 1])


def write_pictures(folder, frames=2):
    """A folder of pictures for each camera."""
    for number, name in enumerate(NAMES):
        write_images(folder / name, number, frames)


def nerf(folder, scale=1.0, pictures='images/{name}/{frame:03d}.png', frames=2, **top):
    """transforms.json: camera to world, OpenGL's axes, the first pixel's middle at +0.5."""
    entries = []
    for number, name in enumerate(NAMES):
        matrix = np.linalg.inv(OPENGL @ pose(number))
        matrix[:3, 3] /= scale
        for frame in range(frames):
            place = folder / pictures.format(name=name, frame=frame)
            place.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place), frame_picture(number, frame)[..., ::-1])
            entries.append({'file_path': str(place.relative_to(folder)),
                            'transform_matrix': matrix.tolist()})
    k1, k2, p1, p2, k3 = BEND['plumb_bob']
    content = {'fl_x': 50.0, 'fl_y': 51.0, 'cx': 32.0, 'cy': 24.0, 'w': WIDTH, 'h': HEIGHT,
               'k1': k1, 'k2': k2, 'p1': p1, 'p2': p2, 'k3': k3, 'frames': entries, **top}
    content = {key: value for key, value in content.items() if value is not None}
    path = folder / 'transforms.json'
    path.write_text(json.dumps(content))
    return path


def quaternion(rotation):
    """COLMAP's wxyz, by another way than the reader's."""
    angle = cv2.Rodrigues(rotation)[0].ravel()
    size = np.linalg.norm(angle)
    axis = angle / size if size else angle
    return [np.cos(size / 2), *(np.sin(size / 2) * axis)]


def colmap(folder, text, per_folder=True):
    """A model in sparse/0: one OPENCV camera, an image for each camera, three points."""
    model = folder / 'sparse' / '0'
    model.mkdir(parents=True)
    values = [50.0, 51, 32, 24, *BEND['plumb_bob'][:4]]
    images = [(number + 1, quaternion(pose(number)[:3, :3]), pose(number)[:3, 3],
               f'{name}/000.png' if per_folder else f'{name}.png')
              for number, name in enumerate(NAMES)]
    points = [((0.5 * i, 0.25, 2.0), (10 * i, 20, 30)) for i in range(3)]
    for number, name in enumerate(NAMES):
        if per_folder:
            write_images(folder / 'images' / name, number, 2)
        else:
            (folder / 'images').mkdir(exist_ok=True)
            cv2.imwrite(str(folder / 'images' / f'{name}.png'),
                        frame_picture(number, 0)[..., ::-1])
    if text:
        (model / 'cameras.txt').write_text(
            '# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT,'
            f' PARAMS[]\n7 OPENCV {WIDTH} {HEIGHT} {" ".join(map(str, values))}\n')
        (model / 'images.txt').write_text('# Image list with two lines of data:\n' + ''.join(
            f'{number} {" ".join(repr(float(v)) for v in (*quat, *place))} 7 {name}\n'
            f'{"1.5 2.5 -1 3.5 4.5 2" if number == 1 else ""}\n'
            for number, quat, place, name in images))
        (model / 'points3D.txt').write_text(''.join(
            f'{i} {" ".join(map(str, (*xyz, *rgb)))} 0.5 1 0 2 1\n'
            for i, (xyz, rgb) in enumerate(points)))
        return model
    (model / 'cameras.bin').write_bytes(struct.pack('<QiiQQ8d', 1, 7, 4, WIDTH, HEIGHT, *values))
    data = struct.pack('<Q', len(images))
    for number, quat, place, name in images:
        data += struct.pack('<I7di', number, *quat, *place, 7) + name.encode() + b'\0'
        data += struct.pack('<Q2dq', 1, 1.5, 2.5, -1)
    (model / 'images.bin').write_bytes(data)
    (model / 'points3D.bin').write_bytes(struct.pack('<Q', len(points)) + b''.join(
        struct.pack('<Q3d3BdQ2i', i, *xyz, *rgb, 0.5, 1, 0, 1)
        for i, (xyz, rgb) in enumerate(points)))
    return model


def kalibr(folder, **more):
    """A camchain, as kalibr_calibrate_cameras writes it; its world is cam0."""
    lines = []
    for number, name in enumerate(NAMES):
        lines += [f'cam{number}:', f'  cam_overlaps: [{1 if number == 0 else 0}]',
                  '  camera_model: pinhole',
                  f'  distortion_coeffs: {list(BEND["equidistant"])}',
                  '  distortion_model: equidistant', '  intrinsics: [50.0, 51.0, 31.5, 23.5]',
                  f'  resolution: [{WIDTH}, {HEIGHT}]', f'  rostopic: /{name}/image_raw']
        lines += [f'  {key}: {value[number]}' for key, value in more.items()]
        if number:
            step = pose(number) @ np.linalg.inv(pose(number - 1))
            lines += ['  T_cn_cnm1:', *(f'  - {row.tolist()}' for row in step)]
    path = folder / 'camchain-rig.yaml'
    path.write_text('\n'.join(lines) + '\n')
    return path


def _table(name, number, scale, rotation, lens='plumb_bob'):
    rows = ', '.join(f'[ {", ".join(map(str, row))},]' for row in K.tolist())
    bend = BEND[lens] if lens == 'equidistant' else BEND['plumb_bob']
    turn, shift = rotation(pose(number)[:3, :3]), pose(number)[:3, 3] / scale
    return (f'name = "{name}"\nsize = [ {WIDTH}, {HEIGHT},]\nmatrix = [ {rows},]\n'
            f'distortions = [ {", ".join(map(str, bend))},]\nrotation = {turn}\n'
            f'translation = [ {", ".join(map(str, shift.tolist()))},]\n')


def _rodrigues(rotation):
    return str(cv2.Rodrigues(rotation)[0].ravel().tolist())


def anipose(folder, lens='plumb_bob', scale=0.001):
    """CameraGroup.dump of aniposelib: tables cam_0, cam_1, ..., millimeters of the board."""
    path = folder / 'calibration.toml'
    path.write_text(''.join(
        f'[cam_{number}]\n{_table(name, number, scale, _rodrigues, lens)}'
        f'{"fisheye = true" if lens == "equidistant" else ""}\n\n'
        for number, name in enumerate(NAMES)) + '[metadata]\nadjusted = false\nerror = 0.25\n')
    return path


def pose2sim(folder):
    """toml_write of Pose2Sim: tables called like the cameras, four coefficients, meters."""
    (folder / 'calibration').mkdir(exist_ok=True)
    path = folder / 'calibration' / 'Calib_board.toml'
    text = ''
    for number, name in enumerate(NAMES):
        table = _table(name, number, 1.0, _rodrigues)
        table = table.replace(f', {BEND["plumb_bob"][4]}', '').replace(
            f'[ {WIDTH}, {HEIGHT},]', f'[ {float(WIDTH)}, {float(HEIGHT)}]')
        text += f'[{name}]\n{table}fisheye = false\n\n'
    path.write_text(text + '[metadata]\nadjusted = false\nerror = 0.0\n')
    return path


def caliscope(folder, matrices=False):
    """camera_array.toml: [cameras.N], Rodrigues vectors (matrices before 2025), meters."""
    rotation = (lambda turn: str(turn.tolist())) if matrices else _rodrigues
    text = ''
    for number in range(len(NAMES)):
        table = '\n'.join(_table('', number, 1.0, rotation).splitlines()[1:])
        text += (f'[cameras.{number}]\ncam_id = {number}\nrotation_count = 0\nerror = 0.5\n'
                 f'exposure = -7\ngrid_count = 20\nignore = false\n'
                 f'verified_resolutions = [[640, 480]]\n{table}\nfisheye = false\n\n')
    text += '[cameras.7]\ncam_id = 7\nsize = [64, 48]\nrotation_count = 1\nfisheye = false\n'
    path = folder / 'camera_array.toml'
    path.write_text(text)
    return path


def storage(path, **values):
    """A file of cv::FileStorage, written by OpenCV."""
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        file.write(key, value)
    file.release()
    return path


def relative(number):
    """Pose of a camera where the world is the first one."""
    return pose(number) @ np.linalg.inv(pose(0))


def opencv_stereo(folder):
    """samples/cpp/stereo_calib.cpp: two files."""
    bend = np.array([BEND['plumb_bob']])
    storage(folder / 'intrinsics.yml', M1=K, D1=bend, M2=K, D2=bend)
    second = relative(1)
    storage(folder / 'extrinsics.yml', R=second[:3, :3].copy(), T=second[:3, 3:].copy(),
            R1=np.eye(3), R2=np.eye(3), P1=np.eye(3, 4), P2=np.eye(3, 4), Q=np.eye(4))
    return folder / 'intrinsics.yml'


def opencv_multiview(folder):
    """samples/python/multiview_calibration.py."""
    return storage(
        folder / 'calib.yaml', rvecs=np.array([cv2.Rodrigues(relative(n)[:3, :3])[0]
                                               for n in range(3)]),
        Ts=np.array([relative(n)[:3, 3:] for n in range(3)]), Ks=np.array([K] * 3),
        distortions=np.array([[BEND['plumb_bob']]] * 3), is_fisheye=np.zeros(3, int),
        image_sizes=np.array([[WIDTH, HEIGHT]] * 3), cam_ids=','.join(NAMES),
        errors_per_frame=np.zeros((3, 4)))


def opencv_multicamera(folder):
    """MultiCameraCalibration::writeParameters of ccalib, 32-bit numbers."""
    values = {'nCameras': 3}
    for n in range(3):
        values |= {f'camera_matrix_{n}': K.astype(np.float32),
                   f'camera_distortion_{n}': np.array([BEND['plumb_bob']], np.float32),
                   f'camera_pose_{n}': relative(n).astype(np.float32)}
    return storage(folder / 'multi.xml', **values, meanReprojectError=0.3,
                   pose_timestamp_1=np.eye(4))


def opencv_named(folder):
    """intri.yml and extri.yml with the names of the cameras."""
    storage(folder / 'intri.yml', names=list(NAMES), **{f'K_{n}': K for n in NAMES},
            **{f'dist_{n}': np.array([BEND['plumb_bob']]) for n in NAMES})
    poses = dict(zip(NAMES, map(pose, range(3)), strict=True))
    storage(folder / 'extri.yml', names=list(NAMES),
            **{f'R_{n}': cv2.Rodrigues(p[:3, :3])[0] for n, p in poses.items()},
            **{f'Rot_{n}': p[:3, :3].copy() for n, p in poses.items()},
            **{f'T_{n}': p[:3, 3:].copy() for n, p in poses.items()})
    return folder / 'extri.yml'


def opencv_singles(folder):
    """A file for each camera: what OpenCV's calibration program writes, and its pose."""
    for number, name in enumerate(NAMES):
        storage(folder / f'{name}.yml', calibration_time='Mon', image_width=WIDTH,
                image_height=HEIGHT, camera_matrix=K,
                distortion_coefficients=np.array([BEND['plumb_bob']]).T,
                avg_reprojection_error=0.2, rvec=cv2.Rodrigues(pose(number)[:3, :3])[0],
                tvec=pose(number)[:3, 3:].copy())
    return folder
