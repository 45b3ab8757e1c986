# SPDX-License-Identifier: Apache-2.0
"""transforms.json of nerfstudio, instant-ngp and their relatives.

Poses are camera to world with OpenGL's camera axes; the first pixel has its middle at (0.5, 0.5).
Intrinsics stand at the top, or with each frame; a frame with a value of its own wins.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from igs_ros.core import lenses
from igs_ros.core.errors import InputError, shown
from igs_ros.core.files import read_json
from igs_ros.io.codec.ply import read_points
from igs_ros.io.imports.found import Convention, FoundCamera, FoundRig, check_keys, vector
from igs_ros.io.imports.options import Request
from igs_ros.io.imports.pictures import PICTURES, VIDEOS, natural

NAMES = ('transforms.json', 'transforms_train.json', 'transforms_val.json',
         'transforms_test.json')
_EXPECTED = 'a transforms.json of nerfstudio or instant-ngp'
_LENS = ('k1', 'k2', 'k3', 'k4', 'p1', 'p2', 'distortion_params')
_INTRINSICS = ('fl_x', 'fl_y', 'camera_angle_x', 'camera_angle_y', 'x_fov', 'y_fov', 'cx', 'cy',
               'w', 'h', 'is_fisheye', 'camera_model', *_LENS)
_OTHER_LENSES = ('ftheta_p0', 'latlong', 'equirectangular', 'orthographic')  # instant-ngp's
_SPLITS = ('train_filenames', 'val_filenames', 'test_filenames')
# what instant-ngp does to its scene, and how it draws it, leaves the poses of the file alone
_NO_MATTER = ('aabb_scale', 'scale', 'offset', 'aabb', 'render_aabb', 'up', 'n_frames',
              'sharpness_discard_threshold', 'enable_ray_loading', 'enable_depth_loading',
              'white_transparent', 'black_transparent', 'importance_sampling',
              'n_extra_learnable_dims', 'sharpen', 'from_mitsuba', 'fix_premult', 'envmap',
              'normal_mts_args', 'render_aabb_to_local', 'applied_transform', 'applied_scale',
              'orientation_override', 'fisheye_crop_radius', 'auto_scale_poses_override')
_TOP = ('frames', 'ply_file_path', 'integer_depth_scale', *_INTRINSICS, *_SPLITS, *_NO_MATTER)
_FRAME = ('file_path', 'transform_matrix', 'depth_file_path', 'depth_path', 'mask_path', 'time',
          'timestamp', 'sharpness', 'colmap_im_id', 'rotation', 'bg_color', 'camera_id',
          'transform_matrix_start', 'transform_matrix_end', *_INTRINSICS)
# of COLMAP's models those that nerfstudio takes: by its formula, or without distortion
_MODELS = {'SIMPLE_PINHOLE': False, 'PINHOLE': False, 'SIMPLE_RADIAL': False, 'RADIAL': False,
           'OPENCV': False, 'OPENCV_FISHEYE': True}
MAX_FRAMES = 20_000


def files_at(source: Path) -> list[Path]:
    """The files of `source`, a folder or one of them; [] where there are none."""
    if source.is_file():
        return [source] if source.suffix == '.json' else []
    found = [source / name for name in NAMES if (source / name).is_file()]
    return found[:1] if found and found[0].name == NAMES[0] else found


def read(path: Path, request: Request, convention: Convention) -> FoundRig:
    """The rig in a transforms.json, or in transforms_train.json and those beside it.

    Frames of one pose and one lens are those of one camera; where none share a pose, each picture
    is a camera of one frame set.

    Args:
        path: of the file.
        request: what to ignore.
        convention: of the tool.

    Raises:
        InputError: naming the file and the frame that cannot be used.
    """
    paths = [path]
    if path.name in NAMES[1:]:
        paths = [file for name in NAMES[1:] if (file := path.with_name(name)).is_file()]
    frames, said, points, depth_unit = [], [], None, 0.001
    for file in paths:
        top = read_json(file, _EXPECTED)
        if not isinstance(top, dict) or not isinstance(top.get('frames'), list):
            raise InputError(f"{file}: no list 'frames'; expected {_EXPECTED}.")
        check_keys(top, _TOP, str(file), request.options.ignore)
        if len(top['frames']) > MAX_FRAMES:
            raise InputError(f'{file}: {len(top["frames"])} frames; expected at most '
                             f'{MAX_FRAMES}. Thin them out.')
        frames += [_frame(file, number, top, entry, request)
                   for number, entry in enumerate(top['frames'])]
        points = points or _points(file, top)
        if 'integer_depth_scale' in top:
            depth_unit = float(vector(top['integer_depth_scale'], 1,
                                      f'{file}: integer_depth_scale')[0])
        if 'scale' in top or 'offset' in top:
            said.append(f'{file.name}: scale and offset, which move the scene of instant-ngp '
                        f'alone, are not read')
    if not frames:
        raise InputError(f'{path}: no frames; expected {_EXPECTED}. Export it again.')
    frames = _present(path, frames, said)
    if any(frame.masked for frame in frames):
        said.append('masks are not read: what they hide is reconstructed, too')
    cameras, held_out = _cameras(frames)
    return FoundRig(path, cameras, convention.overridden(request.options), said, held_out,
                    None if points is None else read_points(points), depth_unit)


def _present(path: Path, frames: Sequence[_Frame], said: list[str]) -> list[_Frame]:
    """The frames whose pictures are there; of still scenes, as with the tools, some may not be."""
    there = [frame for frame in frames if frame.camera.pictures[0].is_file()]
    missing = [str(frame.camera.pictures[0]) for frame in frames if frame not in there]
    if not missing:
        return there
    if not there or len({frame.key for frame in frames}) < len(frames):
        raise InputError(f'{missing[0]}: no such file, but {path.name} names it; expected the '
                         f'pictures, too ({len(missing)} of {len(frames)} are missing). Copy them '
                         f'beside it.')
    said.append(f'pictures: {len(missing)} of {len(frames)} are not there, and their cameras left '
                f'out: {", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}')
    return there


class _Frame:
    """One entry of `frames`."""

    def __init__(self, camera: FoundCamera, time: float, masked: bool, held_out: bool):
        self.camera, self.time, self.masked, self.held_out = camera, time, masked, held_out

    @property
    def key(self) -> tuple:
        """Equal for pictures of one camera that stands still."""
        camera = self.camera
        return (camera.pose.round(9).tobytes(), camera.K.round(6).tobytes(), camera.size,
                camera.lens, camera.distortion.tobytes())


def _frame(path: Path, number: int, top: Mapping, entry: object, request: Request) -> _Frame:
    who = f'{path}: frame {number}'
    if not isinstance(entry, Mapping):
        raise InputError(f'{who} is {shown(entry)}; expected an object with file_path and '
                         f'transform_matrix.')
    check_keys(entry, _FRAME, who, request.options.ignore)
    place = entry.get('file_path')
    if not isinstance(place, str) or not place or not place.isprintable():
        raise InputError(f'{who}: file_path is {shown(place)}; expected the path of a picture.')
    who = f"{path}: '{place[:200]}'"
    if 'transform_matrix_end' in entry or 'rolling_shutter' in top:
        raise InputError(f'{who}: two poses of a rolling shutter; expected one transform_matrix.')
    matrix = entry.get('transform_matrix')
    pose = vector(matrix, (12, 16), f'{who}: transform_matrix')
    pose = np.vstack([pose[:12].reshape(3, 4), (0, 0, 0, 1)])  # three rows, or four
    values = {**{key: top[key] for key in _INTRINSICS if key in top},
              **{key: entry[key] for key in _INTRINSICS if key in entry}}
    other = [key for key in _OTHER_LENSES if key in top or key in entry]
    if other:
        raise InputError(f'{who}: lens {", ".join(other)}; expected a pinhole, OPENCV or '
                         f'OPENCV_FISHEYE. Export undistorted pictures.')
    picture = _picture(path.parent, place, who)
    size = _size(values, who)
    lens, distortion = _lens(values, who)
    depth = entry.get('depth_file_path') or entry.get('depth_path')
    camera = FoundCamera(picture.stem, _K(values, size, who), pose, size, lens, distortion,
                         (picture,), (_picture(path.parent, str(depth), who),) if depth else ())
    time = entry.get('time', entry.get('timestamp', 0.0))
    return _Frame(camera, float(vector(time, 1, f'{who}: time')[0]), 'mask_path' in entry,
                  path.name in NAMES[2:] or any(
                      place in top[key] for key in _SPLITS[1:] if isinstance(top.get(key), list)))


def _picture(folder: Path, place: str, who: str) -> Path:
    path = folder / place
    try:
        if path.is_file():
            return path
        # the original NeRF leaves the suffix away
        for suffix in (*PICTURES, *VIDEOS):
            if (found := path.with_name(path.name + suffix)).is_file():
                return found
    except OSError:
        raise InputError(f'{who}: a name that cannot be a file; expected a picture.') from None
    return path


def _number(values: Mapping, key: str, who: str) -> float | None:
    return float(vector(values[key], 1, f'{who}: {key}')[0]) if key in values else None


def _size(values: Mapping, who: str) -> tuple[int, int] | None:
    width, height = (_number(values, key, who) for key in ('w', 'h'))
    if width is None or height is None:
        return None
    if not 1 <= min(width, height) <= max(width, height) <= 1e6 \
            or width != int(width) or height != int(height):
        raise InputError(f'{who}: w {width:g}, h {height:g}; expected pixels.')
    return int(width), int(height)


def _K(values: Mapping, size: tuple[int, int] | None, who: str) -> np.ndarray:
    """Intrinsics; without a size, those of a file that needs it are refused."""
    focal = [_focal(values, axis, size and size[number], who)
             for number, axis in enumerate('xy')]
    if focal == [None, None]:
        need = '' if size else ', and w and h'
        raise InputError(f'{who}: no focal length; expected fl_x, or camera_angle_x{need}. '
                         f'Export it again.')
    fx, fy = focal[0] or focal[1], focal[1] or focal[0]
    middle = [_number(values, key, who) for key in ('cx', 'cy')]
    if size is None and None in middle:
        raise InputError(f'{who}: neither cx and cy nor w and h; expected the size of the '
                         f'pictures. Write w and h into the file.')
    cx, cy = (value if value is not None else side / 2
              for value, side in zip(middle, size or (0, 0), strict=True))
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


def _focal(values: Mapping, axis: str, side: int | None, who: str) -> float | None:
    length = _number(values, f'fl_{axis}', who)
    degrees = _number(values, f'{axis}_fov', who)
    angle = math.radians(degrees) if degrees is not None \
        else _number(values, f'camera_angle_{axis}', who)
    if length is not None or angle is None or side is None:
        return length
    if not 0 < angle < math.pi:
        raise InputError(f'{who}: an angle of view of {math.degrees(angle):g} degrees; expected '
                         f'0 to 180.')
    return side / 2 / math.tan(angle / 2)


def _lens(values: Mapping, who: str) -> tuple[str, np.ndarray]:
    model = values.get('camera_model', 'OPENCV')
    if not isinstance(model, str) or model not in _MODELS:
        raise InputError(f'{who}: camera_model {shown(model)}; expected {", ".join(_MODELS)}. '
                         f'Export undistorted pictures.')
    fisheye = _MODELS[model] or values.get('is_fisheye') is True
    k1, k2, k3, k4, p1, p2 = (_number(values, key, who) or 0.0
                              for key in ('k1', 'k2', 'k3', 'k4', 'p1', 'p2'))
    if 'distortion_params' in values:  # nerfstudio's order
        k1, k2, k3, k4, p1, p2 = vector(values['distortion_params'], 6,
                                        f'{who}: distortion_params')
    if fisheye:
        if p1 or p2:
            raise InputError(f'{who}: a fisheye with p1 {p1:g} and p2 {p2:g}; expected k1 to k4. '
                             f'Calibrate with OPENCV_FISHEYE.')
        return 'equidistant', lenses.padded('equidistant', (k1, k2, k3, k4))
    if k4:
        raise InputError(f'{who}: k4 {k4:g} of no fisheye; expected k1 k2 k3 p1 p2 alone, or '
                         f'camera_model OPENCV_FISHEYE.')
    return lenses.DEFAULT, lenses.padded(lenses.DEFAULT, (k1, k2, p1, p2, k3))


def _points(path: Path, top: Mapping) -> Path | None:
    place = top.get('ply_file_path')
    if place is None:
        return None
    if not isinstance(place, str) or not place.isprintable():
        raise InputError(f'{path}: ply_file_path is {shown(place)}; expected the path of a PLY.')
    return path.parent / place


def _cameras(frames: Sequence[_Frame]) -> tuple[list[FoundCamera], tuple[str, ...]]:
    groups: dict[tuple, list[_Frame]] = {}
    for frame in frames:
        groups.setdefault(frame.key, []).append(frame)
    cameras, held_out = [], []
    folders = [group[0].camera.pictures[0].parent for group in groups.values()]
    for group in groups.values():
        group.sort(key=lambda frame: (frame.time, natural(frame.camera.pictures[0])))
        pictures = tuple(frame.camera.pictures[0] for frame in group)
        depths = tuple(depth for frame in group for depth in frame.camera.depths)
        folder = pictures[0].parent
        own = folders.count(folder) == 1 and len(folders) > 1
        name = folder.name if own and len(group) > 1 else pictures[0].stem
        if sum(frame.camera.pictures[0].stem == name for frame in frames) > 1 and not own:
            name = f'{folder.name}_{name}'
        first = group[0].camera
        cameras.append(FoundCamera(
            name, first.K, first.pose, first.size, first.lens, first.distortion, pictures,
            depths if len(depths) == len(pictures) else ()))
        if group[0].held_out:
            held_out.append(name)
    return cameras, tuple(held_out)
