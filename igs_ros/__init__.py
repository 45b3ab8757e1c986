# SPDX-License-Identifier: Apache-2.0
"""A live, moving 3D Gaussian scene from calibrated cameras.

`igs_ros.msg` is generated when the package is built; everything else lies in this folder.
"""
import os
from pkgutil import extend_path

# OpenCV reads it when it is first imported. A backstop of 16384 x 16384 px: pictures are held
# against their calibration before they are decoded.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(16384 ** 2))

__version__ = '0.1.0'  # that of package.xml (tested); colcon installs no other metadata

# A checkout on sys.path still finds the igs_ros.msg of the installed copy.
__path__ = extend_path(__path__, __name__)
