# SPDX-License-Identifier: Apache-2.0
"""The ROS edge: the only folder that imports rclpy."""
