# SPDX-License-Identifier: Apache-2.0
"""What a run in lockstep knows beyond the contract: the `detail` of results.json.

It answers where the quality of a frame comes from (its motion or its key) and where the time of
a refinement went. Definitions: docs/metrics.md.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from igs_ros.apps.evaluation.motion_error import MotionError
from igs_ros.stages.refine.refiner import Refined
from igs_ros.vision import metrics


def frame_detail(index: int, psnr_copy: float | None, refined: Refined | None) -> dict:
    """One entry of `detail.frames`.

    Args:
        index: of the frame, as in `frames`.
        psnr_copy: dB, what `psnr` would be had the key not been moved; None for key frames, and
            where nothing is scored.
        refined: what refinement did; None where there was none.
    """
    known = {'index': index, 'psnr_copy': psnr_copy}
    if refined is None:
        return known
    return known | {
        'loss': refined.loss, 'born': refined.born, 'split': refined.split,
        'pruned': refined.pruned, 'free': refined.free, 'tiles_share': refined.tiles_share,
        'refine_cpu_s': dict(refined.seconds)}


def detail_summary(rows: Sequence[dict], details: Sequence[dict],
                   scorer: metrics.Scorer | metrics.Scorers, motion: MotionError) -> dict:
    """`detail.summary` of a whole run.

    Args:
        rows: `frames` of results.json.
        details: `detail.frames`, for the same frames.
        scorer: has seen all pictures of the run.
        motion: errors of the motion over the whole run.
    """
    candidates = [row for row in rows if row['kind'] == 'candidate']
    copies = {detail['index']: detail['psnr_copy'] for detail in details}
    gains = [row['psnr'] - copies[row['index']] for row in candidates
             if None not in (row['psnr'], copies[row['index']])]
    parts = [detail['refine_cpu_s'] for detail in details if 'refine_cpu_s' in detail]
    scores = [row['psnr'] for row in rows]
    return {
        'psnr_candidates': metrics.mean(row['psnr'] for row in candidates),
        'psnr_gain_over_copy': metrics.mean(gains),
        'psnr_least': min((score for score in scores if score is not None), default=None),
        'psnr_per_frame': _slope(scores),
        'flicker_at_keys': scorer.flicker_at_keys(),
        'motion_points': motion.points,
        'motion_error_median_m': motion.median_m,
        'motion_error_p90_m': motion.p90_m,
        'motion_cpu_s_mean': metrics.mean(row['motion_cpu_s'] for row in rows),
        'key_cpu_s': {name: metrics.mean(part[name] for part in parts if name in part)
                      for name in dict.fromkeys(name for part in parts for name in part)},
        'gaussians_most': max((row['gaussians'] for row in rows), default=None)}


def _slope(scores: Sequence[float | None]) -> float | None:
    """Least-squares change per frame, in dB; None for fewer than two finite scores."""
    known = [(index, score) for index, score in enumerate(scores)
             if score is not None and np.isfinite(score)]
    if len(known) < 2:
        return None
    indices, values = np.array(known).T
    return float(np.polyfit(indices, values, 1)[0])
