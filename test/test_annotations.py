# SPDX-License-Identifier: Apache-2.0
"""Public functions say what they take; ruff's ANN001 would ask private ones, too."""
import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'igs_ros'


def unannotated(tree: ast.AST) -> Iterator[str]:
    """Arguments without a type, as 'line function argument'."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            if not node.name.startswith('_'):
                yield from unannotated(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith('_') and not node.name.startswith('__'):
                continue
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            for argument in every:
                if argument and not argument.annotation and argument.arg not in ('self', 'cls'):
                    yield f'{node.lineno} {node.name} {argument.arg}'
        else:
            yield from unannotated(node)


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda path: str(
    path.relative_to(PACKAGE)))
def test_public_functions_are_annotated(path):
    assert list(unannotated(ast.parse(path.read_text()))) == []


def test_what_lacks_a_type_is_found():
    source = ("""def f(a, *b: int, c, **d): def g(e): ...
class C:
    def m(self, x): ...
    def _p(self, x): ...
class _D:
    def m(self, x): ...""").replace(': def g', ':\n    def g')
    assert list(unannotated(ast.parse(source))) == ['1 f a', '1 f c', '1 f d', '4 m x']
