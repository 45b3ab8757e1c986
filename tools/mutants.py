# SPDX-License-Identifier: Apache-2.0
"""Mutation testing: does a test notice when a threshold or a guard is changed?

`make mutants` or `python tools/mutants.py [FILE ...]`. One token of a file is changed at a time
(a comparison, `and`, a constant, a threshold, `min`, an `&`, ...), in a copy of the package, and
the tests that mirror the file are run on it. Mutants that no test notices survive: write a test,
or say in mutants_known.txt why it need not be noticed.

The mutants of a file are a sample that follows from the seed. Each is tested in a fork of this
process, which has torch and the like imported already.
"""
from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KNOWN = ROOT / 'tools' / 'mutants_known.txt'
TESTS = {
    'vision/occupancy.py': ['vision/test_occupancy.py'],
    'vision/sights.py': ['vision/test_occupancy.py', 'vision/test_moving.py'],
    'vision/moving.py': ['vision/test_moving.py'],
    'render/sights.py': ['live/test_planning.py'],
    'live/planning.py': ['live/test_planning.py'],
    'stages/refine/births.py': ['stages/refine/test_births.py'],
    'stages/refine/selection.py': ['stages/refine/test_selection.py'],
    'stages/refine/refiner.py': ['stages/refine/test_refiner_bounds.py',
                                 'stages/refine/test_refiner.py',
                                 'stages/refine/test_selection.py'],
    'stages/refine/residuals.py': ['stages/refine/test_residuals.py'],
    'stages/refine/draft.py': ['stages/refine/test_draft.py'],
    'stages/refine/reference.py': ['stages/refine/test_reference.py'],
    'stages/motion/adjust.py': ['stages/motion/test_adjust_thresholds.py',
                                'stages/motion/test_adjust.py'],
    'stages/motion/tracks.py': ['stages/motion/test_tracks.py'],
    'stages/motion/descent.py': ['stages/motion/test_descent.py',
                                 'stages/motion/test_adjust_thresholds.py'],
    'live/budget.py': ['live/test_ladder_bounds.py', 'live/test_budget.py'],
    'live/assemble.py': ['live/test_assemble_bounds.py', 'live/test_assemble.py'],
    'core/config.py': ['core/test_config.py', 'core/test_presets.py'],
    'render/exposure.py': ['render/test_exposure.py'],
    'render/optimize.py': ['render/test_optimize.py'],
    'vision/egomotion.py': ['vision/test_egomotion.py'],
    'stages/refine/places.py': ['stages/refine/test_places.py'],
    'vision/flow.py': ['vision/test_flow_bounds.py', 'vision/test_flow.py'],
    'vision/changes.py': ['vision/test_changes.py'],
    'vision/visibility.py': ['vision/test_visibility.py'],
    'vision/rotation_kernels.py': ['vision/test_rotation_kernels.py',
                                   'stages/motion/test_lift.py'],
    'stages/schedule.py': ['stages/test_schedule.py'],
    'stages/timeline.py': ['stages/test_timeline.py'],
    'stages/plausibility.py': ['stages/test_plausibility_bounds.py',
                               'stages/test_plausibility_moving.py',
                               'stages/test_plausibility.py'],
    'stages/small_pictures.py': ['stages/test_plausibility_bounds.py',
                                 'stages/test_plausibility_moving.py',
                                 'stages/test_plausibility.py'],
    'io/codec/state.py': ['io/codec/test_state.py'],
}
"""What decides quality, below igs_ros/, and the tests that hold it, below test/."""

_COMPARISONS = {'<': ('<=', '>='), '<=': ('<', '>'), '>': ('>=', '<='), '>=': ('>', '<'),
                '==': ('!=',), '!=': ('==',), 'is': ('is not',), 'is not': ('is',),
                'in': ('not in',), 'not in': ('in',)}
_OPPOSITES = {'min': 'max', 'minimum': 'maximum', 'clamp_min': 'clamp_max'}
_OPPOSITES |= {after: before for before, after in _OPPOSITES.items()}
_COMPARISON = re.compile(rb'is\s+not|not\s+in|<=|>=|==|!=|<|>|\bis\b|\bin\b')
_FACTORS = (0.66, 1.5)  # of thresholds
_EPSILON = 1e-6  # smaller numbers keep a division from failing
_SLOWER = 10  # times the CPU seconds of the sound file, until a mutant counts as hanging
_HEAVY = ('pytest', 'torch', 'cv2', 'numba', 'scipy.spatial.transform', 'hypothesis', 'msgspec')


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    line: int
    text: str  # the line as it is, stripped
    change: str  # such as '< -> <='; a second one of its kind in the line has '#2' behind it
    start: int  # of the bytes that are replaced
    end: int
    new: bytes

    def applied(self, source: bytes) -> bytes:
        """The mutated source."""
        return source[:self.start] + self.new + source[self.end:]


