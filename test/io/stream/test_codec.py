# SPDX-License-Identifier: Apache-2.0
"""Streams end to end: what arrives, what it costs, what is refused."""
import zlib

import numpy as np
import pytest
from gaussians import ATTRIBUTES, equal, moved, next_key, scene

from igs_ros.core.errors import InputError
from igs_ros.io.stream.codec import SceneDecoder, SceneEncoder, frame_for
from igs_ros.io.stream.packets import Kind

COUNT = 1500


class Stream:
    """An encoder, a decoder that gets everything, and what the engine holds."""

    def __init__(self, quality=20, chained=False, degree=1, count=COUNT):
        self.engine = scene(count, degree=degree)
        self.encoder = SceneEncoder(frame_for(self.engine, 0.01), quality, chained)
        self.decoder = SceneDecoder(chained)
        self.chained = chained
        self.sent = []
        self.put(self.encoder.intra(self.engine))

    def put(self, data):
        self.sent.append(data)
        self.decoder.take(data)
        assert equal(self.decoder.scene, self.encoder.decoded()[0])

    def update(self, seed=1):
        values, rows = moved(self.engine, seed)
        self.put(self.encoder.update(values, rows))
        return values

    def key(self, values, seed=2, **how):
        self.engine, parents = next_key(values, seed, **how)
        self.put(self.encoder.key(self.engine, parents))

    def joined(self):
        late = SceneDecoder(self.chained)
        late.take(self.encoder.intra())
        return late


@pytest.fixture(params=[False, True], ids=['against the key', 'chained'])
def stream(request):
    return Stream(chained=request.param)


def errors(stream, values):
    shown, rows = stream.encoder.decoded()
    shown['scales'] = np.sort(shown['scales'], 1)  # axes are named anew
    values = {**values, 'scales': np.sort(values['scales'], 1)}
    return {name: np.abs(shown[name] - values[name][rows]) for name in ATTRIBUTES}


def test_what_arrives_is_as_near_as_the_steps(stream):
    """Position within half a step of the lattice, of moved ones within half of four."""
    step = 19 * stream.encoder.frame.unit
    apart = errors(stream, stream.engine)
    assert 0.4 * step < apart['means'].max() <= 0.5001 * step
    values = stream.update()
    apart = errors(stream, values)['means']
    assert step < apart.max() <= 4.0001 * step  # pale ones 8 steps, the half of it
    stream.key(values)
    apart = errors(stream, stream.engine)
    assert apart['means'].max() <= 4.0001 * step
    assert apart['opacities'].mean() < 0.05 and apart['sh'].mean() < 0.15


def test_four_qualities_more_halve_the_errors_and_cost_bytes():
    coarse, fine = Stream(12), Stream(16)
    for name in ('means', 'scales'):
        ratio = errors(fine, fine.engine)[name].mean() / errors(coarse, coarse.engine)[name].mean()
        assert 0.35 < ratio < 0.7, name
    assert 1.1 < len(fine.sent[0]) / len(coarse.sent[0]) < 1.7


def test_who_is_untouched_stays_bit_for_bit(stream):
    before = stream.decoder.scene
    values, rows = moved(stream.engine)
    still = ~np.isin(stream.encoder.decoded()[1], rows)
    stream.put(stream.encoder.update(values, rows))
    after = stream.decoder.scene
    assert all(np.array_equal(before[name][still], after[name][still]) for name in ATTRIBUTES)
    assert not np.array_equal(before['means'], after['means']) and 0.3 < still.mean() < 0.9


def test_who_joins_later_holds_the_same(stream):
    for seed in range(3):
        values = stream.update(seed)
        stream.key(values, seed + 10)
        late = stream.joined()
        assert equal(late.scene, stream.decoder.scene)
    values = stream.update(7)
    late.take(stream.sent[-1])
    assert equal(late.scene, stream.decoder.scene)
    stream.key(values, 20)
    late.take(stream.sent[-1])
    assert equal(late.scene, stream.decoder.scene)


def test_the_newest_update_alone_is_enough():
    stream, lossy = Stream(), SceneDecoder()
    lossy.take(stream.sent[0])
    for seed in range(1, 5):
        values = stream.update(seed)
    lossy.take(stream.sent[-1])
    assert equal(lossy.scene, stream.decoder.scene)
    lossy.take(stream.sent[1])  # late: older, never wrong
    stream.key(values)
    lossy.take(stream.sent[-1])
    assert equal(lossy.scene, stream.decoder.scene)


