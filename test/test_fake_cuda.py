# SPDX-License-Identifier: Apache-2.0
"""The CUDA device in host memory refuses, and waits for, what a real one does."""
import threading

import numpy as np
import pytest
import torch


def on_device(*values):
    return torch.tensor(values, dtype=torch.float32, device='cuda')


def test_a_tensor_says_that_it_is_on_cuda(cuda):
    made = (on_device(1), torch.zeros(3, device='cuda'), torch.ones(2).to('cuda'),
            torch.ones(2).cuda(), torch.arange(3, device=torch.device('cuda')),
            torch.full((2,), 1.0, device=cuda.device), torch.ones(2).to(on_device(1)),
            torch.as_tensor([1.0], device='cuda'), on_device(1).new_zeros(2),
            on_device(1).new_tensor([2.0]), torch.randn(2, device='cuda'),
            torch.eye(2, device='cuda'), torch.zeros_like(on_device(1)), on_device(1, 2)[:1])
    for tensor in made:
        assert tensor.device == torch.device('cuda', 0) and tensor.is_cuda and not tensor.is_cpu
    assert made[0].to('cuda') is made[0]
    assert made[0].cpu().device.type == 'cpu' and type(made[0].cpu()) is torch.Tensor
    assert torch.zeros_like(made[0], device='cpu').device.type == 'cpu'


REFUSED = {
    'add': lambda: on_device(1, 2) + torch.ones(2),
    'add from the other side': lambda: torch.ones(2) * on_device(1, 2),
    'in place on the host': lambda: torch.ones(2).add_(on_device(1, 2)),
    'scalar of the host in place': lambda: torch.tensor(1.0).add_(on_device(1)[0]),
    'cat': lambda: torch.cat([on_device(1), torch.ones(1)]),
    'stack of scalars': lambda: torch.stack([on_device(1)[0], torch.tensor(1.0)]),
    'matrix product': lambda: torch.eye(2) @ on_device(1, 2),
    'where': lambda: torch.where(torch.tensor([True]), on_device(1), 0.0),
    'index_copy': lambda: on_device(1, 2).index_copy(0, torch.tensor([0]), on_device(3)),
    'assigned value': lambda: on_device(1, 2).__setitem__(slice(None), on_device(1, 2).cpu())
    or on_device(1, 2).__setitem__(torch.tensor([0, 1]).cuda(), torch.ones(2)),
    'device index into the host': lambda: torch.ones(2)[torch.tensor([0]).cuda()],
    'device mask into the host': lambda: torch.ones(2)[on_device(1, 0) > 0],
    'generator of the host': lambda: torch.randn(2, device='cuda', generator=torch.Generator()),
    'convolution': lambda: torch.nn.functional.conv1d(on_device(1, 2)[None], torch.ones(1, 1, 1)),
    'fused Adam with steps on the host': lambda: torch._fused_adam_(
        *([on_device(1)] for _ in range(4)), [], [torch.tensor(1.0)], lr=0.1, beta1=0.9,
        beta2=0.99, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False),
}


@pytest.mark.parametrize('name', REFUSED)
def test_devices_may_not_be_mixed(cuda, name):
    with pytest.raises(RuntimeError, match='same device|device type for generator'):
        REFUSED[name]()


@pytest.mark.parametrize('read', [lambda t: t.numpy(), np.asarray, lambda t: t.detach().numpy()])
def test_numpy_cannot_see_the_device(cuda, read):
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        read(on_device(1, 2))


def test_scalars_of_the_host_are_taken_where_cuda_takes_them(cuda):
    one, value = torch.tensor(1.0), on_device(1, 2)
    assert (value + one).tolist() == [2, 3] and (one - value).tolist() == [0, -1]
    value.fill_(one)
    value[1] = torch.tensor(5.0)
    assert value.tolist() == [1, 5]


