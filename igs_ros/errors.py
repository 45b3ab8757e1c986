# SPDX-License-Identifier: Apache-2.0
"""What is raised on purpose: bad input at the border, and work called off."""


class InputError(ValueError):
    """Input from outside that cannot be used.

    The message names the topic, file or camera, what came, what was expected and what to do;
    it is meant to be shown to a person as it is.
    """


class Cancelled(Exception):
    """Work that nobody wants any more: the caller asked for it to stop."""
