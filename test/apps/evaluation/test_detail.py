# SPDX-License-Identifier: Apache-2.0
"""`detail` of results.json: where quality and time of a run come from."""
import pytest

from igs_ros.apps.evaluation.detail import detail_summary, frame_detail
from igs_ros.apps.evaluation.motion_error import MotionError
from igs_ros.vision.metrics import Scorer

PSNRS = [20.0, 21.0, 26.0, 19.5, 22.0, 25.0]
KINDS = ['candidate', 'candidate', 'key'] * 2


def rows_and_details(copies):
    rows = [{'index': i + 1, 'kind': kind, 'psnr': psnr, 'motion_cpu_s': 0.5 * i,
             'gaussians': 100 + i}
            for i, (kind, psnr) in enumerate(zip(KINDS, PSNRS, strict=True))]
    return rows, [frame_detail(row['index'], copy, None)
                  for row, copy in zip(rows, copies, strict=True)]


def test_the_gain_is_over_the_copies_of_candidates():
    rows, details = rows_and_details([19.0, 18.0, None, 19.0, 20.5, None])
    found = detail_summary(rows, details, Scorer(), MotionError(0))
    assert found['psnr_gain_over_copy'] == pytest.approx((1 + 3 + 0.5 + 1.5) / 4)
    assert found['psnr_candidates'] == pytest.approx((20 + 21 + 19.5 + 22) / 4)
    assert found['psnr_least'] == 19.5
    assert found['gaussians_most'] == 105
    assert found['motion_cpu_s_mean'] == pytest.approx(1.25)
    assert found['key_cpu_s'] == {}


def test_the_slope_is_that_of_a_line():
    rows, details = rows_and_details([None] * 6)
    for row in rows:
        row['psnr'] = 30 - 0.25 * row['index']
    found = detail_summary(rows, details, Scorer(), MotionError(0))
    assert found['psnr_per_frame'] == pytest.approx(-0.25)
    assert found['psnr_gain_over_copy'] is None
    for row in rows[1:]:
        row['psnr'] = None
    assert detail_summary(rows, details, Scorer(), MotionError(0))['psnr_per_frame'] is None


def test_a_run_of_nothing_has_nothing():
    found = detail_summary([], [], Scorer(), MotionError(0))
    assert found.pop('key_cpu_s') == {} and found.pop('motion_points') == 0
    assert all(value is None for value in found.values())
