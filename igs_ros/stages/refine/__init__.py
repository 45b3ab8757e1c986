# SPDX-License-Identifier: Apache-2.0
"""Key-frame refinement: the moved scene becomes a key that fits the newest pictures.

What changed is found by comparing the pictures with those that the key was last fitted to, and by
asking motion (selection.py). What is wrong is found by comparing the pictures with the rendering:
there Gaussians are born from stereo, and old ones fade (births.py). Only what changed or is wrong
is then optimized, in the tiles that show it (optimize.py).
"""
