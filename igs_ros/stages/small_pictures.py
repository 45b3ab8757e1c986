# SPDX-License-Identifier: Apache-2.0
"""Pictures, small and gray, compared block by block: what the check of plausibility goes by."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_WIDTH = 120  # px of the small pictures
_BLOCK = 10  # px, side of a block of a small picture
_CONTRAST = 4.0  # of 255: standard deviation from which a block can be recognized
_ALIKE = 0.7  # least correlation of blocks that agree
_LOST = 0.4  # share of its contrast below which a block that does not agree has become flat
MANY = 0.2  # of all blocks: fewer say nothing, and fewer may be lost without a doubt
_NOTHING = 0.85  # are flat: the picture shows nothing
_DARK = 0.15  # gain at which a picture without contrast to go by shows nothing
_MOTION = 8.0  # of 255: difference in a small picture that is motion
_MOVING = 0.002  # share of a small picture that motion takes at least
_COVER = 0.8  # least mean alpha at which a scene covers a block


@dataclass(frozen=True, eq=False)
class SmallPicture:
    """A picture, small and gray, in B blocks."""

    picture: np.ndarray  # [B, pixels] float32 of 255, without the blocks' means
    mean: np.ndarray  # [B] of 255
    contrast: np.ndarray  # [B] standard deviation

    @classmethod
    def of(cls, image: np.ndarray) -> SmallPicture:
        """Of `image`, uint8 RGB [H, W, 3]."""
        rows = max(1, round(image.shape[0] * _WIDTH / image.shape[1] / _BLOCK))
        return cls._in(rows, image)

    @classmethod
    def _in(cls, rows: int, image: np.ndarray) -> SmallPicture:
        gray = cv2.cvtColor(_resized(image, rows), cv2.COLOR_RGB2GRAY)
        blocks = _blocks(gray.astype(np.float32))
        mean = blocks.mean(1)
        blocks = blocks - mean[:, None]
        return cls(blocks, mean, blocks.std(1))

    def expected(self, shown: np.ndarray, alpha: np.ndarray) -> SmallPicture:
        """What a scene shows there [h, w, 3]; the blocks that it does not cover tell nothing."""
        rows = len(self.mean) * _BLOCK // _WIDTH
        scene = self._in(rows, shown)
        whole = _blocks(_resized(alpha, rows)).mean(1) > _COVER
        return SmallPicture(np.where(whole[:, None], scene.picture, self.picture),
                      np.where(whole, scene.mean, self.mean),
                      np.where(whole, scene.contrast, np.float32(0)))

    @property
    def telling(self) -> np.ndarray:
        """[B] bool: the blocks that can be recognized; none where they are too few."""
        telling = self.contrast > _CONTRAST
        return telling if telling.mean() >= MANY else np.zeros_like(telling)

    def moved_since(self, before: SmallPicture) -> bool:
        """Whether something moved since the picture `before` of the same camera."""
        apart = np.abs(self.picture + self.mean[:, None] - before.picture - before.mean[:, None])
        return bool((apart > _MOTION).mean() >= _MOVING)


def _resized(image: np.ndarray, rows: int) -> np.ndarray:
    return cv2.resize(image, (_WIDTH, _BLOCK * rows), interpolation=cv2.INTER_AREA)


def _blocks(picture: np.ndarray) -> np.ndarray:
    """[B, pixels] of a small picture."""
    grid = picture.reshape(-1, _BLOCK, _WIDTH // _BLOCK, _BLOCK)
    return grid.swapaxes(1, 2).reshape(-1, _BLOCK * _BLOCK)


@dataclass(frozen=True)
class Match:
    """How a picture agrees with a reference."""

    known: float  # share of the reference's blocks with contrast that agree
    flat: float  # share of them that have lost their contrast
    gain: float  # of the mean brightness, median over the blocks that agree; 1 without any
    lost: float  # share of all blocks that have contrast in the reference and do not agree

    @property
    def nothing(self) -> bool:
        """Whether nothing is left of what the reference shows."""
        return self.flat >= _NOTHING and self.lost >= MANY


def match_of(small: SmallPicture, reference: SmallPicture) -> Match | None:
    """None for pictures of different shapes. Without contrast, brightness is all there is."""
    if small.picture.shape != reference.picture.shape:
        return None
    gains = (small.mean + 1) / (reference.mean + 1)
    telling = reference.telling
    if not telling.any():
        gain = float(np.median(gains))
        return Match(1.0, 0.0, gain, 0.0) if gain > _DARK else Match(0.0, 1.0, gain, 1.0)
    product = (small.picture * reference.picture).mean(1)
    agrees = telling & (product > _ALIKE * small.contrast * reference.contrast)
    flat = telling & ~agrees & (small.contrast < _LOST * reference.contrast)
    return Match(float(agrees.sum() / telling.sum()), float(flat.sum() / telling.sum()),
                  float(np.median(gains[agrees])) if agrees.any() else 1.0,
                  float((telling & ~agrees).mean()))
