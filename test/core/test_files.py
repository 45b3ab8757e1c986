# SPDX-License-Identifier: Apache-2.0
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from igs_ros.core.errors import InputError, OutputError
from igs_ros.core.files import checked_file, checked_folder, private_folder, read_json, replaced


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path):
    path = tmp_path / 'deep' / 'state.txt'
    with replaced(path) as draft:
        draft.write_text('old')
    with pytest.raises(RuntimeError), replaced(path) as draft:
        draft.write_text('half of the n')
        raise RuntimeError('killed')
    assert path.read_text() == 'old' and list(path.parent.iterdir()) == [path]
    with replaced(path, synced=False) as draft:
        draft.write_text('new')
    assert path.read_text() == 'new' and path.stat().st_mode & 0o044


@pytest.mark.parametrize('content', [
    None, b'', b'[1', b'\xff\xfe', b'{"a": }', b'[' * 100_000, b'9' * 5000, b' ' * 16_000_001])
def test_json_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / 'pairs.json'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r'pairs\.json: .*expected a list of pairs'):
        read_json(path, 'a list of pairs')


def test_json_is_read(tmp_path):
    (tmp_path / 'bom.json').write_bytes(b'\xef\xbb\xbf[1]')
    assert read_json(tmp_path / 'bom.json', 'this') == [1]
    (tmp_path / 'a.json').write_text('{"a": [1, 2.5, "x"]}')
    assert read_json(tmp_path / 'a.json', 'this') == {'a': [1, 2.5, 'x']}


@pytest.mark.parametrize('planted', ['writable', 'link', 'file'])
def test_what_others_may_have_planted_is_not_used(tmp_path, monkeypatch, planted):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    name = tmp_path / f'kernels-{os.geteuid()}'
    if planted == 'writable':
        name.mkdir()
        name.chmod(0o777)
    elif planted == 'link':
        (tmp_path / 'elsewhere').mkdir()
        name.symlink_to('elsewhere')
    else:
        name.touch()
    folder = private_folder('kernels')
    assert folder.parent == tmp_path and folder != name and not folder.is_symlink()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_where_anybody_may_rename_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    tmp_path.chmod(0o777)
    assert private_folder('kernels') is None
    tmp_path.chmod(0o1777)
    assert private_folder('kernels') == tmp_path / f'kernels-{os.geteuid()}'
    assert private_folder('kernels') == tmp_path / f'kernels-{os.geteuid()}'


def test_what_the_system_says_becomes_one_message(tmp_path, full_disk):
    path = tmp_path / 'state.bin'
    path.write_text('old')
    with pytest.raises(OutputError, match=r'state\.bin: cannot be written \(File too large\)\. '
                                          'Make room there'), \
            full_disk(1000), replaced(path) as draft:
        draft.write_bytes(b'x' * 2000)
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_not_replaced():
    with pytest.raises(OutputError, match=r'/dev/full: .*No space left.*Make room'), \
            replaced(Path('/dev/full')) as draft:
        draft.write_text('x')
    assert Path('/dev/full').is_char_device()
    checked_file(Path('/dev/full'))


def test_outputs_are_checked_before_the_work(tmp_path):
    checked_file(tmp_path / 'deep' / 'trace.json')
    checked_folder(tmp_path / 'out' / 'renders')
    assert not any((tmp_path / 'deep').iterdir()) and not any((tmp_path / 'out/renders').iterdir())
    (tmp_path / 'file').write_text('kept')
    for check, path, said in (
            (checked_folder, tmp_path / 'file', 'is no folder'),
            (checked_folder, tmp_path / 'file' / 'out', 'Not a directory'),
            (checked_file, tmp_path / 'file' / 'trace.json', 'is no folder'),
            (checked_file, tmp_path / 'deep', 'is a folder'),
            (checked_folder, Path('/proc/out'), 'No such file')):  # nobody may, root neither
        with pytest.raises(OutputError, match=said):
            check(path)
    assert (tmp_path / 'file').read_text() == 'kept'


def test_a_folder_without_room_is_noticed(tmp_path, full_disk):
    with pytest.raises(OutputError, match='Make room'), full_disk(0):
        checked_folder(tmp_path)
    assert not any(tmp_path.iterdir())


def test_only_drafts_of_processes_that_are_gone_are_swept(tmp_path):
    gone = subprocess.Popen([sys.executable, '-c', ''])
    gone.wait()
    ours = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    other = subprocess.Popen(['sleep', '60'])
    while not Path(f'/proc/{other.pid}/cmdline').read_bytes():
        pass  # it is about to begin
    try:
        stay = [f'.checkpoint.{ours.pid}.draft.pt', f'.config.{gone.pid}.json', '.draft.pt',
                f'checkpoint.{gone.pid}.draft.pt', f'.checkpoint.{os.getppid()}x.draft.pt']
        go = [f'.checkpoint.{gone.pid}.draft.pt', f'.a.b.{other.pid}.draft.png',
              f'.video.{os.getpid()}.draft.mp4', f'.key.{10 ** 12}.draft']
        for name in (*stay, *go):
            (tmp_path / name).write_text('')
        checked_folder(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
    finally:
        ours.communicate(b'\n')
        other.kill()
        other.wait()