MASK = (True, False, True)
COSTS = {  # waits, uploads, downloads
    'arithmetic': (lambda t: (t * 2 + t).exp().sum(), 0, 0, 0),
    'sorting': (lambda t: t.sort().indices, 0, 0, 0),
    'slices': (lambda t: t[1:].mul_(2), 0, 0, 0),
    'made there': (lambda t: torch.zeros(9, device='cuda'), 0, 0, 0),
    'number': (lambda t: t[0].item(), 1, 0, 0),
    'truth': (lambda t: bool((t > 0).all()), 1, 0, 0),
    'list': (lambda t: t.tolist(), 1, 0, 1),
    'nonzero': (lambda t: torch.nonzero(t), 1, 0, 0),
    'unique': (lambda t: torch.unique(t), 1, 0, 0),
    'equal': (lambda t: torch.equal(t, t), 1, 0, 0),
    'inverse': (lambda t: torch.inverse(torch.diag(t)), 1, 0, 0),
    'by a mask': (lambda t: t[t > 1], 1, 0, 0),
    'by indices': (lambda t: t[t.argsort()], 0, 0, 0),
    'by indices of the host': (lambda t: t[torch.tensor([0])], 1, 1, 0),
    'fill a mask': (lambda t: t.__setitem__(t > 1, 0), 0, 0, 0),
    'write through a mask': (lambda t: t.__setitem__(t > 1, t[:2] + 1), 1, 0, 0),
    'a number written': (lambda t: t.__setitem__(slice(2), 7.0), 0, 0, 0),
    'one element written': (lambda t: t.__setitem__(0, 7.0), 1, 1, 0),
    'download': (lambda t: t.cpu(), 1, 0, 1),
    'download without waiting': (lambda t: t.to('cpu', non_blocking=True), 0, 0, 1),
    'upload': (lambda t: torch.ones(3).to('cuda'), 1, 1, 0),
    'upload without waiting': (lambda t: torch.ones(3).to('cuda', non_blocking=True), 0, 1, 0),
    'upload of nothing': (lambda t: torch.ones(0).to('cuda'), 0, 0, 0),
    'copy on the device': (lambda t: t.clone().copy_(t).double(), 0, 0, 0),
    'synchronize': (lambda t: torch.cuda.synchronize(), 1, 0, 0),
    'stream': (lambda t: torch.cuda.Stream().synchronize(), 1, 0, 0),
}


@pytest.mark.parametrize('name', COSTS)
def test_waits_and_copies_are_counted(cuda, name):
    value = on_device(1, 2, 3)
    work, *expected = COSTS[name]
    with cuda.counted() as costs:
        work(value)
    assert [costs.waits.total(), costs.uploads.total(), costs.downloads.total()] == expected


def test_costs_say_where_they_come_from(cuda):
    from igs_ros.core.scene import checked, empty_scene
    scene = empty_scene(device='cuda')
    with cuda.counted() as costs:
        checked(scene, 'here')
    assert any('core/scene.py:' in what for what in costs.waits) and 'waits' in str(costs)


def test_other_threads_use_and_are_counted(cuda):
    found = []
    with cuda.counted() as costs:
        thread = threading.Thread(target=lambda: found.append((on_device(1) + 1).tolist()))
        thread.start()
        thread.join()
    assert found == [[2]] and costs.downloads.total() == 1


def work(device):
    """Leaves and what comes of views, writes in place, autograd and Adam; the same everywhere."""
    random = torch.Generator().manual_seed(0)
    leaf = torch.randn(5, 3, generator=random).to(device).requires_grad_()
    adam = torch.optim.Adam([leaf], lr=0.1, fused=True)
    for _ in range(3):
        adam.zero_grad()
        moved = leaf.clone()
        moved[1:3] *= 2
        moved[:, 0].add_(leaf[:, 1])
        kept = torch.cat([moved[leaf[:, 2].argsort()], torch.where(moved > 0, moved, 0.5)])
        (kept.exp().mean() + torch.linalg.cross(moved, leaf).square().sum()).backward()
        adam.step()
    with torch.no_grad():
        leaf[torch.tensor([0, 2], device=device)] = 0
        leaf.data[-1:] = torch.ones(1, 3, device=device)
        square = torch.empty(5, device=device)
        torch.minimum(leaf[:, 0], leaf[:, 1], out=square)
    return [value.detach().cpu() for value in (leaf, leaf.grad, square,
                                               adam.state[leaf]['exp_avg'])]


def test_numbers_are_those_of_the_host(cuda):
    assert all(torch.equal(*both) for both in zip(work('cpu'), work('cuda'), strict=True))


def test_streams_may_not_read_what_others_write(cuda):
    first, second = torch.cuda.Stream(), torch.cuda.Stream(torch.device('cuda'), priority=-1)
    with torch.cuda.stream(first):
        value = torch.ones(3, device='cuda')
        part = value[1:]
        assert (part + 1).tolist() == [2, 2]  # waits for this stream
        value.mul_(2)
    with torch.cuda.stream(second):
        with pytest.raises(RuntimeError, match='synchronize that one first'):
            part + 1
        first.synchronize()
        assert (part + 1).tolist() == [3, 3]
    with pytest.raises(AssertionError):
        torch.cuda.Stream(torch.device('cpu'))


def test_nothing_is_left_behind():
    from fake_cuda import fake_cuda
    before = torch.Tensor.to, torch.tensor, torch.cuda.Stream, torch.cuda.is_available()
    with fake_cuda():
        assert torch.cuda.is_available() and torch.cuda.current_device() == 0
    assert before == (torch.Tensor.to, torch.tensor, torch.cuda.Stream, torch.cuda.is_available())
    with pytest.raises((RuntimeError, AssertionError, NotImplementedError)):
        torch.zeros(1, device='cuda')
