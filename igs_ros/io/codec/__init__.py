# SPDX-License-Identifier: Apache-2.0
"""Bytes and arrays for state messages and files; no ROS inside."""
