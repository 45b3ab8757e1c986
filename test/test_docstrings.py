# SPDX-License-Identifier: Apache-2.0
"""Docstrings of public functions have Google's sections where a reader needs them."""
import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'igs_ros'


def without_sections(source: str) -> list[str]:
    """What public functions of `source` lack, as 'line name: sections'."""
    return list(_lacking(ast.parse(source), None))


def _lacking(parent, cls):
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            yield from _lacking(node, node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if any(ast.unparse(mark).endswith('overload') for mark in node.decorator_list):
                continue  # it is the last one that says it
            if node.name.startswith('_') and node.name != '__init__':
                continue
            # what a class is made of is said by the class
            doc = ast.get_docstring(cls if node.name == '__init__' else node) or ''
            lacking = [section for section, wanted in (
                ('Args', len(_arguments(node)) > 2), ('Raises', 'aises' in doc))
                if wanted and f'{section}:' not in doc]
            if lacking:
                name = f'{cls.name}.{node.name}' if cls else node.name
                yield f'{node.lineno} {name}: {", ".join(lacking)}'


def _arguments(node):
    every = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    return [argument for argument in every if argument.arg not in ('self', 'cls')]


def test_what_is_found():
    made = '''
def few(a, b):
    """Two."""
def many(a, b, c):
    """Three."""
def said(a, b, c):
    """Three.

    Args:
        a: one.
    """
def fails(a):
    """Raises `InputError` for one."""
def _own(a, b, c):
    """Private."""
class Thing:
    """A thing."""
    def __init__(self, a, b, c):
        self.a = a
    def do(self, a, b):
        """Two besides self."""
'''
    assert without_sections(made) == [
        '4 many: Args', '12 fails: Raises', '18 Thing.__init__: Args']


def test_every_public_function_says_what_it_takes_and_raises():
    found = [f'{path.relative_to(PACKAGE)}:{line}' for path in sorted(PACKAGE.rglob('*.py'))
             for line in without_sections(path.read_text())]
    assert found == []
