# SPDX-License-Identifier: Apache-2.0
import pytest

from igs_ros.errors import InputError
from igs_ros.files import read_json, replaced


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
