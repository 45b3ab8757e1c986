# SPDX-License-Identifier: Apache-2.0
"""The authors' two checkpoint files, read strictly and without running code from them.

    DIR[/ckpt]/gmflow/gmflow-scale1-mixdata-train320x576-4c3a6e9a.pth   {'model': {...}}
    DIR[/ckpt]/igs/15/pytorch_model.bin                                 {...}
    DIR[/ckpt]/igs/experiment_config.yaml                               where it is there

Both may also be .safetensors (flat): the first under the same name, the second as
model.safetensors. Keys and shapes: reference/igs_reference.md 2.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from igs_ros.core.errors import InputError, error_line
from igs_ros.core.files import replaced
from igs_ros.core.untrusted import read_tensors
from igs_ros.stages.motion.agm.experiment import experiment_problems
from igs_ros.stages.motion.agm.net import AgmNet

_GMFLOW = 'gmflow/gmflow-scale1-mixdata-train320x576-4c3a6e9a'
_AGM = ('pytorch_model.bin', 'model.safetensors')
_EPOCH = '15'  # the published one
_OWN_EPOCH = 'trained'  # where `save` puts its own
_DIVISION = 'double_division'  # in the metadata of a .safetensors: 'True' or 'False'
_PREFIX = 'backbone.'  # of the flow backbone inside AGM-Net
_FLOW_HEAD = frozenset(
    [f'feature_flow_attn.{name}_proj.{leaf}' for name in 'qk' for leaf in ('weight', 'bias')]
    + [f'upsampler.{index}.{leaf}' for index in (0, 2) for leaf in ('weight', 'bias')])
_LAYOUT = (f"{_GMFLOW}.pth and igs/{_EPOCH}/{_AGM[0]} (as in the authors' ckpt folder, see "
           f'github.com/yjb6/IGS), or .safetensors')


@dataclass(frozen=True, eq=False)
class Part:
    """One checkpoint file, compared with the network."""

    title: str
    path: Path | None  # None = not found
    state: Mapping[str, Tensor]  # float32, by the names inside AGM-Net; what fits
    unused: tuple[str, ...]  # keys known to be there and not needed: the head of GMFlow
    problems: tuple[str, ...]  # why it cannot be used; none = it fits

    @property
    def parameters(self) -> int:
        """How many numbers `state` holds."""
        return sum(tensor.numel() for tensor in self.state.values())


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a weights folder holds."""

    parts: tuple[Part, ...]  # flow backbone, AGM-Net
    experiment: Path | None  # experiment_config.yaml
    experiment_problems: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that keeps the folder from being used, one sentence each."""
        return tuple(p for part in self.parts for p in part.problems) + self.experiment_problems


def inspect(folder: str | Path) -> Checkpoint:
    """Read and compare all of `folder`; what is wrong in it is said, and is no error.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"weights '{folder}': there is no such folder; expected one with "
                         f'{_LAYOUT}.')
    root = folder / 'ckpt' if (folder / 'ckpt').is_dir() else folder
    with torch.device('meta'):
        expected = {name: tensor.shape for name, tensor in AgmNet().state_dict().items()}
    flow = {k.removeprefix(_PREFIX): s for k, s in expected.items() if k.startswith(_PREFIX)}
    own = {name: shape for name, shape in expected.items() if not name.startswith(_PREFIX)}
    flow_path, agm_path = _flow_path(root), _agm_path(root)
    experiment = root / 'igs' / 'experiment_config.yaml'
    there = experiment.is_file()
    return Checkpoint(
        (_part('flow backbone', root, flow_path, flow, _FLOW_HEAD, _PREFIX),
         _part('AGM-Net', root, agm_path, own, frozenset(), '')),
        experiment if there else None, experiment_problems(experiment) if there else ())


def load(folder: str | Path, double_division: bool = True) -> AgmNet:
    """AGM-Net with the weights of a folder, on the CPU, float32, ready for inference.

    Args:
        folder: as published, or written by `save`.
        double_division: see `AgmNet`; the published weights expect it, and files written by `save`
            know better.

    Raises:
        InputError: lists all that does not fit.
    """
    found = inspect(folder)
    if found.problems:
        raise InputError(f"weights '{folder}' cannot be used. " + ' '.join(found.problems))
    path = found.parts[1].path
    trained_with = None if path is None else _double_division(path)
    net = AgmNet(double_division if trained_with is None else trained_with)
    net.load_state_dict({k: v for part in found.parts for k, v in part.state.items()})
    return net.eval().requires_grad_(False)


