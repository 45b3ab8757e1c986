# SPDX-License-Identifier: Apache-2.0
"""Bags written for tests, as `ros2 bag record` writes them, by rosbags."""
import cv2
import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from igs_ros.io.recordings.bag_file import typestore

START_NS = 1_700_000_000_000_000_000
FRAME_NS = 33_333_333
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3


def message(name, **fields):
    """A message of sensor_msgs or another package, 'sensor_msgs/Image'."""
    return typestore().types[name.replace('/', '/msg/')](**fields)


def stamped(stamp_ns, frame_id=''):
    seconds, rest = divmod(stamp_ns, 10 ** 9)
    return message('std_msgs/Header', frame_id=frame_id,
                   stamp=message('builtin_interfaces/Time', sec=seconds, nanosec=rest))


def png(rgb, head, encoding='rgb8'):
    data = cv2.imencode('.png', rgb[..., ::-1])[1]
    return message('sensor_msgs/CompressedImage', header=head, data=data.ravel(),
                   format=f'{encoding}; png compressed bgr8')


def raw(rgb, head, encoding='rgb8'):
    return message('sensor_msgs/Image', header=head, height=rgb.shape[0], width=rgb.shape[1],
                   encoding=encoding, is_bigendian=0, step=rgb.strides[0],
                   data=np.ascontiguousarray(rgb).ravel())


def depth_image(depth, head):
    """[H, W] uint16 mm, or float32 m."""
    encoding = {'uint16': '16UC1', 'float32': '32FC1'}[depth.dtype.name]
    return message('sensor_msgs/Image', header=head, height=depth.shape[0], width=depth.shape[1],
                   encoding=encoding, is_bigendian=0, step=depth.strides[0],
                   data=np.ascontiguousarray(depth).view(np.uint8).ravel())


def compressed_depth(depth, head):
    """[H, W] uint16 mm, by compressed_depth_image_transport."""
    data = np.concatenate([np.zeros(12, np.uint8), cv2.imencode('.png', depth)[1].ravel()])
    return message('sensor_msgs/CompressedImage', header=head, data=data,
                   format='16UC1; compressedDepth png')


def info(camera, head, **changes):
    """The CameraInfo of a `core.camera.Camera`."""
    K = camera.opencv_K
    roi = message('sensor_msgs/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0,
                  do_rectify=False)
    fields = {'height': camera.height, 'width': camera.width, 'distortion_model': camera.lens,
              'd': camera.distortion, 'k': K.ravel(), 'r': np.eye(3).ravel(),
              'p': np.hstack([K, np.zeros((3, 1))]).ravel(), 'binning_x': 0, 'binning_y': 0,
              'roi': roi}
    return message('sensor_msgs/CameraInfo', header=head, **{**fields, **changes})


def transform(parent, child, matrix, stamp_ns=0):
    """parent_from_child [4, 4] as a TransformStamped."""
    from scipy.spatial.transform import Rotation
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    at = message('geometry_msgs/Vector3', x=matrix[0, 3], y=matrix[1, 3], z=matrix[2, 3])
    turn = message('geometry_msgs/Quaternion', x=x, y=y, z=z, w=w)
    return message('geometry_msgs/TransformStamped', header=stamped(stamp_ns, parent),
                   child_frame_id=child, transform=message(
                       'geometry_msgs/Transform', translation=at, rotation=turn))


def tf(*transforms):
    return message('tf2_msgs/TFMessage', transforms=list(transforms))


def qos(latched=False):
    return Qos(QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
               QosTime(9223372036, 854775807), QosTime(9223372036, 854775807),
               QosLiveliness.AUTOMATIC, QosTime(9223372036, 854775807), False)


def write_bag(folder, messages, storage=MCAP, extra=(), instead=None):
    """messages: (topic, time of recording in ns, message) in any order.

    extra: (topic, time of recording, type, its definition) of messages that are only a header;
    instead: bytes of all messages of a topic.
    """
    store, connections = typestore(), {}
    with Writer(folder, version=9, storage_plugin=storage) as bag:
        for topic, log_ns, kind, definition in extra:
            own = get_typestore(Stores.ROS2_KILTED)
            own.register(definition)
            connection = bag.add_connection(topic, kind, typestore=own)
            bag.write(connection, log_ns, own.serialize_cdr(own.types[kind](stamped(0)), kind))
        for topic, log_ns, content in sorted(messages, key=lambda item: item[1]):
            kind = content.__msgtype__
            if topic not in connections:
                connections[topic] = bag.add_connection(
                    topic, kind, typestore=store,
                    offered_qos_profiles=[qos(topic.endswith('tf_static'))])
            data = (instead or {}).get(topic) or store.serialize_cdr(content, kind)
            bag.write(connections[topic], log_ns, data)
    return folder


def camera_messages(cameras, pictures, late_ns=5_000_000, make=png, infos=True):
    """What drivers publish.

    cameras: `core.camera.Camera` by name; pictures: (name, stamp in ns, rgb), in any order.
    """
    told = set()
    for name, stamp_ns, rgb in pictures:
        head = stamped(stamp_ns, f'{name}_optical_frame')
        topic = f'/{name}/image_raw' + ('/compressed' if make is png else '')
        yield topic, stamp_ns + late_ns, make(rgb, head)
        if infos and name not in told:
            told.add(name)
            yield f'/{name}/camera_info', stamp_ns + late_ns, info(cameras[name], head)


def static_transforms(cameras, world='map', at_ns=START_NS):
    """One /tf_static message with the poses of `cameras`."""
    return '/tf_static', at_ns, tf(*(
        transform(world, f'{name}_optical_frame', np.linalg.inv(camera.camera_from_world))
        for name, camera in cameras.items()))
