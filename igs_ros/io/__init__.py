# SPDX-License-Identifier: Apache-2.0
"""Bytes in, bytes out: pictures, recordings, scenes, messages, results."""
