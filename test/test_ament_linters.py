# SPDX-License-Identifier: Apache-2.0
"""The linters of ament, where a ROS brings them; they have no wheels.

What they ask for holds everywhere by other means: ruff (pyproject.toml) for flake8 and pep257,
`test_package.py` for the SPDX line that stands in for ament_copyright's notices. Left out here is
what the house does otherwise:

- docstrings begin on their first line (D213, D200), in any mood (D400, D401, D403, D415, with
  D205 for long summaries), with sections in Google's style (D406, D407, D413);
- lines are continued as reads best (E122, E124, E127, E128);
- overloads stand together (E302), imports may follow a check (E402), and a line is longer, or an
  import unused, where it says why (E501, F401; ruff tells those apart); comments divide (E303,
  E306).
"""
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = [str(ROOT / name)
          for name in ('igs_ros', 'launch', 'test', 'tools', 'examples', 'setup.py')]
STYLE = ['E122', 'E124', 'E127', 'E128', 'E302', 'E303', 'E306', 'E402', 'E501', 'F401']
DOCSTRINGS = ['D200', 'D205', 'D213', 'D400', 'D401', 'D403', 'D406', 'D407', 'D413', 'D415']


def linter(name):
    return pytest.importorskip(name, reason=f'{name.split(".")[0]} is not installed (no wheel)')


def test_flake8(tmp_path):
    ament = linter('ament_flake8.main')
    shipped = Path(ament.__file__).parent / 'configuration' / 'ament_flake8.ini'
    ours = tmp_path / 'flake8.ini'
    ours.write_text(shipped.read_text().replace('extend-ignore = ',
                                                f'extend-ignore = {",".join(STYLE)},'))
    code, errors = ament.main_with_errors(argv=['--config', str(ours), *PYTHON])
    assert code == 0, '\n'.join(errors)


def test_pep257(capsys):
    ament = linter('ament_pep257.main')
    public = [path for path in PYTHON if not path.endswith('/test')]
    code = ament.main(argv=['--add-ignore', *DOCSTRINGS, '--', *public])
    output = capsys.readouterr()
    found = [line for line in (output.out + output.err).splitlines() if ': D' in line]
    assert code == 0 and not found, '\n'.join(found)


def test_the_license_is_one_that_ament_knows():
    linter('ament_copyright')
    from ament_copyright.parser import parse_file
    assert parse_file(str(ROOT / 'LICENSE')).license_identifier == 'apache2'


def test_lint_cmake(capsys):
    ament = linter('ament_lint_cmake.main')
    code = ament.main(argv=[str(ROOT / 'CMakeLists.txt'), str(ROOT / 'tools')])
    assert code == 0, capsys.readouterr()


def test_package_xml_follows_its_schema(capsys):
    ament = linter('ament_xmllint.main')
    if shutil.which('xmllint') is None:
        pytest.skip('xmllint is not installed')
    code = ament.main(argv=[str(ROOT / 'package.xml')])
    output = capsys.readouterr()
    if 'failed to load' in output.err or 'I/O error' in output.err:
        pytest.skip('the schema is on a server that cannot be reached')
    assert code == 0, output.out + output.err
