# SPDX-License-Identifier: Apache-2.0
"""Scenes that a stream carries: Gaussians in a room, and what becomes of them."""
import numpy as np
from scipy.spatial.transform import Rotation

ATTRIBUTES = ('means', 'quats', 'scales', 'opacities', 'sh')


def wxyz(rotation):
    return rotation.as_quat()[:, [3, 0, 1, 2]].astype(np.float32)


def scene(count, seed=0, degree=1, spread=1.0, flat=True):
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(-4, 0.7, (count, 3)))
    if flat:
        scales[:, 2] *= 0.2
    return {'means': rng.normal(0, spread, (count, 3)).astype(np.float32),
            'quats': wxyz(Rotation.random(count, random_state=seed)) if count
            else np.zeros((0, 4), np.float32),
            'scales': scales.astype(np.float32),
            'opacities': rng.uniform(0.02, 0.98, count).astype(np.float32),
            'sh': rng.normal(0, 0.4, (count, (degree + 1) ** 2, 3)).astype(np.float32)}


def moved(values, seed=1, share=0.3):
    """Some of a scene carried and turned as one body, some of it recolored; and the rows."""
    rng = np.random.default_rng(seed)
    count = len(values['means'])
    out = {name: value.copy() for name, value in values.items()}
    body = np.flatnonzero(values['means'][:, 0] > np.quantile(values['means'][:, 0], 1 - share))
    turn = Rotation.from_rotvec([0.05, 0.1, -0.02])
    out['means'][body] = turn.apply(values['means'][body]) + [0.03, -0.02, 0.05]
    out['quats'][body] = wxyz(turn * Rotation.from_quat(values['quats'][body][:, [1, 2, 3, 0]]))
    other = np.sort(rng.choice(count, count // 10, replace=False))
    out['sh'][other, 0] += np.float32(0.3)
    out['opacities'][other] *= np.float32(0.6)
    return out, np.union1d(body, other)


def next_key(values, seed=2, gone=0.1, born=0.1):
    """A key made of a scene: some died, some were optimized, some are new; and the parents."""
    rng = np.random.default_rng(seed)
    count = len(values['means'])
    kept = np.sort(rng.choice(count, round(count * (1 - gone)), replace=False))
    new = scene(round(count * born), seed + 100, round(len(values['sh'][0]) ** 0.5) - 1)
    out = {name: np.concatenate([values[name][kept], new[name]]) for name in ATTRIBUTES}
    fitted = np.sort(rng.choice(len(kept), len(kept) // 5, replace=False))
    out['scales'][fitted] *= np.exp(rng.normal(0, 0.3, (len(fitted), 3))).astype(np.float32)
    out['means'][fitted] += rng.normal(0, 0.01, (len(fitted), 3)).astype(np.float32)
    out['sh'][fitted] += rng.normal(0, 0.2, out['sh'][fitted].shape).astype(np.float32)
    order = rng.permutation(len(out['means']))  # a refiner renumbers as it likes
    parents = np.concatenate([kept, np.full(len(new['means']), -1)])
    return {name: out[name][order] for name in ATTRIBUTES}, parents[order]


def equal(one, other):
    return all(np.array_equal(one[name], other[name]) for name in ATTRIBUTES)
