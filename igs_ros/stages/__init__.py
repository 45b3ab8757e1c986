# SPDX-License-Identifier: Apache-2.0
"""The steps of a reconstruction: first scene, motion, refinement, and what joins them."""
