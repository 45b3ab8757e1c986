# SPDX-License-Identifier: Apache-2.0
"""Calibrations of strangers: `igs import` makes a recording of them, or says one line."""
import json
import sys
from pathlib import Path

import pytest
import yaml
from fuzzing import fuzzer
from hostile import DEEP, HUGE, bent, json_files, spoiled, written
from hypothesis import strategies as st

from igs_ros.io.imports.convert import imported
from igs_ros.io.imports.options import ImportOptions, Request
from igs_ros.io.imports.write import write
from igs_ros.io.recordings.clocks import read_stamps
from igs_ros.io.recordings.open import open_recording

IO = Path(__file__).parents[1] / 'io'
sys.path[:0] = [str(IO / 'imports'), str(IO / 'recordings')]
import rig_files  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope='module')
def place(folder):
    """Pictures for all; cases write their calibration beside them."""
    rig_files.write_pictures(folder, frames=1)
    return folder


def made(writer, name=None):
    """The files that a writer of `rig_files` leaves, as bytes by name."""
    import tempfile
    with tempfile.TemporaryDirectory() as there:
        writer(Path(there))
        return {str(path.relative_to(there)): path.read_bytes()
                for path in sorted(Path(there).rglob('*'))
                if path.is_file() and path.suffix != '.png'}


def tried(folder, source, name, names=rig_files.NAMES):
    """Import, write, open; what is written is what was read."""
    pictures = tuple(f'{own}={folder / camera}'
                     for own, camera in zip(names, rig_files.NAMES, strict=False))
    try:
        found = imported(source, name, Request(ImportOptions(pictures=pictures)))
    except ValueError as error:
        if "no camera '" not in str(error):
            raise
        found = imported(source, name, Request())  # the cameras have other names now
    write(found.recording, folder / 'out', 'fuzz', False)
    again = open_recording(folder / 'out')
    for own, camera in found.recording.cameras.items():
        assert camera.is_at(again.cameras[own].camera_from_world)


NERF = json.loads(made(lambda f: rig_files.nerf(
    f, frames=1, pictures='{name}/{frame:03d}.png', camera_model='OPENCV'))['transforms.json'])


@fuzzer(content=json_files(NERF), name=st.sampled_from(('nerfstudio', 'instant-ngp', None)))
def test_transforms(place, content, name):
    (place / 'transforms.json').write_bytes(content)
    tried(place, place / 'transforms.json', name)


COLMAP = {text: made(lambda f, text=text: rig_files.colmap(f, text)) for text in (False, True)}


@fuzzer(text=st.booleans(), pick=st.integers(0, 2), data=st.data())
def test_colmap(place, text, pick, data):
    model = place / f'model{text}'
    model.mkdir(exist_ok=True)
    files = {Path(name).name: content for name, content in COLMAP[text].items()}
    changed = sorted(files)[pick]
    for name, content in files.items():
        (model / name).write_bytes(data.draw(spoiled(content)) if name == changed else content)
    found = imported(model, 'colmap', Request(ImportOptions(pictures=(str(place),))))
    assert found.recording.cameras


CHAIN = made(rig_files.kalibr)['camchain-rig.yaml']


@fuzzer(cases=150, content=st.one_of(spoiled(CHAIN), bent(yaml.safe_load(CHAIN)).map(
    lambda tree: written(tree).replace(b'NaN', b'.nan').replace(b'Infinity', b'.inf'))))
def test_kalibr(place, content):
    (place / 'camchain.yaml').write_bytes(content)
    tried(place, place / 'camchain.yaml', 'kalibr', ('cam0', 'cam1', 'cam2'))


def toml(tree) -> bytes:
    """A tree of two levels of tables; what TOML cannot say becomes a text."""
    lines = []

    def table(head, content):
        lines.append(f'[{head}]')
        later = []
        for key, value in content.items():
            if isinstance(value, dict):
                later.append((key, value))
            else:
                text = json.dumps(value).replace('null', '"null"').replace('NaN', 'nan')
                text = text.replace('Infinity', 'inf').replace(f'"{HUGE}"', '9' * 5000)
                lines.append(f'{json.dumps(key)} = {text.replace(DEEP, "deep")}')
        for key, value in later:
            table(f'{head}.{json.dumps(key)}', value)
    for name, value in tree.items():
        if isinstance(value, dict):
            table(json.dumps(name), value)
    return '\n'.join(lines).encode()


TOMLS = {name: next(iter(made(writer).values())) for name, writer in (
    ('anipose', rig_files.anipose), ('pose2sim', rig_files.pose2sim),
    ('caliscope', rig_files.caliscope))}


@fuzzer(cases=300, name=st.sampled_from(sorted(TOMLS)), data=st.data())
def test_toml(place, name, data):
    whole = TOMLS[name]
    content = data.draw(st.one_of(spoiled(whole), bent(tomllib.loads(whole.decode())).map(toml)))
    (place / 'calibration.toml').write_bytes(content)
    tried(place, place / 'calibration.toml', name,
          ('cam_0', 'cam_1', 'cam_2') if name == 'caliscope' else rig_files.NAMES)


STORED = {case: made(writer) for case, writer in (
    ('stereo', rig_files.opencv_stereo), ('multiview', rig_files.opencv_multiview),
    ('multicamera', rig_files.opencv_multicamera), ('named', rig_files.opencv_named),
    ('singles', rig_files.opencv_singles))}


@fuzzer(cases=300, case=st.sampled_from(sorted(STORED)), data=st.data())
def test_opencv(place, case, data):
    there = place / case
    there.mkdir(exist_ok=True)
    files = STORED[case]
    changed = data.draw(st.sampled_from(sorted(files)))
    for name, content in files.items():
        (there / name).write_bytes(data.draw(spoiled(content)) if name == changed else content)
    names = {'stereo': ('left', 'right'), 'multicamera': ('cam0', 'cam1', 'cam2')}
    tried(place, there, 'opencv', names.get(case, rig_files.NAMES))


@fuzzer(cases=100, content=spoiled(b'0.5\n1.25\n1763781600.123456789\n1763781601123456789\n'))
def test_stamps(place, content):
    (place / 'stamps.txt').write_bytes(content)
    stamps = read_stamps(place / 'stamps.txt')
    assert stamps == sorted(set(stamps))


@fuzzer(cases=60, content=st.one_of(*map(spoiled, [*TOMLS.values(), CHAIN, written(NERF)])),
        name=st.sampled_from(('x.toml', 'x.yaml', 'x.json', 'transforms.json', 'x.xml')))
def test_whatever_it_looks_like(place, content, name):
    there = place / 'any'
    there.mkdir(exist_ok=True)
    for old in there.iterdir():
        old.unlink()
    (there / name).write_bytes(content)
    imported(there, None, Request(ImportOptions(pictures=(str(place),))))
