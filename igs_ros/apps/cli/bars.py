# SPDX-License-Identifier: Apache-2.0
"""Progress bars on stderr."""
from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar() -> Progress:
    """A bar that goes away when it is done; use it as a context manager."""
    return Progress(TextColumn('{task.description:>16}'), BarColumn(),
                    TextColumn('{task.percentage:>3.0f} %'), TimeElapsedColumn(),
                    console=Console(stderr=True), transient=True)


def stage_of(bar: Progress) -> Callable[[str, float], None]:
    """What gets a stage and its share done, 0..1, and shows them on `bar`."""
    task = bar.add_task('', total=1.0)
    return lambda stage, done: bar.update(task, description=stage, completed=done)
