# SPDX-License-Identifier: Apache-2.0
"""What tests of the live pipeline do again and again."""
import time

from igs_ros.core.status import State

TRAIN = ('cam00', 'cam01', 'cam03')
PATIENCE_S = 60.0


def until(condition, patience_s=PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.01)


def settle(live) -> None:
    """Until nothing is left to do."""
    until(lambda: live.idle)


def follow(live, frame_set) -> None:
    """Offer and wait until it is shown."""
    live.offer(frame_set)
    until(lambda: live.snapshot().stamp_ns == frame_set.stamp_ns)


def begin(live, sets) -> None:
    live.offer(sets[0])
    until(lambda: live.status().state == State.STREAMING)
