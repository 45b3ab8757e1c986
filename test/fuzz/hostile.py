# SPDX-License-Identifier: Apache-2.0
"""Strategies: valid files and values, spoiled."""
import copy
import json
import struct

from hypothesis import strategies as st

INTEGERS = (0, 1, -1, 127, 255, 2 ** 16, 2 ** 31 - 1, -2 ** 31, 2 ** 32 - 1, 10 ** 9,
            2 ** 63 - 1, -2 ** 63, 2 ** 64 - 1)
FLOATS = (0.0, -0.0, float('nan'), float('inf'), float('-inf'), 1e308, -1e308, 5e-324, 1e39, 1e-40)
NAMES = ('', '.', '..', '../up', '/etc/passwd', '.hidden', 'a/b', 'a\\b', 'a\0b', 'a\nb',
         '\x1b[31mred', '\u202eoverridden', 'cam00', 'x' * 5000, 'caf\u00e9', '\ud800', ' ', '-',
         '$HOME', '~', '%s{0}', "'", 'NUL', 'cam00.mp4', '${a}')
HUGE = '@@9s@@'  # becomes a number of 5000 digits, which no Python integer can be made from
DEEP = '@@[s@@'  # becomes 100,000 nested lists
WHOLE = (b'', b'\0', b'\n', b'null', b'0', b'[]', b'{}', b'""', b'\xef\xbb\xbf', b'\xff\xfe',
         b'[' * 100_000, b'{"a":' * 100_000, b'9' * 5000, b'\0' * 10_000, b'\xff' * 1000,
         b'1e400', b'NaN', b'PK\x03\x04', b'\x80\x02.', b'\x80\x04}.')


def values() -> st.SearchStrategy:
    """Something else than was expected, for JSON and YAML."""
    return st.one_of(
        st.sampled_from((None, True, False, [], {}, [[]], [None], {'a': {}}, HUGE, DEEP,
                         10 ** 400, -10 ** 400, 1e400, [0] * 1000, 'auto', '1', '0x10')),
        st.sampled_from(INTEGERS), st.sampled_from(FLOATS), st.sampled_from(NAMES),
        st.floats(), st.integers(), st.text(max_size=20),
        st.lists(st.floats(), max_size=20))


@st.composite
def bent(draw, tree):
    """A tree of dicts and lists with one to three of its nodes replaced, removed or repeated."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_nodes(tree)) or [(None, None)]))
        if holder is None:
            continue
        kind = draw(st.sampled_from(('replace', 'replace', 'replace', 'remove', 'repeat')))
        if kind == 'replace':
            holder[key] = draw(values())
        elif kind == 'remove':
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[draw(st.sampled_from(NAMES))] = holder[key]
    return tree


def _nodes(tree):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _nodes(value)


def written(tree) -> bytes:
    """The tree as JSON, with its huge numbers and depths."""
    text = json.dumps(tree, ensure_ascii=True)
    text = text.replace(f'"{HUGE}"', '9' * 5000)
    return text.replace(f'"{DEEP}"', '[' * 100_000 + ']' * 100_000).encode()


def json_files(tree) -> st.SearchStrategy:
    """Bytes of files that should hold something like `tree`."""
    return st.one_of(bent(tree).map(written), bent(tree).map(written),
                     spoiled(written(tree)))


@st.composite
def spoiled(draw, data: bytes):
    """`data` with one to four places changed, cut, repeated, or lied about; or something else."""
    whole = draw(st.integers(0, 19))
    if whole == 0:
        return draw(st.sampled_from(WHOLE))
    if whole == 1:
        return draw(st.binary(max_size=200))
    if whole == 2:
        return draw(st.sampled_from((
            b'\xef\xbb\xbf' + data, data.decode('latin-1').encode('utf-16'), data[::-1],
            data + data, data + b'\0' * 1000, b'\n' + data, data.replace(b'\n', b'\r\n'))))
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        # headers lie at the front: half of all places are among the first 256 bytes
        near = draw(st.booleans())
        at = draw(st.integers(0, min(len(data), 256) if near else len(data)))
        kind = draw(st.sampled_from(('flip', 'cut', 'insert', 'remove', 'repeat', 'integer',
                                     'float', 'digits')))
        if kind == 'flip' and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == 'cut':
            del data[at:]
        elif kind == 'insert':
            data[at:at] = draw(st.one_of(st.binary(max_size=8), st.sampled_from(
                [name.encode('utf-8', 'surrogatepass')[:50] for name in NAMES])))
        elif kind == 'remove':
            del data[at:at + draw(st.integers(1, 64))]
        elif kind == 'repeat':
            data[at:at] = data[at:at + draw(st.integers(1, 64))]
        elif kind == 'integer':
            size = draw(st.sampled_from((1, 2, 4, 8)))
            value = draw(st.sampled_from(INTEGERS)) % 256 ** size
            data[at:at + size] = value.to_bytes(size, draw(st.sampled_from(('little', 'big'))))
        elif kind == 'float':
            layout = draw(st.sampled_from(('<f', '<d')))
            value = draw(st.sampled_from(FLOATS))
            value = value if layout == '<d' or abs(value) < 3e38 else float('inf')
            data[at:at + struct.calcsize(layout)] = struct.pack(layout, value)
        elif kind == 'digits':
            _other_number(data, at, draw(st.sampled_from(
                (*(str(n).encode() for n in INTEGERS), b'9' * 5000, b'nan', b'1e400', b'-'))))
    return bytes(data)


def _other_number(data: bytearray, at: int, digits: bytes) -> None:
    """The first number in ASCII from `at` on becomes another: counts of text headers."""
    while at < len(data) and data[at] not in b'0123456789':
        at += 1
    end = at
    while end < len(data) and data[end] in b'0123456789':
        end += 1
    if end > at:
        data[at:end] = digits
