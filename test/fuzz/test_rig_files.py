# SPDX-License-Identifier: Apache-2.0
"""rig.json of strangers."""
import json
from pathlib import Path

from fuzzing import fuzzer
from hostile import json_files

from igs_ros.data.rig import read_rig

RIG = json.loads((Path(__file__).parents[2] / 'recordings/workbench/rig.json').read_text())


@fuzzer(content=json_files(RIG))
def test_rig_json(folder, content):
    (folder / 'rig.json').write_bytes(content)
    for name in read_rig(folder / 'rig.json'):
        (folder / name).relative_to(folder)
        assert '/' not in name and '\0' not in name and name not in ('', '.', '..')
