"""What `difftool train` shows: a progress bar, or a line per report without a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from difftool.cli.text import print_columns, print_facts
from difftool.errors import DifftoolError
from difftool.errors.stopping import stopped_by
from difftool.errors.validation import check_threads
from difftool.files.writing import CHECKPOINT
from difftool.names.text import write
from difftool.runs.experiments import NAMES, Table, heads_of, run_experiments, word
from difftool.training.config import Training
from difftool.training.session import Report, Session
from difftool.training.trainer import Hyperparameters

EVERY = {"log_every": 50, "save_every": 1000, "sample_every": 0}  # for the trainings of a table
ANEW = "steps"  # the only option that may change when a training is resumed


def run_training(
    options: Mapping[str, Any], named: Mapping[str, Any], folder: Path, *, resume: bool
) -> None:
    """Train in a folder with the options of the command; named: only those the user gave."""
    every = {name: options[name] for name in EVERY}
    threads = options["threads"]
    _check_numbers(every)
    if threads is not None:
        check_threads(threads)
        torch.set_num_threads(threads)
    if resume:
        session = _resumed(named, folder, options["device"])
    else:
        session = Session(_training(options, named), folder, device=options["device"])
    if session.main:
        print_facts(_facts(session))
    try:
        _train(session, every)
    except KeyboardInterrupt as error:
        kept = "; there is no checkpoint yet"
        if (folder / CHECKPOINT).exists():
            kept = f"; stopped at step {session.trainer.step}; resume with: difftool train --resume {folder}"
        raise stopped_by(error, kept) from None
    if session.main:
        model = write("checkpoint", {"path": str(folder)})
        print(f"{folder}: {session.trainer.step} steps; difftool sample --model {model}")


def _check_numbers(numbers: Mapping[str, int | None]) -> None:
    """Raise `DifftoolError` for numbers of steps that are too small."""
    for name, value in numbers.items():
        if name == "sample_every":
            least = 0
        else:
            least = 1
        if value is not None and value < least:
            raise DifftoolError(
                f"--{name.replace('_', '-')} must be at least {least}, got {value}"
            )


def run_table(file: Path, out: Path, device: Any) -> None:
    """Run a table of experiments and print the results."""
    table = Table.load(file)
    try:
        rows = run_experiments(
            table,
            out,
            lambda name, session: _train(session, EVERY, name),
            lambda name, what: print(f"{name}: {what}"),
            device,
        )
    except KeyboardInterrupt as error:
        kept = f"; resume with: difftool experiments {file} --out {out}"
        raise stopped_by(error, kept) from None
    print()
    _print_rows(rows)
    print()
    print_facts({"written to": ", ".join(str(out / name) for name in NAMES)})
    if any("failed" in row for row in rows):
        raise SystemExit(1)


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table, numbers right-aligned, without the reasons of failed experiments."""
    heads = [head for head in heads_of(rows) if head != "failed"]
    numbers = [
        head
        for head in heads
        if all(isinstance(row.get(head, 0), (int, float)) for row in rows)
    ]
    cells = [[word(row.get(head, "")) for head in heads] for row in rows]
    print_columns(cells, heads, right=numbers)


def _facts(session: Session) -> dict[str, str]:
    """What is about to be trained, on which data and device."""
    training, data, trainer = session.training, session.trainer.data, session.trainer
    numbers = training.numbers
    weights = sum(p.numel() for p in trainer.net.parameters())
    passes = numbers.steps * numbers.batch_size / len(data)
    steps = f"{numbers.steps} of {numbers.batch_size} samples each ({passes:.3g} passes over the data)"
    if trainer.step:
        steps += f", resuming at step {trainer.step}"
    facts = {
        "data": f"{training.data}, {len(data)} samples of {'x'.join(map(str, data.shape))}"
    }
    if training.conditional and data.classes is not None:
        facts["classes"] = str(data.classes)
    return {
        **facts,
        "network": f"{training.network}, {weights:,} weights",
        "learns": f"{training.predicts} on {training.schedule}",
        "steps": steps,
        "device": str(trainer.accelerator.device),
        "folder": str(session.folder),
    }


def _resumed(named: Mapping[str, Any], folder: Path, device: str) -> Session:
    odd = [name for name in named if name in _names() and name != ANEW]
    if odd:
        raise DifftoolError(
            f"--{odd[0].replace('_', '-')} cannot change when a training is resumed; leave it out"
        )
    return Session.resumed(folder, steps=named.get(ANEW), device=device)


def _training(options: Mapping[str, Any], named: Mapping[str, Any]) -> Training:
    if "steps" in named and options["epochs"] is not None:
        raise DifftoolError("give --steps or --epochs, not both")
    numbers = Hyperparameters(**{f.name: options[f.name] for f in fields(Hyperparameters)})
    words = {f.name: options[f.name] for f in fields(Training) if f.name in options}
    return Training(**words, conditional=not options["unconditional"], numbers=numbers)


def _names() -> set[str]:
    return {f.name for f in (*fields(Training), *fields(Hyperparameters))} | {
        "unconditional",
        "out",
    }


def _train(session: Session, every: Mapping[str, int], name: str = "training") -> None:
    """Train to the end, with a progress bar on a terminal and a line per report elsewhere."""
    console = Console(stderr=True)
    terminal = console.is_terminal
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, disable=not terminal or not session.main
    ) as progress:
        steps, done = session.training.numbers.steps, session.trainer.step
        task = progress.add_task(name, total=steps, words="", completed=done)

        def say(report: Report) -> None:
            words = f"loss {report.loss:.4f}  {report.speed:.0f} samples/s"
            progress.update(task, completed=report.step, words=words)
            if not terminal:
                print(f"step {report.step}/{report.steps}  {words}", flush=True)

        session.run(
            say,
            log_every=every["log_every"],
            save_every=every["save_every"],
            sample_every=every["sample_every"] or None,
        )
