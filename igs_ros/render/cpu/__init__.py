# SPDX-License-Identifier: Apache-2.0
"""The rasterizer that runs without a GPU: compiled loops over tiles, forward and backward."""
