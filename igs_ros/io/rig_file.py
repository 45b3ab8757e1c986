# SPDX-License-Identifier: Apache-2.0
"""A rig.json of a recording, with other poses."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from igs_ros.core.camera import Camera
from igs_ros.core.files import read_json, replaced
from igs_ros.io.recordings.recording import Recording
from igs_ros.io.recordings.rig import MARKER
from igs_ros.io.recordings.sources import ImageSource, VideoSource

_PLACES = ('video', 'images', 'depth', 'stamps')  # keys of paths relative to the file's folder


def write_rig(path: Path, recording: Recording, cameras: Mapping[str, Camera]) -> None:
    """Write the rig of a recording, with these poses and intrinsics.

    Of a recording with a rig.json all else stays; paths lead to where its pictures are.

    Args:
        path: of the file.
        recording: whose rig it is.
        cameras: of the rig, by name.

    Raises:
        OutputError: what the system says against it.
    """
    given = recording.path / MARKER
    if given.is_file():
        rig = read_json(given, 'a rig file')
        center = float(rig.get('pixel_center', 0.5))
        for entry in rig['cameras']:
            camera, old = cameras[entry['name']], recording.cameras[entry['name']]
            if not camera.is_at(old.camera_from_world, 0):
                entry['world_to_camera'] = camera.camera_from_world.tolist()
            if (camera.K != old.K).any():
                entry['K'] = (camera.K if center else camera.opencv_K).tolist()
            if path.parent.resolve() != recording.path.resolve():
                _relocate(entry, recording.path, path.parent)
    else:
        rig = {'scene': recording.name, 'pixel_center': 0.5, 'fps': recording.rate_hz,
               'held_out': list(recording.held_out),
               'cameras': [_entry(recording, camera, path.parent) for camera in cameras.values()]}
    with replaced(path) as draft:
        draft.write_text(json.dumps(rig, indent=1))


def _relocate(entry: dict, old: Path, new: Path) -> None:
    if not {'video', 'images'} & set(entry):
        name = entry['name']
        entry['images' if (old / name).is_dir() else 'video'] = \
            name if (old / name).is_dir() else f'{name}.mp4'
    for key in _PLACES:
        place = entry.get(key)
        if isinstance(place, str):
            entry[key] = os.path.relpath(old / place, new)
        elif isinstance(place, list):
            entry[key] = [os.path.relpath(old / one, new) if isinstance(one, str) else one
                          for one in place]


def _entry(recording: Recording, camera: Camera, folder: Path) -> dict:
    entry = {'name': camera.name, 'width': camera.width, 'height': camera.height,
             'K': camera.K.tolist(), 'distortion_model': camera.lens,
             'dist': camera.distortion.tolist(),
             'world_to_camera': camera.camera_from_world.tolist()}
    source = recording.sources[camera.name]
    if isinstance(source, VideoSource):
        entry['video'] = os.path.relpath(source.path, folder)
    elif isinstance(source, ImageSource) and source.path.is_dir():
        entry['images'] = os.path.relpath(source.path, folder)
    return entry
