# SPDX-License-Identifier: Apache-2.0
import os
import stat

import pytest

from igs_ros.errors import InputError
from igs_ros.files import private_folder, read_json, replaced


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