def test_chained_updates_cost_less():
    sizes = {}
    for chained in (False, True):
        stream = Stream(chained=chained)
        values = stream.engine
        for _ in range(4):  # on and on
            values, rows = moved(values)
            stream.put(stream.encoder.update(values, None if chained else np.arange(COUNT)))
        sizes[chained] = len(stream.sent[-1])
    assert sizes[True] < 0.9 * sizes[False]


def test_errors_do_not_pile_up(stream):
    for seed in range(8):
        values = stream.update(seed)
        stream.key(values, seed + 30, gone=0.02, born=0.02)
    apart = errors(stream, stream.engine)
    assert apart['means'].max() <= 4.0001 * 19 * stream.encoder.frame.unit


@pytest.mark.parametrize('degree', [0, 2, 3])
def test_every_degree(degree):
    stream = Stream(degree=degree, count=200)
    stream.key(stream.update())
    assert stream.decoder.scene['sh'].shape == (200, (degree + 1) ** 2, 3)


@pytest.mark.parametrize('how', [{'gone': 0.0, 'born': 0.0}, {'gone': 1.0, 'born': 0.5},
                                 {'gone': 0.5, 'born': 0.0}, {'gone': 1.0, 'born': 0.0}])
def test_keys_of_every_kind(stream, how):
    stream.key(stream.update(), **how)
    assert equal(stream.joined().scene, stream.decoder.scene)


def test_an_empty_scene_and_what_comes_of_it():
    stream = Stream(count=0)
    assert len(stream.decoder.scene['means']) == 0
    new = scene(30)
    stream.put(stream.encoder.key(new, np.full(30, -1)))
    assert len(stream.decoder.scene['means']) == 30


def test_children_of_one_parent_are_told_apart(stream):
    parents = np.repeat(np.arange(COUNT), 2)
    split = {name: values[parents] for name, values in stream.engine.items()}
    split['means'] += np.tile([[0.01], [-0.01]], (COUNT, 1)).astype(np.float32)
    stream.put(stream.encoder.key(split, parents))
    assert sorted(stream.encoder.decoded()[1]) == list(range(2 * COUNT))


def test_what_is_far_looks_the_same_from_the_cameras():
    """Beyond the reach: same direction, same share of the view."""
    engine = scene(300)
    engine['means'][:20] *= 1e5
    encoder, decoder = SceneEncoder(frame_for(engine, 0.01)), SceneDecoder()
    decoder.take(encoder.intra(engine))
    shown, rows = encoder.decoded()
    origin = np.array(encoder.frame.origin)
    away = shown['means'] - origin, engine['means'][rows] - origin
    length = [np.linalg.norm(one, axis=1, keepdims=True) for one in away]
    far = rows < 20
    assert (length[0][far] < 0.01 * length[1][far]).all()
    assert np.abs(away[0] / length[0] - away[1] / length[1])[far].max() < 1e-4
    assert np.isfinite(shown['scales']).all()


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize('change, said', [
    (lambda data: data[:9], 'of 9 bytes'),
    (lambda data: b'xx' + data[2:], 'begins with 7878'),
    (lambda data: data[:2] + b'\7' + data[3:], 'version 7'),
    (lambda data: data[:40] + b'\0' + data[41:], 'checksum'),
    (lambda data: data[:-1], 'checksum'),
])
def test_what_is_no_packet_is_refused_in_one_line(stream, change, said):
    before = stream.decoder.scene
    with pytest.raises(InputError, match=said) as refused:
        stream.decoder.take(change(stream.sent[0]))
    assert '\n' not in str(refused.value) and equal(stream.decoder.scene, before)


def resealed(data):
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, 'little')


@pytest.mark.parametrize('at, byte, said', [
    (3, 9, 'kind 9'), (4, 77, 'quality 77'), (5, 4, 'SH degree 4'), (9, 255, 'at most 1000000')])
def test_headers_that_cannot_be_are_refused(stream, at, byte, said):
    data = bytearray(stream.sent[0])
    data[at] = byte
    with pytest.raises(InputError, match=said):
        stream.decoder.take(resealed(bytes(data)))


def test_what_does_not_follow_is_refused():
    stream = Stream()
    values = stream.update()
    stream.key(values, gone=0.2)
    late = SceneDecoder()
    with pytest.raises(InputError, match='UPDATE before any of kind INTRA'):
        late.take(stream.sent[1])
    late.take(stream.sent[0])
    other = Stream(quality=12)
    with pytest.raises(InputError, match='quality 20 .* expected 12'):
        other.decoder.take(stream.sent[1])
    stream.update()
    with pytest.raises(InputError, match='does not follow'):
        late.take(stream.sent[-1])  # an update of a key that never came: another count
    assert late.take(stream.sent[1]) is Kind.UPDATE
