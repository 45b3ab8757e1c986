# SPDX-License-Identifier: Apache-2.0
"""The progress bar of `igs prepare` and `igs train`."""
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def progress_bar(shown: bool = True) -> Progress:
    """Bars on stderr; each task has a field `note` beside its count."""
    return Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                    TextColumn('{task.fields[note]}'), TimeElapsedColumn(),
                    console=Console(stderr=True), disable=not shown)
