# SPDX-License-Identifier: Apache-2.0
"""The network as it is run: at which precision, compiled or not, on how many threads.

Training does not pass through here.
"""
from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from igs_ros.core.timing import span
from igs_ros.stages.motion.agm.decode import neighbor_weights
from igs_ros.stages.motion.agm.flow import STRIDE
from igs_ros.stages.motion.agm.inputs import AgmSizes
from igs_ros.stages.motion.agm.net import AgmNet, Key, RigTensors, Ties
from igs_ros.stages.motion.models import PRECISIONS

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Parts:
    """The parts of the network that may be compiled; as the methods of `AgmNet`."""

    flow: Callable[[Key, Tensor], Tensor]
    exchange: Callable[[Tensor], Tensor]
    decode: Callable[[Key, Tensor], tuple[Tensor, Tensor]]


class Forward:
    """`AgmNet.forward` for inference; `compile_for` makes it faster after a while of compiling.

    Args:
        net: with its weights, on the device where it is to run.
        precision: a name of `PRECISIONS`; what is learned is computed in it.
        threads: of torch, on a CPU.
    """

    def __init__(self, net: AgmNet, precision: str = 'float32', threads: int = 1):
        net.reduced = PRECISIONS[precision]
        self.net = net
        self.compiled = False
        self._parts = _Parts(net.motion_maps, net.exchange, net.decode)
        on_cpu = net.upsample.weight.device.type == 'cpu'
        self._worker = _thread_with(threads) if on_cpu and threads != torch.get_num_threads() \
            else None

    def compile_for(self, views: int, sizes: AgmSizes) -> None:
        """Compile the network for so many views; what the sizes leave open stays open.

        Where that fails, the reason is logged and the network runs as it is.
        """
        _LOG.info('agm: compiling the network, which takes some minutes once')
        start, plain = time.perf_counter(), self._parts
        self._parts = _Parts(torch.compile(plain.flow), torch.compile(plain.exchange),
                             torch.compile(plain.decode))
        try:
            # one and two targets; another number of anchors and Gaussians leaves these open
            for targets, anchors in ((1, sizes.anchors), (2, max(1, sizes.anchors // 2))):
                self(*dummy_inputs(self.net, views, anchors, 4 * anchors, targets, sizes))
        except Exception as error:  # of many kinds: no compiler, an unknown device, a bug of torch
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            _LOG.warning('agm: torch.compile failed, the network runs uncompiled: %s', reason)
            self._parts = plain
        else:
            self.compiled = True
            _LOG.info('agm: compiled in %.0f s', time.perf_counter() - start)

    def key(self, images: Tensor, depth: Tensor, rig: RigTensors, ties: Ties) -> Key:
        """See `AgmNet.key`.

        Args:
            images: [V, 3, S, S] sRGB 0..1, the squeezed pictures of the key.
            depth: [V, Hd, Wd] m, 0 = nothing there.
            rig: the V views.
            ties: which anchors move which Gaussians.
        """
        return self._run(self.net.key, images, depth, rig, ties)

    def __call__(self, key: Key, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `AgmNet.forward`."""
        with span('flow'):
            maps = self._run(self._parts.flow, key, targets)
        with span('lift'):
            features = self._run(self.net.lift, key, maps)
        with span('transformer'):
            features = self._run(self._parts.exchange, features)
        with span('decode'):
            return self._run(self._parts.decode, key, features)

    def _run(self, part: Callable, *arguments):
        call = torch.no_grad()(part)
        return call(*arguments) if self._worker is None else \
            self._worker.submit(call, *arguments).result()


@lru_cache(maxsize=1)  # a scene that starts anew must not wait for the compiler again
def shared_forward(net: AgmNet, precision: str, threads: int,
                   compiled_for: tuple[int, AgmSizes] | None) -> Forward:
    """A `Forward`, the same as long as nothing else is asked for.

    Args:
        net: see `Forward`.
        precision: see `Forward`.
        threads: see `Forward`.
        compiled_for: arguments of `Forward.compile_for`; None: not compiled.
    """
    forward = Forward(net, precision, threads)
    if compiled_for is not None:
        forward.compile_for(*compiled_for)
    return forward


def _thread_with(threads: int) -> ThreadPoolExecutor:
    """One thread for which torch computes on so many threads.

    OpenMP keeps the number by calling thread, and torch the newest for threads to come: set in
    the thread of the caller, it would reach others that use torch for the first time meanwhile.
    """
    before = torch.get_num_threads()
    worker = ThreadPoolExecutor(1, 'agm', torch.set_num_threads, (threads,))
    worker.submit(torch.get_num_threads).result()
    torch.set_num_threads(before)
    return worker


@torch.no_grad()
def dummy_inputs(net: AgmNet, views: int, anchors: int, gaussians: int, targets: int,
                 sizes: AgmSizes) -> tuple[Key, Tensor]:
    """A key and pictures [targets, views, 3, S, S] of noise, for timing and compiling; seeded.

    The views stand side by side and look along +z at points 2 to 4 m away.

    Args:
        net: makes the key; tensors have its device and dtype.
        views: how many.
        anchors: how many, not more than `gaussians`.
        gaussians: that the anchors move.
        targets: how many instants.
        sizes: of the pictures, and neighbors of each Gaussian.
    """
    like, generator = net.upsample.weight, torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(like)
    size = sizes.picture
    poses = torch.eye(4).repeat(views, 1, 1)
    poses[:, 0, 3] = torch.linspace(-0.5, 0.5, views)
    points = 2 * random(gaussians, 3) + like.new_tensor((-1.0, -1.0, 2.0))
    indices = (random(gaussians, min(sizes.neighbors, anchors)) * anchors).long()
    ties = Ties(points[:anchors], indices.clamp_max(anchors - 1),
                neighbor_weights(random(*indices.shape)))
    rig = RigTensors(like.new_tensor((1.0, 1.0, 0.5, 0.5)).repeat(views, 1), poses.to(like))
    map_size = 2 * size // STRIDE
    key = net.key(random(views, 3, size, size), 2 + 2 * random(views, map_size, map_size), rig,
                  ties)
    return key, random(targets, views, 3, size, size)
