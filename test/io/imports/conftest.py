# SPDX-License-Identifier: Apache-2.0
"""Makes `rig_files`, shared by the tests of this folder, importable."""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / 'recordings')]
