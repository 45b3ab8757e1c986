# SPDX-License-Identifier: Apache-2.0
"""A small recording, prepared with few steps of optimization, and learned from."""
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from ball_world import pictures, rig, write_png

from igs_ros.apps.cli.main import main
from igs_ros.apps.training import prepare as module
from igs_ros.apps.training.config import DataConfig, Views
from igs_ros.apps.training.prepare import Request, prepare
from igs_ros.apps.training.prepared import (
    camera_entries,
    key_path,
    picture_path,
    read_index,
    read_prepared,
)
from igs_ros.apps.training.recordings import RecordingSource
from igs_ros.core.config import BootstrapConfig, Config
from igs_ros.core.errors import InputError

FRAMES = 5
CONFIG = Config(bootstrap=BootstrapConfig(method='images', iterations=8), max_gaussians=600,
                sh_degree=0, width=48, threads=1)


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """The little world as a rig.json recording of image folders, cam00 held out."""
    folder = tmp_path_factory.mktemp('recording')
    cameras = rig(96, 72)
    for frame in range(FRAMES):
        for name, picture in pictures(frame, cameras).items():
            write_png(folder / name / f'{frame:03d}.png', picture)
    (folder / 'rig.json').write_text(json.dumps({
        'scene': 'little', 'fps': 30, 'held_out': ['cam00'], 'cameras': camera_entries(cameras)}))
    return folder


@pytest.fixture(scope='module')
def done(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')
    return out, prepare(Request(recording, out, CONFIG, every=2))


def test_keys_and_pictures_are_made(done, recording):
    out, index = done
    prepared = read_prepared(out)
    assert prepared.keys == (0, 2, 4) and prepared.held_out == ('cam00',)
    assert prepared.scene == 'little' and index['recording'] == str(recording.resolve())
    camera = prepared.cameras['cam03']
    assert (camera.width, camera.height) == (48, 36)
    np.testing.assert_allclose(camera.K, rig(48, 36)['cam03'].K)
    assert prepared.frames('cam00') == frozenset(range(FRAMES))
    small = prepared.picture('cam03', 3).astype(float)
    truth = pictures(3, rig(48, 36))['cam03']
    assert np.abs(small - truth).mean() < 12, 'shrunk, of the right frame'
    assert all(len(prepared.key(frame)) <= 600 for frame in prepared.keys)
    assert all(entry['psnr_train'] > 10 and entry['psnr_test'] > 8 for entry in index['keys'])
    assert {**index, 'format': 1} == read_index(out)
    assert all(prepared.exposures[frame].keys() <= set(prepared.cameras) - {'cam00'}
               for frame in prepared.keys)


def test_samples_come_from_it(done):
    source = RecordingSource(DataConfig((done[0],), reach=1), Views(2, 3), 0, False)
    assert source.len_hint == 4, '0 to 1, 2 to 1, 2 to 3, 4 to 3'
    sample = source.sample(0)
    assert 'cam00' not in sample.cameras and len(sample.loss_views) == 3
    assert sample.exposures.keys() == sample.cameras.keys(), 'learned with the key'


def test_goes_on_where_it_was_stopped(done, recording, tmp_path, monkeypatch):
    """Stopped at the second key; the first one is not made again, and all is as without a stop."""
    out, _ = done
    make = module._KeyMaker.make
    made = []

    def stopping(self, folder, frame, *rest):
        made.append(frame)
        if made == [0, 2]:
            raise KeyboardInterrupt
        return make(self, folder, frame, *rest)
    monkeypatch.setattr(module._KeyMaker, 'make', stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare(Request(recording, tmp_path, CONFIG, every=2))
    prepare(Request(recording, tmp_path, CONFIG, every=2))
    assert made == [0, 2, 2, 4]
    for frame in (0, 2, 4):
        assert key_path(tmp_path, frame).read_bytes() == key_path(out, frame).read_bytes()
    prepare(Request(recording, tmp_path, CONFIG, every=2))
    key_path(tmp_path, 2).unlink()
    prepare(Request(recording, tmp_path, CONFIG, every=2))
    assert made == [0, 2, 2, 4, 2], 'only what was gone'


def test_what_is_damaged_is_made_anew(done, recording, tmp_path, caplog):
    """Pictures emptied, cut and with a byte changed, and a scene that was cut."""
    out, _ = done
    folder = shutil.copytree(out, tmp_path / 'out')
    damaged = [picture_path(folder, 'cam01', 0), picture_path(folder, 'cam01', 1),
               picture_path(folder, 'cam02', 3), key_path(folder, 2)]
    whole = [path.read_bytes() for path in damaged]
    changed = bytearray(whole[2])
    changed[len(changed) // 2] ^= 1
    for path, data in zip(damaged, (b'', whole[1][:-9], bytes(changed), whole[3][:2000]),
                          strict=True):
        path.write_bytes(data)
    (folder / 'keys' / f'.000002.{2 ** 30}.draft.ply').write_text('left by a killed process')
    untouched = picture_path(folder, 'cam03', 3).stat().st_mtime_ns
    prepare(Request(recording, folder, CONFIG, every=2))
    assert [path.read_bytes() for path in damaged] == whole
    assert all(str(path) in caplog.text for path in damaged) and caplog.text.count('anew') == 4
    assert picture_path(folder, 'cam03', 3).stat().st_mtime_ns == untouched
    assert not [path for path in folder.rglob('*') if '.draft' in path.name]


def test_where_it_cannot_write_is_one_line(recording, tmp_path, capsys):
    (tmp_path / 'pictures').write_text('')
    with pytest.raises(SystemExit) as ended:
        main(['prepare', str(recording), '--out', str(tmp_path)])
    line, = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and 'pictures/cam00: cannot be written (Not a directory)' in line


def test_is_not_mixed_with_something_else(done, recording):
    out, _ = done
    for request, said in (
            (Request(recording, out, CONFIG, every=3), 'every'),
            (Request(recording, out, replace(CONFIG, width=96), every=2), 'settings, cameras'),
            (Request(recording, out, CONFIG, 2, test_view='cam01'), 'held_out'),
            (Request(recording, out, CONFIG, every=0), '--every')):
        with pytest.raises(InputError, match=said):
            prepare(request)
    prepare(Request(recording, out, replace(CONFIG, threads=2), every=2))


def test_the_command(recording, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['prepare', str(recording), '--out', str(tmp_path), '--frames', '1:3', '--width',
              '48', '--bootstrap', 'images', '--bootstrap-iterations', '2', '--threads', '1'])
    assert not ended.value.code
    assert capsys.readouterr().out.startswith('frame 1: ')
    assert read_prepared(tmp_path).keys == (1,)
    assert read_prepared(tmp_path).frames('cam01') == {1, 2}
