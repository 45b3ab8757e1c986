# SPDX-License-Identifier: Apache-2.0
"""Samples of the authors' training layout (reference/igs_reference.md 5 and 6).

    ROOT/N3D_train_gap_10.json          pairs: {"train": [...], "val": [...]}
    ROOT/bbox.json                      what may move: {scene: [[min], [max]]}
    ROOT/SCENE/group.json               groups of camera indices, one input view from each
    ROOT/SCENE/colmap_T/images_r2/      pictures of frame T (images/, where it is not there)
    ROOT/SCENE/colmap_T/3dgs_rade/      its scene: cameras.json, point_cloud/*/point_cloud.ply

The first camera of cameras.json is the held-out one: it validates. Depth is drawn instead of read.
"""
from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from igs_ros.apps.training.config import DataConfig, Views
from igs_ros.apps.training.order import seed_of, shuffled
from igs_ros.apps.training.sample import Sample
from igs_ros.apps.training.views import grouped, picked_views
from igs_ros.core.camera import Camera, require_name
from igs_ros.core.errors import InputError, error_line, shown
from igs_ros.core.files import read_json
from igs_ros.io.codec.ply import load_ply
from igs_ros.io.pictures import EncodedPicture
from igs_ros.io.recordings.sources import IMAGE_SUFFIXES
from igs_ros.stages.motion.region import read_box

log = logging.getLogger(__name__)
_MODELS = ('3dgs_rade', 'start_gs')
_PICTURES = ('images_r2', 'images')
_FRAME = re.compile(r'colmap_(\d{1,9})')


@dataclass(frozen=True)
class Pair:
    """One example."""

    scene: str
    key: int  # frames
    target: int


