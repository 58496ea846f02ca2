"""What `difftool train` shows: a bar with loss and speed, or a line for each report where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
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

from difftool.cli.guard import Ended
from difftool.cli.text import print_columns, print_facts
from difftool.errors import DifftoolError
from difftool.names.text import write
from difftool.outputs.files import CHECKPOINT
from difftool.runs.experiments import NAMES, Table, run_experiments, word
from difftool.training.config import Training
from difftool.training.session import Report, Session
from difftool.training.trainer import Hyperparameters

EVERY = {"log_every": 50, "save_every": 1000, "sample_every": 0}  # of the trainings of a table
ANEW = "steps"  # what may be given anew to a training that goes on


def run_training(
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    every: Mapping[str, int],
    *,
    out: Path,
    resume: bool,
    device: str,
    threads: int | None,
) -> None:
    """Train as the options of the command say."""
    for name, value in {**every, "threads": threads}.items():
        least = 0 if name == "sample_every" else 1
        if value is not None and value < least:
            raise DifftoolError(
                f"--{name.replace('_', '-')} is a whole number of at least {least}, got {value}"
            )
    if threads is not None:
        torch.set_num_threads(threads)
    session = (
        _resumed(given, out, device)
        if resume
        else Session(_training(options, given), out, device=device)
    )
    if session.main:
        print_facts(_facts(session))
    try:
        _shown(session, dict(every))
    except KeyboardInterrupt:
        if session.main and (out / CHECKPOINT).exists():
            print(
                f"\nstopped at step {session.trainer.step}; go on with: difftool train --resume {out}",
                file=sys.stderr,
            )
        raise Ended(130) from None
    if session.main:
        print(
            f"{out}: {session.trainer.step} steps; difftool sample --model {write('checkpoint', {'path': str(out)})}"
        )


def run_table(file: Path, out: Path, device: Any) -> None:
    """Carry out a table of experiments, and print it."""
    table = Table.load(file)
    try:
        rows = run_experiments(
            table,
            out,
            lambda name, session: _shown(session, EVERY, name),
            lambda name, what: print(f"{name}: {what}"),
            device,
        )
    except KeyboardInterrupt:
        print(
            f"\nstopped; go on with: difftool experiments {file} --out {out}", file=sys.stderr
        )
        raise Ended(130) from None
    print()
    heads = [
        *dict.fromkeys(key for row in rows for key in row if key != "failed")
    ]  # that was said
    numbers = [
        key for key in heads if all(isinstance(row.get(key, 0), (int, float)) for row in rows)
    ]
    print_columns(
        [[word(row.get(key, "")) for key in heads] for row in rows], heads, right=numbers
    )
    print()
    print_facts({"written to": ", ".join(str(out / name) for name in NAMES)})
    if any("failed" in row for row in rows):
        raise SystemExit(1)


def _facts(session: Session) -> dict[str, str]:
    """What is trained on what, before it begins."""
    training, data, trainer = session.training, session.trainer.data, session.trainer
    classes = (
        {"classes": str(data.classes)}
        if training.conditional and data.classes is not None
        else {}
    )
    weights = sum(p.numel() for p in trainer.net.parameters())
    numbers = training.numbers
    passes = numbers.steps * numbers.batch_size / len(data)
    return {
        "data": f"{training.data}, {len(data)} samples of {'x'.join(map(str, data.shape))}",
        **classes,
        "network": f"{training.network}, {weights:,} weights",
        "learns": f"{training.predicts} on {training.schedule}",
        "steps": f"{numbers.steps} of {numbers.batch_size} samples each ({passes:.3g} times the data)"
        + f", from step {trainer.step} on" * bool(trainer.step),
        "device": str(trainer.accelerator.device),
        "folder": str(session.folder),
    }


def _resumed(given: Mapping[str, Any], out: Path, device: str) -> Session:
    odd = [name for name in given if name in _names() and name != ANEW]
    if odd:
        raise DifftoolError(
            f"--{odd[0].replace('_', '-')} cannot change in a training that goes on; leave it out"
        )
    return Session.resumed(out, steps=given.get(ANEW), device=device)


def _training(options: Mapping[str, Any], given: Mapping[str, Any]) -> Training:
    if "steps" in given and options["epochs"] is not None:
        raise DifftoolError("give --steps or --epochs, not both")
    numbers = Hyperparameters(**{f.name: options[f.name] for f in fields(Hyperparameters)})
    words = {f.name: options[f.name] for f in fields(Training) if f.name in options}
    return Training(**words, conditional=not options["unconditional"], numbers=numbers)


def _names() -> set[str]:
    return {f.name for f in (*fields(Training), *fields(Hyperparameters))} | {
        "unconditional",
        "out",
    }


def _shown(session: Session, every: dict[str, Any], name: str = "training") -> None:
    console = Console(stderr=True)
    terminal = console.is_terminal
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, disable=not terminal or not session.main
    ) as progress:
        steps, done = session.training.numbers.steps, session.trainer.step
        task = progress.add_task(name, total=steps, told="", completed=done)

        def report(told: Report) -> None:
            words = f"loss {told.loss:.4f}  {told.speed:.0f} samples/s"
            progress.update(task, completed=told.step, told=words)
            if not terminal:
                print(f"step {told.step}/{told.steps}  {words}", flush=True)

        session.run(report, **{**every, "sample_every": every["sample_every"] or None})
