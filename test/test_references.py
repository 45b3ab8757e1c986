# SPDX-License-Identifier: Apache-2.0
"""Notes cited by name in the sources are explained in docs/references.md, section by section."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = 'igs_reference|cpu_core|quality_calibration|ros_build|agm_golden'
SECTION = r'\d+(?:\.\d+)?|[A-Z]\b|head\b'
CITATION = re.compile(rf'\b({NAMES})(?:\.md)?,? +(?:sections? +)?({SECTION})')
PAGE = (ROOT / 'docs' / 'references.md').read_text()


def citations():
    """(file, note, section) of all sources and tests but this one."""
    for folder in ('igs_ros', 'test'):
        for file in sorted((ROOT / folder).rglob('*.py')):
            if file != Path(__file__):
                for note, section in CITATION.findall(' '.join(file.read_text().split())):
                    yield f'{file.relative_to(ROOT)}', note, section


def test_there_are_citations():
    assert len({file for file, *_ in citations()}) > 15


@pytest.mark.parametrize('note, section', sorted({tuple(c[1:]) for c in citations()}))
def test_a_cited_section_is_on_the_page(note, section):
    chapters = PAGE.split('\n## ')
    chapter = next(text for text in chapters if text.startswith(note + '\n'))
    heading = re.search(rf'^### {note} {re.escape(section)}$', chapter, re.MULTILINE)
    point = re.search(rf'^(?:- )?\*\*{re.escape(section)}\*\*', chapter, re.MULTILINE)
    numbered = section.startswith('0.') and re.search(rf'^{section[2:]}\. ', chapter, re.MULTILINE)
    assert heading or point or numbered, [file for file, *cited in citations()
                                          if cited == [note, section]]


RELIABILITY = (ROOT / 'docs' / 'reliability.md').read_text()


@pytest.mark.parametrize('cited', sorted(set(
    re.findall(r'`((?:\w+/)*test_\w+\.py(?:::test_\w+)?)`', RELIABILITY))))
def test_a_fault_that_is_documented_has_its_test(cited):
    path, _, name = cited.partition('::')
    assert f'def {name}' in (ROOT / 'test' / path).read_text()
