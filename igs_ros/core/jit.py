# SPDX-License-Identifier: Apache-2.0
"""numba's `njit` for all kernels of the package: one that always has a place to keep them.

numba keeps compiled kernels beside the sources, or in the user's cache folder, and gives up where
neither can be written (containers). A kept kernel is code that is run: whatever takes the place of
these folders must be writable by nobody else.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, overload

import numba
from numba.core import config, event

from igs_ros.core.files import private_folder
from igs_ros.core.logs import log_once

_LOG = logging.getLogger(__name__)
_NO_PLACE = 'cannot cache function'  # how numba's RuntimeError begins
_F = TypeVar('_F', bound=Callable)
COMPILING = 'compiling kernels (once, about 30 s)'
_hearing: list[Callable[[], None]] = []


@overload
def njit(function: _F, /) -> _F: ...
@overload
def njit(**options: Any) -> Callable[[_F], _F]: ...
def njit(*functions: _F, **options: Any) -> _F | Callable[[_F], _F]:
    """`numba.njit`; without a writable place for `cache=True`, kernels go to a private folder.

    Args:
        functions: none, or the one to compile.
        options: of `numba.njit`.
    """
    def compiled(function: _F) -> _F:
        try:
            kernel: Any = numba.njit(**options)(function)
        except RuntimeError as error:
            if not str(error).startswith(_NO_PLACE):
                raise
            options.update(cache=_use_private_folder())
            kernel = numba.njit(**options)(function)
        return kernel  # called as the function it is made from
    return compiled(*functions) if functions else compiled


@contextmanager
def on_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block, `tell` is called whenever numba compiles a kernel instead of loading it.

    It is called in the thread that compiles, before it does.
    """
    _hearing.append(tell)
    try:
        yield
    finally:
        _hearing.remove(tell)


@cache
def _use_private_folder() -> bool:
    """Have numba keep kernels there, in processes that this one starts, too; whether it can."""
    given = os.environ.get('NUMBA_CACHE_DIR')
    reason = f'NUMBA_CACHE_DIR={given}, the package and the cache of this user' if given else \
        'the package and the cache of this user'
    folder = private_folder('igs_ros-numba')
    if folder is None:
        _LOG.warning('kernels are compiled anew in every process: %s cannot be written, nor a '
                     'private folder for temporary files; set NUMBA_CACHE_DIR to a writable '
                     'folder', reason)
        return False
    os.environ['NUMBA_CACHE_DIR'] = str(folder)
    config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue]  numba sets them by name
    _LOG.warning('compiled kernels are kept in %s: %s cannot be written; NUMBA_CACHE_DIR names '
                 'another place', folder, reason)
    return True


class _Compiles(event.Listener):
    """Hears that numba compiles."""

    def on_start(self, event: event.Event) -> None:
        log_once(_LOG, logging.INFO, COMPILING)
        for tell in tuple(_hearing):
            tell()

    def on_end(self, event: event.Event) -> None:
        """Nothing to tell."""


event.register('numba:compile', _Compiles())