class IgsDataSource:
    """The pairs of the authors' JSON, in an order drawn per pass.

    Args:
        data: folder and names of the data set.
        views: how many views a sample has.
        seed: fixes order and views.
        consecutive: samples hold all frames on the way to the target.
        held_out: for validation, with the held-out camera for loss view: takes the pairs under
            'val', those under 'train' where there are none.

    Raises:
        InputError: no folder is given, or a file in it is missing or broken.
    """

    def __init__(self, data: DataConfig, views: Views, seed: int, consecutive: bool,
                 held_out: bool = False):
        if data.igs_data is None:
            raise InputError('training: no --igs-data is given; expected the folder of the data '
                             'set.')
        self._root = Path(data.igs_data)
        self._views, self._seed = views, seed
        self._consecutive, self._held_out = consecutive, held_out
        pairs = read_pairs(self._root / data.pairs)
        self._pairs = (pairs['val'] if held_out else []) or pairs['train']
        scenes = sorted({pair.scene for pair in self._pairs})
        boxes = data.bbox or self._root / 'bbox.json'
        if not boxes.is_file() and data.bbox is None:
            log.warning('%s is not there: no box says what may move', boxes)
            boxes = None
        self._boxes = {scene: boxes and read_box(f'{boxes}:{scene}') for scene in scenes}
        self._groups = {scene: read_groups(self._root / scene / 'group.json')
                        for scene in scenes}

    @property
    def len_hint(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def sample(self, number: int) -> Sample:
        """See `SampleSource`.

        Raises:
            InputError: a file is missing or broken.
        """
        pair = self._pairs[shuffled(number, len(self._pairs), self._seed)]
        rng = np.random.default_rng(seed_of(number, self._seed))
        model = _model(self._frame(pair, pair.key))
        cameras = read_cameras(model / 'cameras.json')
        inputs, losses = self._pick(pair.scene, cameras, rng)
        views = dict.fromkeys((*inputs, *losses))
        shown = views if self._held_out else inputs
        key_images = {name: _picture(self._frame(pair, pair.key), name) for name in shown}
        targets = tuple({name: _picture(self._frame(pair, frame), name) for name in views}
                        for frame in self._targets(pair))
        sized = {name: _sized(cameras[name], targets[0][name]) for name in views}
        _require_sizes(sized, (key_images, *targets), f'{self._root / pair.scene}')
        return Sample(f'{pair.scene} frame {pair.key} to {pair.target}',
                      load_ply(_newest_ply(model)), sized, key_images, targets, inputs, losses,
                      self._boxes[pair.scene])

    def _targets(self, pair: Pair) -> range:
        step = 1 if pair.target > pair.key else -1
        first = pair.key + step if self._consecutive else pair.target
        return range(first, pair.target + step, step)

    def _frame(self, pair: Pair, frame: int) -> Path:
        return self._root / pair.scene / f'colmap_{frame}'

    def _pick(self, scene: str, cameras: dict[str, Camera], rng: np.random.Generator):
        names = list(cameras)
        others = {name: cameras[name] for name in names[1:]}
        groups = self._groups[scene]
        if groups is None:
            named = grouped(others or cameras, self._views.inputs)
        else:
            beyond = [index for group in groups for index in group if index >= len(names)]
            if beyond:
                raise InputError(f"{self._root / scene / 'group.json'}: camera indices "
                                 f'{shown(beyond)}; expected 0 to {len(names) - 1}, as in '
                                 f'cameras.json.')
            named = [[names[index] for index in group if index] for group in groups]
            named = [group for group in named if group]
        inputs, losses = picked_views(named, self._views, rng)
        return inputs, (names[0],) if self._held_out else losses


def read_pairs(path: Path) -> dict[str, list[Pair]]:
    """The pairs under 'train' and 'val'.

    Raises:
        InputError: the file cannot be read, holds something else, or no pair under 'train'.
    """
    wanted = ('{"train": [{"scene_name", "cur_frame": "colmap_0", "next_frame": "colmap_1"}], '
              '"val": []}')
    content = read_json(path, wanted)
    pairs = {}
    for part in ('train', 'val'):
        entries = content.get(part, []) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise InputError(f"{path}: no list '{part}'; expected {wanted}.")
        pairs[part] = [_pair(entry, f'{path}: entry {number} of {part}')
                       for number, entry in enumerate(entries)]
    if not pairs['train']:
        raise InputError(f"{path}: no pair under 'train'; expected {wanted}.")
    return pairs


def _pair(entry: object, who: str) -> Pair:
    values = entry if isinstance(entry, dict) else {}
    scene = values.get('scene_name')
    frames = [int(found[1]) for name in ('cur_frame', 'next_frame')
              if isinstance(text := values.get(name), str) and (found := _FRAME.fullmatch(text))]
    if not isinstance(scene, str) or not scene or len(frames) != 2:
        raise InputError(f'{who} is {shown(entry)}; expected scene_name, and cur_frame and '
                         f'next_frame like colmap_12.')
    key, target = frames
    if key == target:
        raise InputError(f'{who} goes from colmap_{key} to itself; expected two frames.')
    return Pair(scene, key, target)


def read_groups(path: Path) -> list[list[int]] | None:
    """Groups of camera indices; None, which is logged, where there is no file.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    if not path.is_file():
        log.warning('%s is not there: cameras are grouped by their positions', path)
        return None
    wanted = 'lists of camera indices, such as [[1, 2], [3, 4]]'
    groups = read_json(path, wanted)
    good = isinstance(groups, list) and all(
        isinstance(group, list) and all(type(index) is int and index >= 0 for index in group)
        for group in groups)
    if not good or not any(index for group in groups for index in group):
        raise InputError(f'{path}: found {shown(groups)}; expected {wanted}, besides the held-out '
                         f'camera 0.')
    return groups


def read_cameras(path: Path) -> dict[str, Camera]:
    """The cameras of a 3DGS cameras.json by picture name, in its order.

    Principal points are the middles of the pictures, as 3DGS has them.

    Raises:
        InputError: the file cannot be read, names no camera, or one that cannot be used.
    """
    wanted = 'a list of img_name, width, height, fx, fy, rotation, position'
    entries = read_json(path, wanted)
    cameras: dict[str, Camera] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            pose = np.eye(4)
            rotation = np.array(entry['rotation'], np.float64).reshape(3, 3)  # world from camera
            pose[:3, :3] = rotation.T
            pose[:3, 3] = -rotation.T @ np.array(entry['position'], np.float64).reshape(3)
            width, height = int(entry['width']), int(entry['height'])
            K = np.array([[float(entry['fx']), 0, width / 2], [0, float(entry['fy']), height / 2],
                          [0, 0, 1]])
            name = entry['img_name']
            require_name(name)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f'{path}: entry {number} cannot be used ({error_line(error)}); '
                             f'expected {wanted}.') from error
        if name in cameras:
            raise InputError(f"{path}: two cameras are called '{name}'; expected {wanted}, names "
                             f'of their own.')
        try:
            cameras[name] = Camera(name, width, height, K, pose)
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
    if not cameras:
        raise InputError(f'{path}: no camera; expected {wanted}.')
    return cameras


def _model(frame: Path) -> Path:
    for name in _MODELS:
        if (frame / name / 'cameras.json').is_file():
            return frame / name
    raise InputError(f'{frame}: no scene; expected {_MODELS[0]}/cameras.json and its point_cloud '
                     f'beside it.')


def _newest_ply(model: Path) -> Path:
    """Compressed ones first, as published; then those of the most iterations."""
    def rank(path: Path):
        number = re.search(r'\d+', path.parent.name)
        return 'compress' in path.parent.name, int(number[0]) if number else -1
    found = sorted((model / 'point_cloud').glob('*/point_cloud.ply'), key=rank)
    if not found:
        raise InputError(f'{model}: no point_cloud/*/point_cloud.ply; expected the scene of this '
                         f'frame.')
    return found[-1]


def _picture(frame: Path, name: str) -> np.ndarray:
    """[H, W, 3] uint8 of the camera `name`, which may lack its suffix."""
    for folder in _PICTURES:
        for suffix in ('', *IMAGE_SUFFIXES):
            path = frame / folder / f'{name}{suffix}'
            if path.is_file():
                return EncodedPicture(path.read_bytes(), str(path)).decode()
    raise InputError(f"{frame}: no picture of camera '{name}'; expected "
                     f"{' or '.join(f'{folder}/{name}.png' for folder in _PICTURES)}.")


def _sized(camera: Camera, picture: np.ndarray) -> Camera:
    """The camera for pictures of this size: each axis scaled by itself, as 3DGS does."""
    height, width = picture.shape[:2]
    scale = np.array([[width / camera.width], [height / camera.height], [1.0]])
    return replace(camera, width=width, height=height, K=camera.K * scale)


def _require_sizes(cameras: dict[str, Camera], sets, origin: str) -> None:
    for pictures in sets:
        for name, picture in pictures.items():
            size = (cameras[name].height, cameras[name].width)
            if picture.shape[:2] != size:
                raise InputError(f"{origin}: camera '{name}' has pictures of "
                                 f'{picture.shape[1]}x{picture.shape[0]} px and of '
                                 f'{size[1]}x{size[0]} px; expected one size.')
