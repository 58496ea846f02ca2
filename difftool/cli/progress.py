"""The progress bar of a run, on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from difftool.runs.run import Run
from difftool.sampling import Callback, Step

EVERY = 0.1  # seconds between updates of the bar


@contextmanager
def watching(run: Run, quiet: bool = False) -> Iterator[Callback]:
    """A callback that advances a progress bar: on a terminal, unless `quiet`."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as progress:
        yield _counter(run, progress)


def _counter(run: Run, progress: Progress) -> Callback:
    if run.job.nfe is None:
        total = None
    else:
        total = run.job.steps * len(run.sizes)
    task = progress.add_task(run.recipe.sampler or "", total=total, rate="")
    begin, taken, shown = time.perf_counter(), 0, 0.0

    def count(step: Step) -> None:
        nonlocal taken, shown
        taken += 1
        now = time.perf_counter()
        if now - shown > EVERY:
            shown = now
            progress.update(task, completed=taken, rate=f"{taken / (now - begin):.0f} steps/s")

    return count
