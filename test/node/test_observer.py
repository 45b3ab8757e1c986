# SPDX-License-Identifier: Apache-2.0
"""What the observer keeps of the topics of a node, here played by the test."""
import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
from igs_ros.msg import SceneStatus  # noqa: E402
from igs_ros.node import convert  # noqa: E402
from igs_ros.node.observer import Observer, Processed  # noqa: E402

S = 1_000_000_000


@pytest.fixture
def observer(ros):
    made = Observer()
    yield made
    made.destroy_node()


def status(stamp_s, key_sequence, **times):
    times = {'update/motion' if name == 'motion' else name: value for name, value in times.items()}
    message = SceneStatus(state=SceneStatus.STREAMING, key_sequence=key_sequence, gaussians=7)
    message.scene_stamp = convert.time_message(stamp_s * S)
    message.stage_names = list(times)
    message.stage_last_s.extend(times.values())
    message.stage_mean_s.extend(times.values())
    return message


def test_times_and_kinds_of_each_stamp(observer):
    for message in (SceneStatus(), status(1, 1, bootstrap=9.0),
                    status(2, 1, bootstrap=9.0, motion=0.5, view=0.25),
                    status(2, 1, motion=0.5, view=0.125),
                    status(3, 5, motion=0.75, view=0.0625, refine=2.0),
                    status(4, 5, motion=0.5, view=0.5, refine=2.0)):
        observer._on_status(message)
    assert observer.processed == {
        1 * S: Processed('candidate', 0.0, 0.0, 7, 0.25),  # the first scene is no refined key
        2 * S: Processed('candidate', 0.5, 0.0, 7, 0.0625),  # by then its view was rendered
        3 * S: Processed('key', 0.75, 2.0, 7, 0.5),
        4 * S: Processed('candidate', 0.5, 0.0, 7, 0.0)}
    assert observer.about(2 * S) is observer.processed[2 * S]
    assert observer.about(2 * S + 1) is observer.processed[3 * S]  # no status about it: the next
    assert observer.about(5 * S) is None


def test_the_first_view_of_a_stamp_counts(observer):
    stamp_ns = time.time_ns() - 2 * S
    first, again = (np.full((3, 4, 3), value, np.uint8) for value in (10, 20))
    for pixels in (first, again):
        observer._on_image(convert.image_message(pixels, convert.header(stamp_ns, 'v')))
    depth = np.full((3, 4), 1.5, np.float32)
    observer._on_depth(convert.depth_message(depth, convert.header(stamp_ns, 'v')))
    seen = observer.views[stamp_ns]
    assert np.array_equal(seen.rgb, first) and np.array_equal(seen.depth, depth)
    assert 2.0 <= seen.latency_s <= (time.time_ns() - stamp_ns) / S


def test_a_status_whose_arrays_do_not_fit_is_left_out(observer):
    observer._on_status(status(1, 1, view=0.5))
    broken = status(2, 1, view=0.5)
    broken.stage_names = ['view', 'refine']
    observer._on_status(broken)
    assert list(observer.processed) == [1 * S] and observer.status.scene_stamp.sec == 1
