# SPDX-License-Identifier: Apache-2.0
"""docs/topics.md against the code: every cause of a drop stands in its table."""
import re
from pathlib import Path

from igs_ros.live import assemble

ROOT = Path(__file__).resolve().parents[2]
COUNTED = re.compile(r"(?:drops\.add|warnings\.add|discard)\((?:(?:finished\.)?work, )?\s*"
                     r"f?'([a-z_]+)")


def causes():
    """Causes as the code counts them, the camera left out."""
    sources = [path for folder in ('live', 'node')
               for path in (ROOT / 'igs_ros' / folder).glob('*.py')]
    found = {cause for path in sources for cause in COUNTED.findall(path.read_text())}
    filters = (ROOT / 'igs_ros' / 'node' / 'filters.py').read_text()
    found |= set(re.findall(r"f'([a-z]+):\{camera\}'", filters))
    return found | {*assemble.CAUSES, 'missing'}


def test_the_scan_sees_the_known_ones():
    assert {'superseded', 'internal_error', 'key_diverged', 'bad_message', 'changed_camera_info',
            'unmatched', 'late', 'bad_pose'} <= causes()


def test_every_cause_stands_in_the_table():
    text = (ROOT / 'docs' / 'topics.md').read_text()
    rows = [row.split('|')[1] for row in text.splitlines() if row.startswith('| `')]
    documented = {cause for row in rows for cause in re.findall(r'`([a-z_]+)(?::\w+)?`', row)}
    assert not causes() - documented
