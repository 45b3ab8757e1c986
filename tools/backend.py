# SPDX-License-Identifier: Apache-2.0
"""setuptools as the build backend, asked for what this machine's build needs, and early."""
import preflight
from setuptools.build_meta import *  # noqa: F403


def get_requires_for_build_wheel(config_settings=None):
    """The hook of PEP 517."""
    preflight.check()
    return preflight.requirements()
