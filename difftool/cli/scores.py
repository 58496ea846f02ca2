"""What `difftool evaluate` shows: a bar while it reads, and a table of figures."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from difftool.cli.text import print_columns
from difftool.evaluation import evaluate
from difftool.recipes import Recipe

WORDS = {
    "number": "samples", "sliced_wasserstein": "sliced Wasserstein", "energy_distance": "energy distance", "mmd": "MMD",
    "log_density": "log density", "fid": "FID", "kid": "KID",
}  # fmt: skip


def carry_out(
    samples: Recipe | str, data: str, against: str | None, features: str | None, exact: str | None, as_json: bool
) -> None:
    """Compare, and print the figures."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def told(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        found = evaluate(samples, data, against=against, features=features, exact=exact, told=told)
    if as_json:
        print(json.dumps({"data": data, "features": features, "exact": exact, "figures": found}))
        return
    reference = found["samples"].pop("reference")
    names = [*found["samples"]]
    rows = [[WORDS.get(name, name), *(_word(figures[name]) for figures in found.values())] for name in names]
    heads = ("", "samples", *([against] if against else []))
    print(f"beside {reference} samples of {data}{f', features of {features}' * bool(features)}\n")
    print_columns(rows, heads, right=heads[1:])


def _word(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
