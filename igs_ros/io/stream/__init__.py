# SPDX-License-Identifier: Apache-2.0
"""The scene as a stream of few bytes: packets I, K and P (docs/stream_format.md)."""
