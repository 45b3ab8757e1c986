# SPDX-License-Identifier: Apache-2.0
"""Calibrations of other tools, with their pictures, made recordings: `igs import`.

`formats.py` has the table; each reader ends in a `FoundRig`, in the conventions of its file.
"""
