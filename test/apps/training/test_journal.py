# SPDX-License-Identifier: Apache-2.0
import json

import pytest

pytest.importorskip('tensorboard', reason="needs the extra 'train'")

from igs_ros.apps.training.journal import CURVE, Journal, read_curve  # noqa: E402
from igs_ros.core.errors import InputError  # noqa: E402


def test_a_curve_forgets_what_came_after_the_checkpoint(tmp_path):
    journal = Journal(tmp_path, 0)
    for step in (1, 2, 3):
        journal.scalars('train', step, {'loss': step / 10})
    journal.close()
    with (tmp_path / CURVE).open('a') as file:
        file.write('{"step": 4, "gro')  # a kill in mid-line
    again = Journal(tmp_path, 2)
    again.scalars('train', 3, {'loss': 7.0})
    again.close()
    assert [(line['step'], line['loss']) for line in read_curve(tmp_path)] == [
        (1, 0.1), (2, 0.2), (3, 7.0)]
    assert all(json.loads(line) for line in (tmp_path / CURVE).read_text().splitlines())


def test_a_torn_last_line_is_told_and_left_out(tmp_path, caplog):
    (tmp_path / CURVE).write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_curve(tmp_path) == [{'step': 1}]
    assert 'curve.jsonl: the last line is cut off (15 characters)' in caplog.text


@pytest.mark.parametrize('line', [b'{"step": 1', b'', b'[1]', b'{"loss": 1}', b'{"step": 1.5}',
                                  b'9' * 5000, b'[' * 100_000, b'\xff'])
def test_a_broken_line_in_the_middle_is_named(tmp_path, line):
    (tmp_path / CURVE).write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(InputError, match=r'curve\.jsonl: (line 2|no text in UTF-8)'):
        read_curve(tmp_path)
