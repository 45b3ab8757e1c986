# SPDX-License-Identifier: Apache-2.0
"""One GPU stream per thread, so that none waits in the queue of another; nothing on the CPU.

Never run on a GPU by its authors; tests run it on a device in host memory (docs/gpu.md).
"""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


class Stream:
    """The GPU stream of one thread.

    A thread that hands something over calls `finish` first. Memory then stays sound without
    events: what a thread reads, it holds until its own `finish`.

    Args:
        device: where to compute; on a CPU there is no stream, and nothing is done.
        urgent: its kernels go before those of others.
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
