# SPDX-License-Identifier: Apache-2.0
"""Makes `fuzzing` and `hostile` importable; prints what `make fuzz` measured."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzzing  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """A folder that all cases of a module write to, each over the one before."""
    return tmp_path_factory.mktemp('fuzz')


def pytest_terminal_summary(terminalreporter):
    for line in fuzzing.report():
        terminalreporter.write_line(line)
