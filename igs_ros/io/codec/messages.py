# SPDX-License-Identifier: Apache-2.0
"""What `state` reads of GaussianCloud and GaussianUpdate: their types, without ROS."""
from __future__ import annotations

from collections.abc import Sized
from typing import Protocol


class StateMessage(Protocol):
    """What GaussianCloud and GaussianUpdate share; other fields are read by their names."""

    @property
    def scene_id(self) -> int:
        """Changes when the scene starts anew."""
        ...

    @property
    def sequence(self) -> int:
        """Counts keys and updates together."""
        ...

    @property
    def count(self) -> int:
        """Number of Gaussians."""
        ...

    @property
    def sh_degree(self) -> int:
        """0..3."""
        ...


class KeyMessage(StateMessage, Protocol):
    """GaussianCloud."""

    @property
    def velocities(self) -> Sized:
        """[N * 3] m/s, empty where unknown."""
        ...


class UpdateMessage(StateMessage, Protocol):
    """GaussianUpdate."""

    @property
    def base_sequence(self) -> int:
        """That of its key."""
        ...

    @property
    def has_velocities(self) -> bool:
        """Whether velocities are known."""
        ...

    @property
    def added_opacities(self) -> Sized:
        """One for each Gaussian that is added."""
        ...
