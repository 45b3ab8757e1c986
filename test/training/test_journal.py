# SPDX-License-Identifier: Apache-2.0
import json

import pytest

pytest.importorskip('tensorboard', reason="needs the extra 'train'")

from igs_ros.training.journal import CURVE, Journal, read_curve  # noqa: E402


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
