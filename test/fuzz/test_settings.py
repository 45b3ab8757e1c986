# SPDX-License-Identifier: Apache-2.0
"""Settings of strangers: presets (YAML), --set, the authors' experiment file, boxes."""
import math
from pathlib import Path

import yaml
from fuzzing import fuzzer
from hostile import NAMES, bent, json_files, spoiled, values, written
from hypothesis import strategies as st

from igs_ros.core.config import Config, checked, numbers, settings, with_settings
from igs_ros.core.presets import assigned, preset
from igs_ros.stages.motion.agm.experiment import experiment_problems
from igs_ros.stages.motion.region import read_box

IGS = (Path(__file__).parents[2] / 'config' / 'igs.yaml').read_bytes()
LIVE = yaml.safe_load((Path(__file__).parents[2] / 'config/presets/live.yaml').read_text())
KNOWN = [name for name, _ in settings(Config())]
BOMB = 'a: &a [x, x]\n' + ''.join(
    f'{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n'
    for old, new in zip('abcdefghij', 'bcdefghijk'))
SNIPPETS = st.sampled_from((
    '!!timestamp x', '!!int x', '!!int ""', '!!float []', '!!bool x', '!!binary a', '!!set {a}',
    '!!python/object/apply:os.system [true]', '2001-99-99', '99999-01-01', '1:99:99:99', '0b',
    '0x', '0o9', '.inf', '-.inf', '.nan', '1e400', '9' * 5000, '[' * 20000, '{' * 20000,
    '? ' * 5000, '- ' * 5000, '{[a]: 1}', '{{a: 1}: 1}', '<<: 3', '<<: [1]', '&a [*a]', '*b', '%',
    '"\\ud800"', '"\\x00"', '\x85', '|\n  x', '>-', "'", '@', '`', '\t', '=', '~', '---', '...',
    '--- a\n--- b', '12e03', '1_000', '_', '0x_', '190:20:30', BOMB))


def file_of(entries) -> bytes:
    lines = ''.join(f'    {name}: {value}\n' for name, value in entries)
    return f'/**:\n  ros__parameters:\n{lines}'.encode('utf-8', 'surrogatepass')


ENTRIES = st.lists(st.tuples(
    st.one_of(st.sampled_from(KNOWN), st.sampled_from(('refine', '<<', '? a', '"a\\nb"', 'x.y'))),
    st.one_of(SNIPPETS, values().map(str), st.integers().map(str), st.floats().map(str))),
    min_size=1, max_size=3)


def require_settings(config: Config) -> None:
    for name, value in numbers(config):
        assert math.isfinite(value) and (isinstance(value, float) or value < 2 ** 31), name


@fuzzer(content=st.one_of(ENTRIES.map(file_of), spoiled(IGS), bent(LIVE).map(written),
                          SNIPPETS.map(str.encode), spoiled(BOMB.encode())))
def test_yaml_presets(folder, content):
    (folder / 'p.yaml').write_bytes(content)
    require_settings(checked(preset(str(folder / 'p.yaml'))))


@fuzzer(texts=st.lists(st.one_of(
    ENTRIES.map(lambda entries: f'{entries[0][0]}={entries[0][1]}'), st.text(max_size=30),
    st.sampled_from(('=', 'seed', '=3', 'seed==', 'seed=1=2')),
    st.tuples(st.sampled_from(KNOWN), values()).map(lambda pair: f'{pair[0]}={pair[1]!r}')),
    min_size=1, max_size=3))
def test_set_options(texts):
    require_settings(checked(with_settings(Config(), assigned(texts), '--set')))


@fuzzer(name=st.one_of(st.sampled_from(NAMES), st.text(max_size=300)))
def test_names_of_presets(name):
    preset(name)


@fuzzer(content=st.one_of(
    SNIPPETS.map(lambda text: f'system:\n  local_ray: {text}\n'.encode()),
    bent({'system': {'local_ray': False, 'deep': {'num_scales': 1, 'a': [1, {'nhead': 1}]}}})
    .map(written)))
def test_experiment_files(folder, content):
    (folder / 'e.yaml').write_bytes(content)
    for problem in experiment_problems(folder / 'e.yaml'):
        assert problem.isprintable() and len(problem) < 2000


@fuzzer(content=json_files({'room': [[0, 0, 0], [1, 1, 1]], 'hall': [[0, 0, 0], [2, 2, 2]]}),
        scene=st.sampled_from(('', ':room', ':\n')))
def test_boxes(folder, content, scene):
    (folder / 'bbox.json').write_bytes(content)
    box = read_box(f"{folder / 'bbox.json'}{scene}")
    assert box.shape == (2, 3) and (box[0] <= box[1]).all()
