# SPDX-License-Identifier: Apache-2.0
"""gsplat_msgs/SplatArray, byte for byte as rosbags writes it, whatever the alignment."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from igs_ros.core.scene import GaussianScene
from igs_ros.io.codec.splat_array import splat_array_bytes

SPLAT = """geometry_msgs/PoseWithCovarianceStamped pose
uint8 opacity
uint8 harmonics_deg
float32[] spherical_harmonics
"""
STORE = get_typestore(Stores.ROS2_JAZZY)
STORE.register({**get_types_from_msg(SPLAT, 'gsplat_msgs/msg/Splat'),
                **get_types_from_msg('gsplat_msgs/Splat[] splats', 'gsplat_msgs/msg/SplatArray')})
KIND = 'gsplat_msgs/msg/SplatArray'


def scene(count, degree, seed=0):
    random = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn((count, 4), generator=random), dim=1)
    return GaussianScene(torch.randn((count, 3), generator=random), quats,
                         torch.rand((count, 3), generator=random) + 0.01,
                         torch.rand(count, generator=random),
                         torch.randn((count, (degree + 1) ** 2, 3), generator=random))


def written_by_rosbags(one, stamp_ns, frame_id):
    """One message object after the other, with another formula for the covariance."""
    types = STORE.types
    head = types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](stamp_ns // 10 ** 9, stamp_ns % 10 ** 9),
        frame_id=frame_id)
    splats = []
    for row in range(len(one)):
        w, x, y, z = one.quats[row].double().tolist()
        pose = types['geometry_msgs/msg/Pose'](
            types['geometry_msgs/msg/Point'](*one.means[row].double().tolist()),
            types['geometry_msgs/msg/Quaternion'](x, y, z, w))
        covariance = types['geometry_msgs/msg/PoseWithCovariance'](pose, np.zeros(36))
        stamped = types['geometry_msgs/msg/PoseWithCovarianceStamped'](head, covariance)
        splats.append(types['gsplat_msgs/msg/Splat'](
            stamped, round(255 * float(one.opacities[row])), one.sh_degree,
            one.sh[row].numpy().reshape(-1)))
    return types[KIND](splats)


@settings(deadline=None, max_examples=40)
@given(count=st.integers(0, 4), degree=st.integers(0, 3), seed=st.integers(0, 99),
       frame_id=st.text(max_size=9).filter(lambda text: '\0' not in text),
       stamp_ns=st.integers(0, 2 ** 31 * 10 ** 9 - 1))
def test_the_bytes_are_those_of_rosbags(count, degree, seed, frame_id, stamp_ns):
    one = scene(count, degree, seed)
    ours = splat_array_bytes(one, stamp_ns, frame_id)
    read = STORE.deserialize_cdr(ours, KIND)
    message = written_by_rosbags(one, stamp_ns, frame_id)
    for splat, expected, row in zip(read.splats, message.splats, range(count), strict=True):
        w, x, y, z = one.quats[row].double().tolist()
        turn = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                         [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                         [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
        spread = np.zeros((6, 6))
        spread[:3, :3] = turn @ np.diag(one.scales[row].double().numpy() ** 2) @ turn.T
        found = splat.pose.pose.covariance
        assert np.allclose(found, spread.reshape(-1), rtol=1e-5, atol=1e-6)
        expected.pose.pose.covariance = found  # the rest is compared to the last bit
    assert ours == bytes(STORE.serialize_cdr(message, KIND))


@pytest.mark.parametrize('degree, size', [(0, 384), (3, 560)])
def test_the_size_of_one_more(degree, size):
    two, three = (len(splat_array_bytes(scene(count, degree), 1, 'map')) for count in (2, 3))
    assert three - two == size


def test_a_gray_opaque_one():
    one = GaussianScene(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]),
                        torch.tensor([[0.1, 0.2, 0.3]]), torch.ones(1), torch.zeros(1, 1, 3))
    splat, = STORE.deserialize_cdr(splat_array_bytes(one, 5_000_000_007, 'map'), KIND).splats
    assert (splat.opacity, splat.harmonics_deg, splat.pose.header.frame_id) == (255, 0, 'map')
    assert (splat.pose.header.stamp.sec, splat.pose.header.stamp.nanosec) == (5, 7)
    covariance = splat.pose.pose.covariance.reshape(6, 6)
    assert np.allclose(np.diag(covariance), [0.01, 0.04, 0.09, 0, 0, 0])
    assert splat.pose.pose.pose.orientation.w == 1.0
