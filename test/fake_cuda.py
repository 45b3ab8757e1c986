# SPDX-License-Identifier: Apache-2.0
"""A CUDA device in host memory: refuses what a GPU refuses, and counts what a GPU waits for.

Within `fake_cuda()` torch has one CUDA device. Its tensors say `cuda:0` and may not be mixed with
those of the host, but their numbers lie in host memory, where every operation computes them, with
autograd. It is no model of speed, of the order of sums, or of reduced precision; a gradient on
the wrong device is refused where it is used, not by autograd.

How: `DeviceTensor` is a tensor subclass that torch hands every operation to. For torch's C++ code
it is on the device type `lazy`, which nobody uses and which a CPU build has device guards for, as
it has none for CUDA; for Python it is on CUDA. Tensors that torch makes there (torch.zeros, the
zeros of autograd) begin with `empty`, which is registered here for both.
"""
from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from fake_device import CUDA, DEVICE, Device, Stream, Written
from torch.utils._pytree import tree_leaves, tree_map

_CPP = torch.device('lazy', 0)
NAME = 'a CUDA device in host memory'
_INDEXING = ('aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_',
             'aten::_unsafe_index', 'aten::_unsafe_index_put')
# take a CPU tensor without dimensions, as pointwise operations do
_SCALAR_TOO = ('aten::fill', 'aten::fill_', 'aten::masked_fill', 'aten::masked_fill_')
# wait for the device, beyond those whose result, or its shape, torch says to hang on the data
_WAITING = ('aten::_linalg_check_errors', 'aten::is_nonzero')
_DATA_DEPENDENT = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
# make tensors, or resize those that `empty` made
_FACTORIES = ('empty.memory_format', 'empty_strided', 'arange', 'arange.start',
              'arange.start_step', 'eye', 'eye.m')
_RESHAPING = ('aten::resize_', 'aten::set_', 'aten::t_', 'aten::transpose_', 'aten::squeeze_',
              'aten::unsqueeze_')


