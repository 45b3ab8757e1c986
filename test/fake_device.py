# SPDX-License-Identifier: Apache-2.0
"""The state of the device of fake_cuda.py: its streams, and what was counted."""
from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakSet

import torch

CUDA = torch.device('cuda', 0)
_PACKAGE = str(Path(__file__).resolve().parents[1] / 'igs_ros')


@dataclass
class Costs:
    """What was counted; by 'operation file:line' of the package, so that a failure says where."""

    waits: Counter = field(default_factory=Counter)  # the host waited for the device
    uploads: Counter = field(default_factory=Counter)  # copies to it
    downloads: Counter = field(default_factory=Counter)  # and back

    def own_waits(self) -> int:
        """Without gsplat's own, of which there are two per picture."""
        return self.waits.total() - sum(
            number for what, number in self.waits.items()
            if 'gsplat_rasterizer' in what and not what.startswith('copy'))

    def __str__(self) -> str:
        return '\n'.join(f'{number} x {kind} {where}' for kind in ('waits', 'uploads', 'downloads')
                         for where, number in getattr(self, kind).items()) or 'nothing'


class Stream:
    """What is to be known of a `torch.cuda.Stream`: how much it was given and has finished."""

    def __init__(self, device=None, priority: int = 0):
        assert device is None or torch.device(device).type == 'cuda', device
        self.device, self.priority = CUDA, priority
        self.given = self.finished = 0
        _streams.add(self)

    def synchronize(self) -> None:
        DEVICE.count('waits', 'Stream.synchronize')
        self.finished = self.given


@dataclass
class Written:
    """When the memory of some tensors, which are views of each other, was last written."""

    stream: Stream
    number: int


class Device:
    """The one device; for tests: `counted`."""

    device = CUDA

    def __init__(self):
        self._default = Stream()
        self._local = threading.local()
        self._counting: list[Costs] = []
        self._lock = threading.Lock()

    @contextmanager
    def counted(self) -> Iterator[Costs]:
        """What all threads cost within the block."""
        costs = Costs()
        self._counting.append(costs)
        try:
            yield costs
        finally:
            self._counting = [one for one in self._counting if one is not costs]

    @property
    def stream(self) -> Stream:
        """The one that this thread gives work to."""
        return getattr(self._local, 'stream', self._default)

    @contextmanager
    def use(self, stream: Stream | None) -> Iterator[None]:
        """`torch.cuda.stream`."""
        before = self.stream
        self._local.stream = stream or before
        try:
            yield
        finally:
            self._local.stream = before

    def read(self, tensors) -> None:
        """The next operation on this stream reads `tensors`: all of them have to be there."""
        stream = self.stream
        stream.given += 1
        for tensor in tensors:
            written = tensor.written
            if written.stream is not stream and written.number > written.stream.finished:
                raise RuntimeError('a stream reads what another one may still be writing: '
                                   'synchronize that one first')

    def wait(self, what: str) -> None:
        """The host waits until this stream has finished."""
        self.count('waits', what)
        self.stream.finished = self.stream.given

    def synchronize(self, device=None) -> None:
        """`torch.cuda.synchronize`."""
        self.count('waits', 'torch.cuda.synchronize')
        self.finish_all()

    @staticmethod
    def finish_all() -> None:
        for stream in tuple(_streams):
            stream.finished = stream.given

    def count(self, kind: str, what: str) -> None:
        """Count for everybody who does; kind: a field of `Costs`."""
        frame = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
            frame = frame.f_back
        if frame is not None:
            what = f'{what} {frame.f_code.co_filename[len(_PACKAGE) + 1:]}:{frame.f_lineno}'
        with self._lock:
            for costs in self._counting:
                getattr(costs, kind)[what] += 1


_streams: WeakSet[Stream] = WeakSet()
DEVICE = Device()
