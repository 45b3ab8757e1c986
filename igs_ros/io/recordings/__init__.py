# SPDX-License-Identifier: Apache-2.0
"""Recordings on disk: open.py picks the reader by what lies in the folder.

Layouts, in the order in which they are looked for (docs/recordings.md): `rig.json`, N3DV
(`poses_bounds.npy` and `camNN.mp4`), COLMAP (`sparse/0/cameras.bin` and `images`).
"""
