# SPDX-License-Identifier: Apache-2.0
"""Draw Gaussians and differentiate the drawing."""
