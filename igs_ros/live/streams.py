# SPDX-License-Identifier: Apache-2.0
"""One GPU stream per clock, so that none waits in the queue of another; nothing on the CPU.

Never run on a GPU by its authors; tests run it on a device in host memory (docs/gpu.md).
"""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


class Stream:
    """The GPU stream of one clock; urgent: its kernels go before those of others.

    A clock that hands something over calls `finish` first. Memory then stays sound without
    events: what a clock reads, it holds until its own `finish`.
    """

    def __init__(self, device: torch.device, urgent: bool):
        self._stream = torch.cuda.Stream(device, priority=-1 if urgent else 0) \
            if device.type == 'cuda' else None

    def current(self) -> AbstractContextManager:
        """Within the block, work of this thread goes to this stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def finish(self) -> None:
        """Wait for the work that was given to this stream."""
        if self._stream is not None:
            self._stream.synchronize()
