# SPDX-License-Identifier: Apache-2.0
"""AGM-Net, the published anchor-driven motion network of Instant Gaussian Stream.

    pictures -> flow.py (GMFlow backbone, block fine-tuned to motion) -> up-sampling
             -> modulation.py (camera and depth) -> lift.py (onto anchors)
             -> anchors.py (transformer) -> decode.py (neighbors, motion, quaternion update)

net.py holds the network, weights.py its files, model.py what the pipeline calls. Facts, numbers
and file layout: reference/igs_reference.md sections 0 to 2 and 7; the code is our own. Modules
bear the published names, so that published files load strictly.
"""
