# SPDX-License-Identifier: Apache-2.0
"""The tool that changes code to see whether a test notices: it tells those that are noticed."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
import mutants  # noqa: E402

MODULE = '''\
"""1 < 2"""
LIMIT = 10


def above(value: int | None, strict: bool = True):
    return value > LIMIT and strict


def counted(n):
    while n > 0:
        n -= 1
    return n
'''
TESTS = """\
from small.module import above, counted


def test_above():
    assert above(11) and not above(10)


def test_counted():
    assert counted(0) == 0
"""
EXAMINE = """\
import json, pytest, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import mutants
root, folder = Path(sys.argv[2]), Path(sys.argv[3])
shop = mutants.Workshop(root, 'small', folder)
source = (root / 'small' / 'module.py').read_bytes()
assert not shop.killed('module.py', None, ['test_module.py'], 20)[0], 'the sound file fails'
outcome = {f'{one.line} {one.change}': shop.killed('module.py', one, ['test_module.py'], 2)[0]
           for one in mutants.mutants_of(source)}
print(json.dumps(outcome))
"""


@pytest.fixture(scope='module')
def outcome(tmp_path_factory):
    """Whether each change of `MODULE` was noticed."""
    root = tmp_path_factory.mktemp('root')
    for path, text in (('small/__init__.py', ''), ('small/module.py', MODULE),
                       ('test/test_module.py', TESTS)):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    written_ns = (root / 'small/module.py').stat().st_mtime_ns
    done = subprocess.run([sys.executable, '-c', EXAMINE, str(ROOT / 'tools'), str(root),
                           str(tmp_path_factory.mktemp('copy'))], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    # the checkout is never written to
    assert (root / 'small/module.py').stat().st_mtime_ns == written_ns
    return json.loads(done.stdout)


def test_what_a_test_notices_is_killed_and_the_rest_survives(outcome):
    survivors = {change for change, killed in outcome.items() if not killed}
    assert survivors == {'10 0 -> 1', '11 1 -> 0', '11 1 -> 2'}  # the loop is never entered
    assert outcome.keys() - survivors == {
        '2 10 -> 7', '2 10 -> 15', '5 True -> False', '6 > -> >=', '6 > -> <=', '6 and -> or',
        '10 > -> >=', '10 > -> <=', '10 0 -> -1'}  # with <= it never ends


@pytest.mark.parametrize('before, after', [
    ('x = a & b', ['x = a | b']), ('ok |= seen', ['pass']), ('if not a: pass', ['if  a: pass']),
    ('x = a not in b', ['x = a in b']), ('x = a is b', ['x = a is not b']),
    ('x = max(a, b.min())', ['x = min(a, b.min())', 'x = max(a, b.max())']),
    ('T = 8 / 255', ['T = (8 / 255) * 0.66', 'T = (8 / 255) * 1.5']),
    ('T = 12', ['T = 8', 'T = 18']), ('T = 2', ['T = 1', 'T = 3']),
    ('T = 1e-9', ['T = 1e-9 * 0.66', 'T = 1e-9 * 1.5']), ('x = [1e-9]', []),
    ('def f(a: int | None) -> "1 < 2": "1 < 2"', []), ('@f(True)\nclass A: a: int | None', []),
    ('class A:\n    a: Annotated[int, Range(4)]', ['class A:\n    a: Annotated[int, Range(3)]',
                                                 'class A:\n    a: Annotated[int, Range(5)]']),
    ("x = f'{a:>5} {b == 1}'", []), ("_LOG.info('%d', 1)", []),
])
def test_one_token_is_changed_at_a_time(before, after):
    source = before.encode()
    changed = [one.applied(source).decode() for one in mutants.mutants_of(source)]
    assert sorted(changed) == sorted(after)


def test_what_is_known_names_lines_that_are_there():
    """A line that was rewritten must be thought about again."""
    for file, text, change in mutants.known_mutants(mutants.KNOWN.read_text()):
        found = mutants.mutants_of((ROOT / 'igs_ros' / file).read_bytes())
        assert (text, change) in {(one.text, one.change) for one in found}, (file, text, change)


def test_every_file_and_its_tests_are_there():
    for file, tests in mutants.TESTS.items():
        assert (ROOT / 'igs_ros' / file).is_file(), file
        assert tests and all((ROOT / 'test' / name).is_file() for name in tests), tests
