# SPDX-License-Identifier: Apache-2.0
"""Runs over whole recordings, with scores."""