def save(net: AgmNet, folder: Path) -> None:
    """Write `net` below `folder` as two .safetensors files that `load` finds, each atomically.

    Raises:
        OutputError: a file cannot be written.
    """
    from safetensors.torch import save as as_bytes  # `save_file` hides what the system says
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    flow = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
    own = {k: v for k, v in state.items() if not k.startswith(_PREFIX)}
    with replaced(folder / f'{_GMFLOW}.safetensors') as path:
        path.write_bytes(as_bytes(flow))
    with replaced(folder / 'igs' / _OWN_EPOCH / _AGM[1]) as path:
        path.write_bytes(as_bytes(own, {_DIVISION: str(net.double_division)}))


def _double_division(path: Path) -> bool | None:
    """Whether the weights were trained with it, where the file says so."""
    if path.suffix != '.safetensors':
        return None
    from safetensors import safe_open
    with safe_open(path, 'pt') as file:
        said = (file.metadata() or {}).get(_DIVISION)
    return None if said is None else said == str(True)


def _flow_path(root: Path) -> Path | None:
    return next((path for suffix in ('.pth', '.safetensors')
                 if (path := root / f'{_GMFLOW}{suffix}').is_file()), None)


def _agm_path(root: Path) -> Path | None:
    """The epoch that was published, else the last one."""
    epochs = sorted((root / 'igs').glob('*'), key=lambda path: (
        path.name == _EPOCH, path.name.isdigit() and int(path.name)), reverse=True)
    return next((epoch / name for epoch in epochs for name in _AGM
                 if (epoch / name).is_file()), None)


def _part(title: str, root: Path, path: Path | None, expected: Mapping[str, torch.Size],
          unused: frozenset[str], prefix: str) -> Part:
    if path is None:
        return Part(title, None, {}, (), (
            f'{title}: no file below {root}; expected {_LAYOUT}.',))
    try:
        found = _read(path, unwrap=prefix == _PREFIX)
    except InputError as error:
        return Part(title, path, {}, (), (str(error),))
    fitting = {prefix + name: tensor.float() for name, tensor in found.items()
               if name in expected and isinstance(tensor, Tensor)
               and _mismatch(tensor, expected[name]) is None}
    problems = '. '.join(_differences(found, expected, unused))
    return Part(title, path, fitting, tuple(sorted(unused & found.keys())),
                (f'{path} does not fit the {title}. {problems}. Use the file as published, or '
                 f'converted key by key.',) if problems else ())


def _differences(found: Mapping[str, object], expected: Mapping[str, torch.Size],
                 unused: frozenset[str]) -> Iterator[str]:
    """What does not fit, all keys of each kind in one line."""
    wrong = [f'{name} {reason}' for name, shape in expected.items()
             if name in found and (reason := _mismatch(found[name], shape))]
    kinds = {'Missing': [name for name in expected if name not in found],
             'Not expected': [str(name) for name in found
                              if name not in expected and name not in unused],
             'Wrong': wrong}
    for kind, keys in kinds.items():
        if keys:
            yield f'{kind} ({len(keys)}): {", ".join(keys)}'


def _mismatch(value: object, shape: torch.Size) -> str | None:
    """Why `value` cannot be the parameter of that shape; None = it can."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return f'is {value.dtype if isinstance(value, Tensor) else type(value).__name__}, ' \
               f'expected a tensor of floats'
    if value.shape != shape:
        return f'is {_by(value.shape)}, expected {_by(shape)}'
    return None if torch.isfinite(value).all() else 'holds NaN or infinite values'


def _by(shape: torch.Size) -> str:
    return 'x'.join(map(str, shape)) or 'a single number'


def _read(path: Path, unwrap: bool) -> Mapping[str, object]:
    """The tensors of a file by key; `unwrap`: those below 'model' of a pickle."""
    if path.suffix == '.safetensors':
        import safetensors
        from safetensors.torch import load_file
        try:
            return load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise InputError(f'{path}: no readable safetensors file ({error_line(error)}). '
                             f'Copy it again.') from error
    content = read_tensors(path, 'a state dict written by torch.save')
    if unwrap and isinstance(content, Mapping) and 'model' in content:
        content = content['model']
    if not isinstance(content, Mapping):
        raise InputError(f'{path}: holds a {type(content).__name__}; expected a dict of tensors.')
    return content
