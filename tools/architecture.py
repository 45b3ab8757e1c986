# SPDX-License-Identifier: Apache-2.0
"""The imports of the package: for the picture in docs/architecture.md, and for its tests.

`python tools/architecture.py` writes docs/pictures/architecture.svg.
"""
from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'igs_ros'
PICTURE = ROOT / 'docs' / 'pictures' / 'architecture.svg'
ROOMS = ('core', 'vision', 'render', 'io', 'stages', 'pipeline', 'live', 'node', 'apps')
"""From the ground up: imports go to the same room or to one before it."""


def modules(package: Path) -> dict[str, Path]:
    """Every Python file of a package, by the name of its module."""
    found = {}
    for path in sorted(package.rglob('*.py')):
        parts = path.relative_to(package.parent).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def room(module: str) -> str:
    """'live' of igs_ros.live.budget, 'pipeline' of igs_ros.pipeline, '' of others."""
    parts = module.split('.')
    return parts[1] if parts[0] == 'igs_ros' and len(parts) > 1 else ''


def sentence(name: str) -> str:
    """What stands at the door of a room: the first paragraph of its docstring, as one line."""
    path = PACKAGE / (f'{name}.py' if name == 'pipeline' else f'{name}/__init__.py')
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ''
    return ' '.join(docstring.split('\n\n')[0].split())


def imports(source: str, package: str) -> set[str]:
    """Full names that `source` imports, anywhere (for `from a import b` both a and a.b).

    package: the one that it lies in, for relative imports.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split('.')
            base = parts[:len(parts) - node.level + 1] if node.level else []
            origin = '.'.join([*base, *([node.module] if node.module else [])])
            found.add(origin)
            found.update(f'{origin}.{alias.name}' for alias in node.names)
    return found


def imports_of(path: Path, module: str) -> set[str]:
    """Full names that the file of `module` imports."""
    package = module if path.name == '__init__.py' else module.rpartition('.')[0]
    return imports(path.read_text(), package)


def arrows(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which modules each module runs when it is imported, `__init__`s above those included."""
    found = {}
    for name, path in files.items():
        wanted = {other for other in imports_of(path, name) if other in files}
        for other in list(wanted):
            while '.' in other:
                other = other.rpartition('.')[0]
                # a package is already running when a file below it is imported from there
                if other in files and not f'{name}.'.startswith(f'{other}.'):
                    wanted.add(other)
        parents = {parent for parent in files if name.startswith(f'{parent}.')}
        found[name] = (wanted | parents) - {name}
    return found


def circles(files: Mapping[str, Path]) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others (Tarjan 1972)."""
    graph = arrows(files)
    number, lowest, path, found = {}, {}, [], []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        path.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in path:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            group = path[path.index(name):]
            del path[path.index(name):]
            if len(group) > 1:
                found.append(sorted(group))
    for name in graph:
        if name not in number:
            visit(name)
    return sorted(found)


def between_rooms(files: Mapping[str, Path]) -> Counter[tuple[str, str]]:
    """How many imports go from one room to another."""
    return Counter((room(name), room(other)) for name, path in files.items()
                   for other in imports_of(path, name)
                   if other in files and room(name) and room(other)
                   and room(name) != room(other))
