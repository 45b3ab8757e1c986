# SPDX-License-Identifier: Apache-2.0
"""Motion models: they move a key scene to a newer frame set (models.py is the interface)."""
