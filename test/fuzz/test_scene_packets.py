# SPDX-License-Identifier: Apache-2.0
"""Packets of scene streams of strangers: decoded, or refused in one line."""
import sys
from pathlib import Path

import numpy as np
from fuzzing import fuzzer
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'io' / 'stream'))
from test_codec import Stream, resealed  # noqa: E402

from igs_ros.core.errors import InputError  # noqa: E402
from igs_ros.io.stream.codec import SceneDecoder  # noqa: E402

STREAM = Stream(count=120)
STREAM.key(STREAM.update())
STREAM.update(4)
PACKETS = STREAM.sent


@fuzzer(which=st.integers(0, len(PACKETS) - 1), sealed=st.booleans(),
        changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
        cut=st.one_of(st.none(), st.floats(0, 1)))
def test_packets(which, sealed, changes, cut):
    decoder = SceneDecoder(max_gaussians=5000)
    held = None
    for data in PACKETS[:which]:
        decoder.take(data)
        held = decoder.scene
    data = bytearray(PACKETS[which])
    if cut is not None:
        del data[int(cut * len(data)):]
    for at, byte in changes:
        if data:
            data[int(at * (len(data) - 1))] = byte
    data = bytes(data)
    try:
        decoder.take(resealed(data) if sealed and len(data) > 4 else data)
    except InputError:
        after = decoder.scene
        assert (held is None) == (after is None)
        if held is not None and after is not None:
            assert all(np.array_equal(held[name], after[name]) for name in held)
        raise
    shown = decoder.scene
    assert shown is not None and all(np.isfinite(value).all() for value in shown.values())
