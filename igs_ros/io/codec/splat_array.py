# SPDX-License-Identifier: Apache-2.0
"""A scene as the bytes of gsplat_msgs/SplatArray, which the RViz display of RVizSplat shows.

The message is an array of messages, one for each Gaussian: 100,000 of them take 4 s of CPU through
rclpy's setters. Serialized (CDR, little-endian) they are a table, which numpy fills in 0.1 s.

RVizSplat/RVizSplat 30311c5 on GitHub has the definition (since then in splat_interfaces), a1b4766
the display that reads it: `opacity` 0..255 is alpha, the upper left 3x3 of the covariance is in
m^2, spherical harmonics are coefficient-major, DC first, of one degree for all.
"""
from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from igs_ros.core.scene import GaussianScene

SPLAT_ARRAY_FIELDS = {'splats': 'sequence<gsplat_msgs/Splat>'}
SPLAT_FIELDS = {'pose': 'geometry_msgs/PoseWithCovarianceStamped', 'opacity': 'uint8',
                'harmonics_deg': 'uint8', 'spherical_harmonics': 'sequence<float>'}
"""What this file writes, as rosidl names the types of the fields."""
_HEAD = bytes((0, 1, 0, 0))  # encapsulation: plain CDR, little-endian; alignment counts behind it


def splat_array_bytes(scene: GaussianScene, stamp_ns: int, frame_id: str) -> bytes:
    """The serialized message.

    Args:
        scene: what to write; degrees above 3 do not exist.
        stamp_ns: of the frame set that it shows, >= 0.
        frame_id: the world frame; the display shows the Gaussians in its own fixed frame.
    """
    count, terms = len(scene), scene.sh.shape[1]
    data = bytearray(_HEAD + count.to_bytes(4, 'little'))
    if not count:
        return bytes(data)
    # only the first one may begin off the boundary of 8 bytes at which the others begin
    first = _row(4, frame_id, terms)
    rest = _row((4 + first.itemsize) % 8, frame_id, terms)
    data += bytes(first.itemsize + (count - 1) * rest.itemsize)
    start = len(_HEAD) + 4
    values = _values(scene, stamp_ns, frame_id)
    for row, rows, at in ((first, slice(0, 1), start),
                          (rest, slice(1, count), start + first.itemsize)):
        table = np.frombuffer(data, row, len(range(count)[rows]), at)
        for name, value in values.items():
            table[name] = value[rows] if isinstance(value, np.ndarray) else value
    return bytes(data)


def _row(start: int, frame_id: str, terms: int) -> np.dtype:
    """One Splat that begins `start` bytes behind a boundary of 8."""
    frame = len(frame_id.encode()) + 1
    fields = {'sec': '<i4', 'nanosec': '<u4', 'frame_length': '<u4', 'frame_id': f'S{frame}',
              'position': '<3f8', 'orientation': '<4f8', 'covariance': '<(6,6)f8',
              'opacity': 'u1', 'harmonics_deg': 'u1', 'harmonics_length': '<u4',
              'harmonics': f'<({terms},3)f4'}
    at, offsets = start, []
    for kind in map(np.dtype, fields.values()):
        at += -at % (1 if kind.kind == 'S' else kind.base.itemsize)
        offsets.append(at - start)
        at += kind.itemsize
    return np.dtype({'names': list(fields), 'formats': list(fields.values()),
                     'offsets': offsets, 'itemsize': at - start})


def _values(scene: GaussianScene, stamp_ns: int, frame_id: str) -> dict[str, np.ndarray | int]:
    """By field of a row; arrays have one entry for each Gaussian."""
    def array(tensor) -> np.ndarray:
        return tensor.detach().cpu().numpy()
    quats = np.roll(array(scene.quats).astype(np.float64), -1, 1)  # wxyz -> xyzw
    turned = Rotation.from_quat(quats).as_matrix() * array(scene.scales)[:, None, :]
    covariance = np.zeros((len(scene), 6, 6))
    covariance[:, :3, :3] = turned @ turned.transpose(0, 2, 1)
    seconds, nanoseconds = divmod(stamp_ns, 10 ** 9)
    frame = np.full(len(scene), frame_id.encode())  # numpy fills up with zeros: CDR's last byte
    return {'sec': seconds, 'nanosec': nanoseconds, 'frame_id': frame,
            'frame_length': len(frame_id.encode()) + 1, 'position': array(scene.means),
            'orientation': quats, 'covariance': covariance,
            'opacity': np.rint(255 * array(scene.opacities)).astype(np.uint8),
            'harmonics_deg': scene.sh_degree, 'harmonics_length': 3 * scene.sh.shape[1],
            'harmonics': array(scene.sh)}
