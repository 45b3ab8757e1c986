# SPDX-License-Identifier: Apache-2.0
"""Where the pictures of a camera are, when its calibration only has its name."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from igs_ros.core.errors import InputError, shown
from igs_ros.io.imports.found import FoundCamera, FoundRig
from igs_ros.io.imports.options import ImportOptions
from igs_ros.io.recordings.sources import (
    IMAGE_SUFFIXES,
    ImageSource,
    PictureSource,
    VideoSource,
    video_file,
)

PICTURES = IMAGE_SUFFIXES
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.ts')
MAX_ENTRIES = 200_000  # of folders that are looked through
_WORDS = re.compile(r'[a-z]+|\d+|[^\W\d_a-z]+')


def natural(path: Path) -> list[tuple[int, str]]:
    """The order of people: frame 2 before frame 10."""
    return [(int(part), '') if _is_number(part) else (-1, part)
            for part in re.split(r'(\d+)', str(path))]


def _is_number(text: str) -> bool:
    return text.isdigit() and text.isascii() and len(text) < 300


def located(rig: FoundRig, options: ImportOptions) -> dict[str, list[Path]]:
    """Of every camera its video, or its pictures in order.

    Args:
        rig: whose cameras they are.
        options: where to look.

    Raises:
        InputError: a camera has none, or there are several that may be meant.
    """
    folders, given = _given(options, [camera.name for camera in rig.cameras])
    places = [*folders] or list(rig.pictures_at) or [rig.origin.parent]
    entries = _Entries(places)
    found = {}
    for camera in rig.cameras:
        if camera.name in given:
            found[camera.name] = _files(given[camera.name])
        elif camera.pictures:
            found[camera.name] = list(camera.pictures)
        else:
            found[camera.name] = _best(camera, entries)
    return found


def source_of(files: Sequence[Path]) -> PictureSource:
    """Those files as a recording reads them.

    Raises:
        InputError: a video that cannot be read.
    """
    if len(files) == 1 and files[0].suffix.lower() in VIDEOS:
        return video_file(files[0])
    return ImageSource(files[0].parent, files)


def size_of(source: PictureSource) -> tuple[int, int]:
    """Width and height of the first picture, px.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(source, VideoSource):
        return source.size()
    stream = source.pictures(0, source.length, 1)
    picture = next((one for one in stream if one is not None), None)
    stream.close()
    if picture is None:
        raise InputError(f'{source.path}: no picture; expected some. Copy them again.')
    return picture.size()


def _given(options: ImportOptions, names: list[str]) -> tuple[list[Path], dict[str, Path]]:
    """Folders to look in, and what is named for single cameras."""
    folders, given = [], {}
    for text in options.pictures:
        name, equals, place = text.partition('=')
        if not equals:
            folders.append(Path(text))
            if not folders[-1].is_dir():
                raise InputError(f'--pictures {shown(text)}: no folder; expected one to look in, '
                                 f'or CAMERA=PATH.')
        elif name not in names:
            raise InputError(f'--pictures {shown(text)}: no camera {shown(name)}; expected one of '
                             f'{", ".join(names)}.')
        else:
            given[name] = Path(place)
    return folders, given


class _Entries:
    """Videos, pictures and folders of pictures in some folders, and in folders of these."""

    def __init__(self, places: Iterable[Path]):
        self.places = [place for place in dict.fromkeys(places) if place.is_dir()]
        self.videos: list[Path] = []
        self.pictures: list[Path] = []  # single files
        self.folders: list[Path] = []  # that hold pictures
        for path in self._walk():
            suffix = path.suffix.lower()
            if suffix in VIDEOS:
                self.videos.append(path)
            elif suffix in PICTURES:
                self.pictures.append(path)
        self.folders = list(dict.fromkeys(path.parent for path in self.pictures))

    def _walk(self) -> Iterator[Path]:
        count = 0
        for place in self.places:
            for pattern in ('*', '*/*', '*/*/*'):
                for path in sorted(place.glob(pattern)):
                    count += 1
                    if count > MAX_ENTRIES:
                        raise InputError(f'{place}: more than {MAX_ENTRIES} files; expected the '
                                         f'folder of one recording. Name it with --pictures.')
                    hidden = any(part.startswith('.') for part in path.relative_to(place).parts)
                    if path.is_file() and not hidden:
                        yield path


def _best(camera: FoundCamera, entries: _Entries) -> list[Path]:
    """What is called like the camera; a better likeness wins, then what lies higher up."""
    names = (camera.name, *camera.other_names)
    steps: tuple[Callable[[str], list[tuple[Path, ...]]], ...] = (
        lambda name: [(path,) for path in (*entries.videos, *entries.folders)
                      if _plain(path) == name.lower()],
        lambda name: [(path,) for path in entries.videos if _has_words(path.stem, name)],
        lambda name: _runs(entries.pictures, name))
    for candidates in (step(name) for step in steps for name in names):
        top = min((len(found[0].resolve().parts) for found in candidates), default=0)
        high = [found for found in candidates if len(found[0].resolve().parts) == top]
        if len(high) > 1:
            raise InputError(f"camera '{camera.name}': {len(high)} that may be its pictures: "
                             f'{", ".join(str(found[0]) for found in high[:4])}; expected one. '
                             f'Name it: --pictures {camera.name}=PATH, or the folder that has one '
                             f'for each camera: --pictures DIR')
        if high:
            return _files(high[0][0]) if len(high[0]) == 1 else list(high[0])
    looked = ', '.join(map(str, entries.places)) or 'no folder'
    there = ', '.join(path.name for path in (entries.videos or entries.folders)[:6]) or 'none'
    raise InputError(f"camera '{camera.name}': no video, folder or pictures of that name in "
                     f'{looked} (videos and folders there: {there}); expected {camera.name}.mp4 '
                     f'or {camera.name}/. Name them: --pictures {camera.name}=PATH, or --pictures '
                     f'DIR')


def _plain(path: Path) -> str:
    return (path.stem if path.suffix.lower() in VIDEOS else path.name).lower()


def _words(text: str) -> list[str]:
    """Letters and numbers apart; numbers without leading zeros."""
    return [str(int(word)) if _is_number(word) else word for word in _WORDS.findall(text.lower())]


def _has_words(stem: str, name: str) -> bool:
    """Whether `stem` has the name as words of its own, maybe with cam before it: trial-camA."""
    words, own = _words(stem), _words(name)
    together = [word.removeprefix('cam') if len(own) == 1 else word for word in words]
    return bool(own) and any(own in (words[at:at + len(own)], together[at:at + len(own)])
                             for at in range(len(words)))


def _runs(pictures: Sequence[Path], name: str) -> list[tuple[Path, ...]]:
    """Pictures NAME_000.png, NAME-1.jpg or NAME.png of one folder, in order; per folder."""
    pattern = re.compile(re.escape(name) + r'([_\-. ]*\d+)?', re.IGNORECASE)
    by_folder: dict[Path, list[Path]] = {}
    for path in pictures:
        if pattern.fullmatch(path.stem):
            by_folder.setdefault(path.parent, []).append(path)
    return [tuple(sorted(own, key=natural)) for own in by_folder.values()]


def _files(place: Path) -> list[Path]:
    """A video, or pictures in order."""
    if place.is_file():
        return [place]
    there = place.iterdir() if place.is_dir() else ()
    files = sorted((file for file in there if file.suffix.lower() in PICTURES), key=natural)
    if not files:
        raise InputError(f'{place}: no video and no folder of pictures; expected one of them '
                         f'({", ".join(VIDEOS[:4])} or {", ".join(PICTURES)}).')
    return files
