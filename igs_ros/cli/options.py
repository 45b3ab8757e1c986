# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from igs_ros.config import Config, checked
from igs_ros.errors import InputError

_default = Config()


@dataclass(frozen=True)
class SceneOptions:
    """Settings of the reconstruction that are worth a flag (all of them: config/igs.yaml)."""

    width: int = _default.width
    """Width of the working pictures in px, 0 = as recorded."""
    motion: Literal['static', 'geometric', 'agm'] = _default.motion
    """Motion between key frames; agm needs weights."""
    weights: Annotated[str, tyro.conf.arg(metavar='DIR')] = _default.motion_model.weights
    """Folder with the published weights of agm; `igs check --weights DIR` looks at it."""
    bbox: Annotated[str, tyro.conf.arg(metavar='BOX')] = _default.motion_model.bbox
    """Region that agm may move: 'xmin ymin zmin xmax ymax zmax' (m), a bbox.json, or
    bbox.json:SCENE; all where it is not given."""
    key_interval: int = _default.key_interval
    """A key frame every so many frames; 0 = a frozen first scene."""
    refine_iterations: int = _default.refine.iterations
    """Optimisation steps per key frame."""
    max_gaussians: int = _default.max_gaussians
    """Bound of the scene at all times."""
    sh_degree: int = _default.sh_degree
    """Degree of the spherical harmonics, 0..3."""
    bootstrap: Annotated[str, tyro.conf.arg(metavar='auto|points|images|PATH')] = (
        _default.bootstrap.method)
    """Where the first scene comes from; PATH is a 3DGS PLY."""
    optimise_ply: bool = _default.bootstrap.optimise_ply
    """Optimise a scene from a PLY as well; else it is taken as it is."""
    bootstrap_iterations: int = _default.bootstrap.iterations
    """Optimisation steps of the first scene."""
    bootstrap_seconds: float = _default.bootstrap.seconds
    """Wall-clock cap of the first scene in s, 0 = none."""
    device: Literal['auto', 'cpu', 'cuda'] = _default.device
    """Where to compute."""
    threads: int = _default.threads
    """Threads of the CPU rasteriser; results do not depend on it."""
    seed: int = _default.seed
    """Seed of everything random."""

    def config(self) -> Config:
        """The full configuration; raises `InputError` for values that cannot work."""
        return checked(Config(
            bootstrap=replace(_default.bootstrap, method=self.bootstrap,
                              optimise_ply=self.optimise_ply,
                              iterations=self.bootstrap_iterations,
                              seconds=self.bootstrap_seconds),
            motion_model=replace(_default.motion_model, weights=self.weights, bbox=self.bbox),
            refine=replace(_default.refine, iterations=self.refine_iterations),
            motion=self.motion, key_interval=self.key_interval,
            max_gaussians=self.max_gaussians, sh_degree=self.sh_degree, width=self.width,
            device=self.device, threads=self.threads, seed=self.seed))


def frame_range(text: str) -> tuple[int, int | None]:
    """'A:B' (0-based, half-open, either may be left out) as first and last; raises `InputError`.
    """
    parts = text.split(':')
    try:
        if len(parts) != 2:
            raise ValueError
        first = int(parts[0]) if parts[0] else 0
        last = int(parts[1]) if parts[1] else None
    except ValueError:
        raise InputError(f"--frames '{text}': expected A:B, 0-based and half-open, such as 0:11 "
                         f'or 5: .') from None
    if first < 0 or (last is not None and last <= first):
        raise InputError(f"--frames '{text}': expected 0 <= A < B.")
    return first, last