class _Finder(ast.NodeVisitor):
    """Collects (start, end, new bytes) of all mutations of a source."""

    def __init__(self, source: bytes):
        self.source = source
        self.found: list[tuple[int, int, bytes]] = []
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        tree = ast.parse(source)
        for statement in tree.body:
            value = getattr(statement, 'value', None)
            if isinstance(statement, ast.Assign | ast.AnnAssign) and _number(value) is not None:
                self._scale(value)  # a threshold, as a whole
            else:
                self.visit(statement)

    def _span(self, node) -> tuple[int, int]:
        return (self._lines[node.lineno - 1] + node.col_offset,
                self._lines[node.end_lineno - 1] + node.end_col_offset)

    def _replace(self, node, new: str) -> None:
        self.found.append((*self._span(node), new.encode()))

    def _scale(self, node) -> None:
        start, end = self._span(node)
        value, text = _number(node), self.source[start:end].decode()
        if isinstance(value, int):
            scaled = {round(factor * value) for factor in _FACTORS} - {value}
            news = [str(one) for one in sorted(scaled if len(scaled) == 2 else
                                               {value - 1, value + 1})]
        else:
            text = text if isinstance(node, ast.Constant) else f'({text})'
            news = [f'{text} * {factor}' for factor in _FACTORS]
        for new in news:
            self._replace(node, new)

    def _between(self, left, right, word: bytes, new: str) -> None:
        start, end = self._span(left)[1], self._span(right)[0]
        at = self.source.index(word, start, end)
        self.found.append((at, at + len(word), new.encode()))

    def visit_Compare(self, node):
        left = node.left
        for right in node.comparators:
            start = self._span(left)[1]
            match = _COMPARISON.search(self.source, start, self._span(right)[0])
            for new in _COMPARISONS[b' '.join(match.group().split()).decode()]:
                self.found.append((*match.span(), new.encode()))
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        word, new = (b'and', 'or') if isinstance(node.op, ast.And) else (b'or', 'and')
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, word, new)
        self.generic_visit(node)

    def visit_BinOp(self, node):
        if isinstance(node.op, ast.BitAnd | ast.BitOr) and not _is_type(node.right):
            word, new = (b'&', '|') if isinstance(node.op, ast.BitAnd) else (b'|', '&')
            self._between(node.left, node.right, word, new)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        if isinstance(node.op, ast.BitAnd | ast.BitOr):
            self._replace(node, 'pass')
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, ast.Not):
            start = self._span(node)[0]
            self.found.append((start, start + len('not'), b''))
        self.generic_visit(node)

    def visit_Call(self, node):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else \
            getattr(node.func, 'id', '')
        if name in _OPPOSITES:
            end = self._span(node.func)[1]
            self.found.append((end - len(name), end, _OPPOSITES[name].encode()))
        owner = getattr(node.func, 'value', None)
        if getattr(owner, 'id', '').lower() not in ('log', '_log'):
            self.generic_visit(node)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int):
            self._replace(node, str(value + 1))
            self._replace(node, str(value - 1))
        elif isinstance(value, float) and abs(value) > _EPSILON:
            self._scale(node)

    def visit_FunctionDef(self, node):  # no decorators, no return type
        self.visit(node.args)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node):
        for statement in node.body:
            self.visit(statement)

    def visit_arg(self, node):
        """Types of arguments decide nothing."""

    def visit_AnnAssign(self, node):
        for call in ast.walk(node.annotation):  # bounds, such as Annotated[int, Range(1, 64)]
            if isinstance(call, ast.Call):
                self.visit(call)
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node):
        """Texts decide nothing."""


def _is_type(node) -> bool:
    return isinstance(node, ast.Name) and node.id in ('int', 'float', 'str', 'bool') \
        or isinstance(node, ast.Constant) and node.value is None


def _number(node) -> int | float | None:
    """The value of an expression of plain numbers, else None."""
    plain = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.operator, ast.unaryop)
    if node is None or not all(isinstance(one, plain) for one in ast.walk(node)):
        return None
    value = eval(compile(ast.Expression(node), '', 'eval'))
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def mutants_of(source: bytes) -> list[Mutant]:
    """All mutants of a module, in the order of its text."""
    found, counts = [], {}
    for start, end, new in sorted(_Finder(source).found):
        line = source.count(b'\n', 0, start) + 1
        text = source.splitlines()[line - 1].decode().strip()
        change = f'{" ".join(source[start:end].decode().split())} -> {new.decode()}'
        counts[line, change] = count = counts.get((line, change), 0) + 1
        found.append(Mutant(line, text, change + (f' #{count}' if count > 1 else ''),
                            start, end, new))
    return found


def known_mutants(text: str) -> dict[tuple[str, str, str], str]:
    """The reason by file, text of the line, and change; see the head of mutants_known.txt."""
    known = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith('#'):
            file, source, change, reason = (part.strip() for part in line.split(' :: '))
            known[file, source, change] = reason
    return known


