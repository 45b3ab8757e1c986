# SPDX-License-Identifier: Apache-2.0
"""docs/cameras.md names what there is: tests, encodings, lenses, overlays."""
import re
from pathlib import Path

from igs_ros.core.lenses import LENSES
from igs_ros.io.encodings import ENCODINGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'cameras.md').read_text()


def test_the_tests_that_it_names_exist():
    files = set(re.findall(r'test/[\w/]+\.py', PAGE))
    assert len(files) >= 7 and all((ROOT / name).is_file() for name in files), files
    defined = set(re.findall(r'^def (test_\w+)', '\n'.join(
        (ROOT / name).read_text() for name in files | {'test/vision/test_preparer.py'}), re.M))
    named = set(re.findall(r'`(?:[\w/]+\.py::)?(test_\w+)`', PAGE))
    assert len(named) >= 12 and named <= defined, named - defined


def test_every_encoding_lens_and_overlay_is_in_it():
    for name in ENCODINGS:
        assert f'`{name}`' in PAGE or f'`{name.removesuffix("16")}8`' in PAGE, name
    assert all(f'| `{name}`' in PAGE for name in LENSES)
    for path in (ROOT / 'config' / 'rigs').glob('*.yaml'):
        assert f'| `{path.stem}` |' in PAGE, path
