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

from difftool.cli.guard import warn
from difftool.runs.run import Run
from difftool.sampling import Callback, Step

SOON, LONG = 3.0, 60.0  # seconds: when the time of a run is estimated, and what is long
EVERY = 0.1  # seconds between updates of the bar


@contextmanager
def watching(run: Run, quiet: bool = False) -> Iterator[Callback]:
    """A callback that advances a progress bar: on a terminal, unless `quiet`."""
    console = Console(stderr=True)
    silent = quiet or not console.is_terminal
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        yield _counter(run, progress, silent)


def _counter(run: Run, progress: Progress, silent: bool) -> Callback:
    if run.job.nfe is None:
        total = None
    else:
        total = run.job.steps * len(run.sizes)
    task = progress.add_task(run.recipe.sampler or "", total=total, rate="")
    begin, taken, shown, told = time.perf_counter(), 0, 0.0, not silent

    def count(step: Step) -> None:
        nonlocal taken, shown, told
        taken += 1
        now = time.perf_counter()
        if not told and now - begin > SOON:
            told = True
            _tell_of_long_runs((now - begin) / taken * ((total or 0) - taken))
        if now - shown > EVERY:
            shown = now
            progress.update(task, completed=taken, rate=f"{taken / (now - begin):.0f} steps/s")

    return count


def _tell_of_long_runs(seconds: float) -> None:
    """One line for those who see no progress bar, if there is long to go."""
    if seconds > LONG:
        warn(
            f"about {seconds / 60:.0f} minutes to go; Ctrl-C ends the run, and keeps the batches "
            f"that are finished (--batch-size)"
        )
