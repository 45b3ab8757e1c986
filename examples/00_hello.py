# SPDX-License-Identifier: Apache-2.0
"""A recording in, a picture out: python examples/00_hello.py (writes hello.png)."""
from PIL import Image

import igs_ros

recording = igs_ros.open_recording('recordings/workbench')
config = igs_ros.Config.of({'width': 160, 'bootstrap.iterations': 100})
first = next(igs_ros.reconstruct(recording, config))
view = igs_ros.render_scene(first.snapshot.scene, recording.cameras['cam02'].resized(160))
Image.fromarray((255 * view.rgb).astype('uint8')).save('hello.png')
print(f'{len(first.snapshot.scene)} Gaussians, seen by a camera that they were not made from')
