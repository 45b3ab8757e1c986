# SPDX-License-Identifier: Apache-2.0
"""From pictures to geometry: what moved, what changed, how far, what is visible."""