class DeviceTensor(torch.Tensor):
    """A tensor of the device; `host` is where its numbers are."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)

    @staticmethod
    def __new__(cls, host: torch.Tensor, written: Written | None = None):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(),
            dtype=host.dtype, layout=host.layout, device=_CPP)
        tensor.host = host
        tensor.written = written or Written(DEVICE.stream, DEVICE.stream.given)
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __repr__(self, **_):
        return f'{self.host!r} on cuda:0'

    def numpy(self, **_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to "
                        'copy the tensor to host memory first.')

    def tolist(self):
        return self.cpu().tolist()

    def new_tensor(self, data, *, dtype=None, device=CUDA):
        return torch.tensor(data, dtype=dtype or self.dtype, device=device)

    def __setitem__(self, index, value):
        if isinstance(value, (bool, int, float)):  # torch makes a CPU scalar of it, for CUDA only
            value = torch.tensor(value, dtype=self.dtype)
        super().__setitem__(index, value)


def kernel(inputs: list[DeviceTensor], outputs: list[torch.Tensor], wait: str = ''
           ) -> list[DeviceTensor]:
    """For stand-ins of compiled kernels: `outputs` on the device, computed of `inputs`."""
    DEVICE.read(inputs)
    made = [DeviceTensor(output) for output in outputs]
    if wait:
        DEVICE.wait(wait)
    return made


def _run(func, args, kwargs):
    """One operation with at least one tensor of the device."""
    name, tensors = func._schema.name, _tensors((args, kwargs))
    if name in _RESHAPING:
        raise NotImplementedError(f'{name} on {NAME}')
    _check_devices(func, name, args, tensors)
    _check_generator(kwargs)
    ours = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    DEVICE.read([one for one in ours if not (name == 'aten::copy_' and one is args[0])])
    _count_costs(func, name, args, kwargs)
    to_host = name == 'aten::_to_copy' and _is_host(kwargs.get('device')) or \
        name != 'aten::_to_copy' and _is_host(kwargs.get('device', CUDA))
    kwargs = {key: value for key, value in kwargs.items() if key != 'non_blocking'} | (
        {'device': torch.device('cpu')} if 'device' in kwargs else {})
    made = func(*tree_map(_host, args), **tree_map(_host, kwargs))
    return _returned(func, args, kwargs, made, ours, to_host)


def _returned(func, args, kwargs, made, ours, to_host):
    """What an operation made, on the device, where inputs are returned as they are."""
    known = {id(tensor.host): tensor for tensor in ours}
    memory = {_memory(tensor.host): tensor.written for tensor in ours}
    for argument, value in _arguments(func, args, kwargs):
        if argument.alias_info is not None and argument.alias_info.is_write:
            for tensor in _tensors(value):
                if isinstance(tensor, DeviceTensor):
                    assert tensor.shape == tensor.host.shape, f'{func} changed a shape'
                    tensor.written.stream = DEVICE.stream
                    tensor.written.number = DEVICE.stream.given
    def wrapped(value):
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in known:
            return known[id(value)]
        return value if to_host else DeviceTensor(value, memory.get(_memory(value)))
    return args[0] if func._schema.name == 'aten::copy_' else tree_map(wrapped, made)


def _check_devices(func, name, args, tensors) -> None:
    """Raises RuntimeError where CUDA does."""
    if name in ('aten::copy_', 'aten::_to_copy'):
        return
    if name in _INDEXING:
        if not isinstance(args[0], DeviceTensor):
            raise RuntimeError('indices should be either on cpu or on the same device as the '
                               'indexed tensor (cpu)')
        tensors = _tensors([value for position, value in enumerate(args) if position != 1])
    for argument, value in _arguments(func, args, {}):
        if argument.alias_info is not None and argument.alias_info.is_write:
            _refuse([one for one in _tensors(value) if not isinstance(one, DeviceTensor)], name)
    lenient = torch.Tag.pointwise in func.tags or name in (*_INDEXING, *_SCALAR_TOO)
    _refuse([tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)
             and not (lenient and tensor.dim() == 0)], name)


def _refuse(strangers, name) -> None:
    if strangers:
        raise RuntimeError(f'Expected all tensors to be on the same device, but found at least '
                           f'two devices, cuda:0 and cpu! ({name})')


def _check_generator(kwargs) -> None:
    generator = kwargs.get('generator')
    if generator is not None:
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found "
                           f"'{generator.device.type}'")


def _count_costs(func, name, args, kwargs) -> None:
    if name in ('aten::copy_', 'aten::_to_copy'):
        _count_copy(name, args, kwargs)
    elif name in _INDEXING:
        indices = [one for one in tree_leaves(args[1]) if isinstance(one, torch.Tensor)]
        for one in indices:
            if not isinstance(one, DeviceTensor):
                _moved('uploads', one, 'index')
        value = args[2] if len(args) > 2 else None
        filled = len(indices) == 1 and value is not None and value.numel() == 1 \
            and not isinstance(value, DeviceTensor)
        masks = [one for one in indices if one.dtype in (torch.bool, torch.uint8)]
        if masks and not filled:
            DEVICE.wait(f'{name} by a mask')
        elif value is not None and not isinstance(value, DeviceTensor) and not masks:
            _moved('uploads', value, 'value')
    elif any(tag in func.tags for tag in _DATA_DEPENDENT) or name in _WAITING:
        DEVICE.wait(name)


def _count_copy(name, args, kwargs) -> None:
    blocking = not kwargs.get('non_blocking', len(args) > 2 and args[2])
    if name == 'aten::_to_copy':
        if _is_host(kwargs.get('device')):
            _moved('downloads', args[0], 'copy', blocking)
    elif not isinstance(args[1], DeviceTensor):
        _moved('uploads', args[1], 'copy', blocking)
    elif not isinstance(args[0], DeviceTensor):
        _moved('downloads', args[1], 'copy', blocking)


def _moved(kind, tensor, what, blocking=True) -> None:
    if tensor.numel():
        DEVICE.count(kind, what)
        if blocking:  # from memory that is not pinned, as all of ours
            DEVICE.wait(what)


def _is_host(device) -> bool:
    return device is not None and torch.device(device).type == 'cpu'


def _host(value):
    return value.host if isinstance(value, DeviceTensor) else value


def _tensors(values) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _memory(host: torch.Tensor) -> int:
    return host.untyped_storage()._cdata


def _arguments(func, args, kwargs):
    for position, argument in enumerate(func._schema.arguments):
        if position < len(args):
            yield argument, args[position]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name]


def _factory(name: str):
    """The operation `name`, which makes a tensor of none, for the device."""
    packet, _, overload = name.partition('.')
    operation = getattr(getattr(torch.ops.aten, packet), overload or 'default')

    def made(*args, device=None, pin_memory=None, **kwargs):
        return DeviceTensor(operation(*args, **kwargs))
    return made


def _cpp(value):
    """'cuda' in any form as C++ is to see it."""
    if isinstance(value, (str, torch.device)) and torch.device(value).type == 'cuda':
        return _CPP
    return value


def _moving(function):
    """`function` where C++ must not look for the guards of CUDA."""
    @functools.wraps(function)
    def moved(*args, **kwargs):
        return function(*map(_cpp, args), **{key: _cpp(value) for key, value in kwargs.items()})
    return moved


def _uploading(function):
    """torch.tensor and torch.as_tensor, which C++ makes on the device at once."""
    @functools.wraps(function)
    def made(data, *, device=None, **options):
        return function(data, **options) if device is None else \
            function(data, **options).to(device)
    return made


@contextmanager
def fake_cuda() -> Iterator[Device]:
    """Within the block, torch has the device; its tensors must not be used afterwards."""
    assert torch.version.cuda is None, 'torch is built with CUDA: it has devices of its own'
    with pytest.MonkeyPatch.context() as patch, \
            torch.library._scoped_library('aten', 'IMPL', 'CUDA') as for_python, \
            torch.library._scoped_library('aten', 'IMPL', 'Lazy') as for_cpp:
        for library in (for_python, for_cpp):
            for name in _FACTORIES:
                library.impl(name, _factory(name))
        for name, value in {
                'is_available': lambda: True, 'is_initialized': lambda: True,
                '_lazy_init': lambda: None, 'device_count': lambda: 1,
                'current_device': lambda: 0, 'get_device_name': lambda device=None: NAME,
                'memory_reserved': lambda device=None: 2 ** 20, 'Stream': Stream,
                'stream': DEVICE.use, 'current_stream': lambda device=None: DEVICE.stream,
                'synchronize': DEVICE.synchronize}.items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(torch.Tensor, 'to', _moving(torch.Tensor.to))
        patch.setattr(torch.Tensor, 'cuda', lambda self, *_, **__: self.to(CUDA))
        patch.setattr(torch, 'tensor', _uploading(torch.tensor))
        patch.setattr(torch, 'as_tensor', _uploading(torch.as_tensor))
        try:
            yield DEVICE
        finally:
            DEVICE.finish_all()
