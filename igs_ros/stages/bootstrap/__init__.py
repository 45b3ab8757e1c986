# SPDX-License-Identifier: Apache-2.0
"""The first scene, from depth, sparse points, pictures alone, or a PLY."""
