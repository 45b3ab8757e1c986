# SPDX-License-Identifier: Apache-2.0
"""What changed between two pictures (reference/quality_calibration.md section 3)."""
from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

CHANGE = 8 / 255  # blurred difference above which a pixel has changed
_SIGMA = 1.5  # px, blur of the difference
_GROWN = np.ones((9, 9), np.uint8)  # changed areas are dilated by this


def difference(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[H, W] float32 0..1: largest difference over RGB, then blurred (sigma 1.5 px).

    Args:
        image: [H, W, 3] RGB, uint8 or float32 0..1.
        reference: of the same shape and type.
    """
    apart = cv2.absdiff(image, reference).max(-1)
    if apart.dtype == np.uint8:
        apart = apart.astype(np.float32) * np.float32(1 / 255)
    return cv2.GaussianBlur(apart, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT_101)


def changed_pixels(image: np.ndarray, reference: np.ndarray, threshold: float = CHANGE
                   ) -> np.ndarray:
    """[H, W] bool: where two pictures differ, grown.

    Args:
        image: [H, W, 3] RGB, uint8 or float32 0..1.
        reference: of the same shape and type.
        threshold: 0..1, of `difference`; what is above it has changed.
    """
    return grown(difference(image, reference) > threshold)


def grown(mask: np.ndarray) -> np.ndarray:
    """`mask`, bool [H, W], dilated 9x9."""
    return cv2.dilate(mask.astype(np.uint8), _GROWN).astype(bool)


def changed_share(images: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]) -> float:
    """Share of the pixels, 0..1, by which `images` differ from `references`; not dilated.

    uint8 RGB [H, W, 3] by camera; the mean over the cameras that are in both, 0 without any.
    """
    shares = [float((difference(images[name], references[name]) > CHANGE).mean())
              for name in sorted(images) if name in references]
    return float(np.mean(shares)) if shares else 0.0
