# SPDX-License-Identifier: Apache-2.0
"""What is raised on purpose: bad input at the border, and work called off."""
import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 16
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


class InputError(ValueError):
    """Input from outside that cannot be used.

    The message names the topic, file or camera, what came, what was expected and what to do;
    it is meant to be shown to a person as it is.
    """


class OutputError(InputError):
    """A file that cannot be written: the message names it, what the system said, what to do."""


class DamagedPicture(InputError):
    """A JPEG or PNG file of which bytes are missing or wrong."""


class Cancelled(Exception):
    """Work that nobody wants any more: the caller asked for it to stop."""


def shown(value: object) -> str:
    """`value` as a message shows it: one short line, however long or deeply nested it is."""
    return _SHORT.repr(value)


def error_line(error: BaseException) -> str:
    """What an error of a library says, as one short line inside a message."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return ''.join(c if c.isprintable() else '?' for c in text)[:300]
