# SPDX-License-Identifier: Apache-2.0
"""Painted textures: noise, stripes, checks, dots and print, drawn at random."""
from __future__ import annotations

import cv2
import numpy as np

SIZE = 256  # px, both sides
_GLYPH = (5, 3)  # dots of a letter, rows and columns


def texture(rng: np.random.Generator) -> np.ndarray:
    """A random texture [SIZE, SIZE, 3] float32, sRGB 0.02..0.98; repeats without much of a seam.

    Paint in two or three colors, roughened by noise.
    """
    dark, light, third = _palette(rng)
    paint = (_noise, _stripes, _checks, _dots, _print)[rng.integers(5)]
    image = dark + paint(rng)[..., None] * (light - dark)
    if rng.random() < 0.5:
        image += _stains(rng)[..., None] * (third - image)
    grain = rng.uniform(0.02, 0.15) * (_noise(rng) - 0.5)
    return np.clip(image + grain[..., None], 0.02, 0.98).astype(np.float32)


def sampled(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear colors [N, 3] float64 of a texture at uv [N, 2] (1 = one repeat)."""
    at = np.mod(uv, 1.0) * SIZE
    low = np.floor(at).astype(np.int64)
    share = (at - low)[:, None, :]
    near, far = low % SIZE, (low + 1) % SIZE
    top = image[near[:, 1], near[:, 0]] * (1 - share[..., 0]) \
        + image[near[:, 1], far[:, 0]] * share[..., 0]
    bottom = image[far[:, 1], near[:, 0]] * (1 - share[..., 0]) \
        + image[far[:, 1], far[:, 0]] * share[..., 0]
    return (top * (1 - share[..., 1]) + bottom * share[..., 1]).astype(np.float64)


def _palette(rng) -> np.ndarray:
    """[3, 3] colors; the first two differ enough to be told apart."""
    colors = rng.uniform(0.05, 0.95, (3, 3))
    colors[0] *= rng.uniform(0.2, 0.7)
    colors[1] = 1 - (1 - colors[1]) * rng.uniform(0.2, 0.7)
    return colors


def _noise(rng) -> np.ndarray:
    """[SIZE, SIZE] 0..1, several octaves."""
    total, weight, cells = np.zeros((SIZE, SIZE), np.float32), 0.0, int(rng.integers(3, 9))
    fading = rng.uniform(0.5, 0.9)
    strength = 1.0
    while cells <= 96:
        grid = rng.random((cells, cells), dtype=np.float32)
        grid = np.pad(grid, ((0, 1), (0, 1)), mode='wrap')  # the last cell meets the first
        total += strength * cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        weight += strength
        cells, strength = cells * 2, strength * fading
    spread = (total / weight - 0.5) * 2.5 + 0.5
    return np.clip(spread, 0, 1)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE)


def _stripes(rng) -> np.ndarray:
    x, y = _grid()
    turns = rng.integers(-6, 7, 2)  # whole numbers, so that the texture repeats
    turns[rng.integers(2)] += 5
    phase = (turns[0] * x + turns[1] * y) % 1.0
    return (phase < rng.uniform(0.3, 0.7)).astype(np.float32)


def _checks(rng) -> np.ndarray:
    x, y = _grid()
    count = 2 * rng.integers(2, 7, 2)
    return ((np.floor(x * count[0]) + np.floor(y * count[1])) % 2).astype(np.float32)


def _dots(rng) -> np.ndarray:
    image = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(int(rng.integers(20, 70))):
        center = tuple(int(value) for value in rng.integers(0, SIZE, 2))
        cv2.circle(image, center, int(rng.integers(4, 24)), float(rng.random()), -1)
    return image


def _print(rng) -> np.ndarray:
    """Rows of random letters on paper."""
    pixel = int(rng.integers(2, 6))
    rows, columns = SIZE // (pixel * (_GLYPH[0] + 3)), SIZE // (pixel * (_GLYPH[1] + 1))
    page = np.ones((rows * (_GLYPH[0] + 3), columns * (_GLYPH[1] + 1)), np.float32)
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.15:
                continue  # between words
            top, left = row * (_GLYPH[0] + 3), column * (_GLYPH[1] + 1)
            page[top:top + _GLYPH[0], left:left + _GLYPH[1]] = rng.random(_GLYPH) < 0.4
    return cv2.resize(page, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)


def _stains(rng) -> np.ndarray:
    """[SIZE, SIZE] 0..0.8, a few large patches."""
    return np.clip((_noise(rng) - 0.55) * 6, 0, 0.8)
