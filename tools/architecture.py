# SPDX-License-Identifier: Apache-2.0
"""The imports of the package: for the picture in docs/architecture.md, and for its tests.

`python tools/architecture.py` writes docs/pictures/architecture.svg.
"""
from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

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


def imports(source: str, package: str, for_types: bool = True) -> set[str]:
    """Full names that `source` imports, anywhere (for `from a import b` both a and a.b).

    package: the one that it lies in, for relative imports; for_types: count those under
    `if TYPE_CHECKING:` too, which are never run.
    """
    found = set()
    for node in _nodes(ast.parse(source), for_types):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split('.')
            base = parts[:len(parts) - node.level + 1] if node.level else []
            origin = '.'.join([*base, *([node.module] if node.module else [])])
            found.add(origin)
            found.update(f'{origin}.{alias.name}' for alias in node.names)
    return found


def _nodes(node: ast.AST, for_types: bool) -> Iterator[ast.AST]:
    """Everything below `node`, in no order; without `for_types` only what is run."""
    yield node
    skipped = []
    if isinstance(node, ast.If) and not for_types \
            and ast.unparse(node.test) in ('TYPE_CHECKING', 'typing.TYPE_CHECKING'):
        skipped = node.body
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _nodes(child, for_types)


def imports_of(path: Path, module: str, for_types: bool = True) -> set[str]:
    """Full names that the file of `module` imports; for_types: see `imports`."""
    package = module if path.name == '__init__.py' else module.rpartition('.')[0]
    return imports(path.read_text(), package, for_types)


def arrows(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which modules each module runs when it is imported, `__init__`s above those included."""
    found = {}
    for name, path in files.items():
        wanted = {other for other in imports_of(path, name, for_types=False) if other in files}
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


_ROW, _BOX, _LANE, _LEFT = 76, 640, 26, 12  # px
_COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#666666', '#8c564b')


def drawing(files: Mapping[str, Path]) -> str:
    """The rooms, top down, as SVG: what stands at each door, its files, and who imports whom.

    Every room but the highest has a line to its right, which ends in it; a dot on that line is a
    room that imports it.
    """
    order = ROOMS[::-1]
    used = between_rooms(files)
    width = _LEFT + _BOX + (len(order) + 1) * _LANE
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} '
             f'{len(order) * _ROW + 8}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>']
    middle = {name: 8 + row * _ROW + (_ROW - 12) / 2 for row, name in enumerate(order)}
    for name in order:
        parts += _room_box(name, middle[name], files)
    for lane, name in enumerate(order[1:]):
        users = [other for other in order if used[other, name]]
        if users:
            x = _LEFT + _BOX + (lane + 1) * _LANE
            parts += _lane(x, middle[name], [middle[user] for user in users],
                           _COLORS[lane % len(_COLORS)])
    return '\n'.join([*parts, '</svg>', ''])


def _room_box(name: str, y: float, files: Mapping[str, Path]) -> list[str]:
    top = y - (_ROW - 12) / 2
    title = 'pipeline.py' if name == 'pipeline' else f'{name}/'
    own = [module for module in files if room(module) == name]
    inside = sorted({module.split('.')[2] + ('/' if module.count('.') > 2 else '')
                     for module in own if module.count('.') > 1} - {''})
    folders = {entry[:-1] for entry in inside if entry.endswith('/')}
    listed = ', '.join(entry for entry in inside if entry not in folders)
    lines = textwrap.wrap(listed, 112)[:2]
    text = [f'<text x="{_LEFT + 10}" y="{top + 18}" font-weight="bold">{title}</text>',
            f'<text x="{_LEFT + 100}" y="{top + 18}">{escape(sentence(name))}</text>',
            *(f'<text x="{_LEFT + 10}" y="{top + 37 + 15 * row}" font-size="10.5" fill="#555">'
              f'{escape(line)}</text>' for row, line in enumerate(lines))]
    return [f'<rect x="{_LEFT}" y="{top}" width="{_BOX}" height="{_ROW - 12}" rx="6" '
            f'fill="#f4f6f8" stroke="#8896a5"/>', *text]


def _lane(x: float, target: float, users: list[float], color: str) -> list[str]:
    edge = _LEFT + _BOX
    return [f'<path d="M {x} {min(users)} V {target + 6} H {edge + 7}" fill="none" '
            f'stroke="{color}" stroke-width="1.5"/>',
            f'<path d="M {edge + 1} {target + 6} l 8 -4 v 8 z" fill="{color}"/>',
            *(f'<path d="M {edge} {user - 6} H {x}" stroke="{color}" stroke-width="1" '
              f'stroke-dasharray="2 3" fill="none"/><circle cx="{x}" cy="{user - 6}" r="4" '
              f'fill="{color}"/>' for user in users)]


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(drawing(modules(PACKAGE)))


if __name__ == '__main__':
    main()