class Workshop:
    """A copy of a package and its tests, in which one file at a time is changed.

    root: the checkout; package: its name; folder: an empty one, for the copy.
    """

    def __init__(self, root: Path, package: str, folder: Path):
        self.package, self.folder = folder / package, folder
        for path in root.iterdir():
            if path.name in (package, 'test'):
                shutil.copytree(path, folder / path.name)
            elif not path.name.startswith('.') and path.name != 'build':
                (folder / path.name).symlink_to(path)
        self._stamp = time.time() - 1e6

    def killed(self, file: str, mutant: Mutant | None, tests: list[str], limit_s: float
               ) -> tuple[bool, float]:
        """Whether the tests notice the mutant of `file` (None: the sound file), and CPU seconds.

        limit_s: CPU seconds until it counts as hanging, which is noticed, too.
        """
        path = self.package / file
        source = path.read_bytes()
        before = path.stat()
        if mutant is not None:
            path.write_bytes(mutant.applied(source))
            self._stamp += 10  # compiled files are kept by time and size of their source
            os.utime(path, (self._stamp, self._stamp))
        start = sum(os.times()[2:4])
        try:
            process = multiprocessing.get_context('fork').Process(
                target=_run_tests, args=(self.folder, tests, limit_s))
            process.start()
            process.join(20 * limit_s)  # one that waits forever takes no CPU
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
        finally:
            path.write_bytes(source)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return process.exitcode != 0, sum(os.times()[2:4]) - start


def _run_tests(folder: Path, tests: list[str], limit_s: float) -> None:
    """In a process of its own: leaves with pytest's code, 0 = all passed."""
    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.chdir(folder)
    os.environ.update(PYTHONPATH=str(folder), PYTEST_DISABLE_PLUGIN_AUTOLOAD='1')
    sys.path.insert(0, str(folder))
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s) + 1, int(limit_s) + 2))
    import pytest
    code = pytest.main(['-x', '-q', '-p', 'no:cacheprovider', *(f'test/{name}' for name in tests)])
    os._exit(int(code))


def examined(shop: Workshop, file: str, tests: list[str], count: int, seed: int) -> Iterator:
    """(mutant, whether it was killed) of `count` mutants of a file."""
    failed, sound_s = shop.killed(file, None, tests, 3600)
    if failed:
        raise SystemExit(f'{", ".join(tests)}: fails, or holds no test, before anything is '
                         f'changed; expected tests that pass.')
    mutants = mutants_of((shop.package / file).read_bytes())
    sample = random.Random(f'{seed} {file}').sample(mutants, min(count, len(mutants)))
    for mutant in sorted(sample, key=lambda one: (one.start, one.new)):
        yield mutant, shop.killed(file, mutant, tests, 10 + _SLOWER * sound_s)[0]


def main() -> None:
    """Prints per file how many were made and killed, and each survivor."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('files', nargs='*', help='below igs_ros/; default: all that are known')
    parser.add_argument('--count', type=int, default=15, help='mutants per file')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', help='file for the results')
    options = parser.parse_args()
    for name in ('OMP_NUM_THREADS', 'NUMBA_NUM_THREADS'):
        os.environ.setdefault(name, '1')
    for name in _HEAVY:
        import_module(name)
    known = known_mutants(KNOWN.read_text())
    results, totals = {}, [0, 0, 0]
    print(f'seed {options.seed}\n{"file":32} mutants  killed  known  survivors')
    with tempfile.TemporaryDirectory(prefix='mutants-') as folder:
        shop = Workshop(ROOT, 'igs_ros', Path(folder))
        for file in options.files or TESTS:
            file = file.removeprefix('igs_ros/')
            outcome = list(examined(shop, file, TESTS[file], options.count, options.seed))
            left = [mutant for mutant, killed in outcome if not killed]
            excused = [one for one in left if (file, one.text, one.change) in known]
            survivors = [one for one in left if one not in excused]
            numbers = len(outcome), len(excused), len(survivors)
            totals = [a + b for a, b in zip(totals, numbers, strict=True)]
            print(f'{file:32} {numbers[0]:7} {numbers[0] - len(left):7} {numbers[1]:6} '
                  f'{numbers[2]:10}', flush=True)
            for one in survivors:
                print(f'    {one.line}: {one.change}    {one.text}', flush=True)
            for one in excused:
                print(f'    {one.line}: {one.change}    known: '
                      f'{known[file, one.text, one.change]}', flush=True)
            results[file] = {'mutants': numbers[0], 'known': numbers[1],
                             'survivors': [asdict(one) | {'new': one.new.decode()}
                                           for one in survivors]}
    made, excused, survived = totals
    print(f'{made} mutants, {made - excused - survived} killed, {excused} known, '
          f'{survived} survivors = {survived / max(1, made):.1%}')
    if options.json:
        Path(options.json).write_text(json.dumps({'seed': options.seed, 'files': results},
                                                 indent=1) + '\n')


if __name__ == '__main__':
    main()
