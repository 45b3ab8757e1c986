# SPDX-License-Identifier: Apache-2.0
"""The weights that ship, as safetensors inside the package."""
from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes

from igs_ros.core.errors import InputError, error_line, shown
from igs_ros.core.files import replaced
from igs_ros.core.untrusted import unusable_tensor
from igs_ros.stages.motion.agm_small.net import CorrectionNet

NAME = 'agm_small.safetensors'
SHIPPED = Path(__file__).parent / NAME


def available() -> bool:
    """Whether the weights ship with this package."""
    return SHIPPED.is_file()


def load(path: Path = SHIPPED) -> CorrectionNet:
    """The network with the weights of a file, ready for inference, on the CPU.

    Raises:
        InputError: the file cannot be read, or does not fit.
    """
    net = CorrectionNet()
    expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f'{path}: cannot be read ({error_line(error)}); expected the weights of '
                         f'agm_small. Install the package again, or use --motion '
                         f'geometric.') from error
    found = {name: tuple(value.shape) for name, value in state.items()}
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys()
                       if found.get(name) != expected.get(name))
        raise InputError(f'{path}: no weights of agm_small; missing, unknown or of another shape: '
                         f'{shown(wrong)}. Install the package again, or use --motion geometric.')
    if broken := unusable_tensor(state):
        raise InputError(f"{path}: '{broken}' holds NaN or infinite values; expected finite ones. "
                         f'Install the package again, or use --motion geometric.')
    net.load_state_dict(state)
    return net.eval()


def save(net: CorrectionNet, path: Path) -> None:
    """Write the weights to `path`.

    Raises:
        OutputError: it cannot be written.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    with replaced(path) as draft:
        draft.write_bytes(as_bytes(state))  # `save_file` hides what the system says
