# SPDX-License-Identifier: Apache-2.0
"""The one exception that bad input raises at the border."""


class InputError(ValueError):
    """Input from outside that cannot be used.

    The message names the topic, file or camera, what came, what was expected and what to do;
    it is meant to be shown to a person as it is.
    """
