"""What `difftool evaluate` shows: a progress bar, and a table of scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from difftool.cli.text import print_columns, print_text
from difftool.runs.evaluation import Comparison, Figures, evaluate
from difftool.runs.recipe import Recipe

WORDS = {
    "number": "samples", "sliced_wasserstein": "sliced Wasserstein", "energy_distance": "energy distance", "mmd": "MMD",
    "log_density": "log density", "fid": "FID", "kid": "KID",
}  # fmt: skip
BIASED = ("sliced_wasserstein", "fid")  # distances that are larger for fewer samples
# squared distances with unbiased estimates, which can be below 0
UNBIASED = (
    "energy_distance",
    "mmd",
    "kid",
)


def run_evaluation(
    samples: Recipe | str,
    data: str,
    against: str | None,
    features: str | None,
    exact: str | None,
    as_json: bool,
) -> None:
    """Run the comparison and print the scores."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=as_json or not console.is_terminal
    ) as progress:
        tasks: dict[str, Any] = {}

        def on_progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        found = evaluate(
            samples,
            data,
            against=against,
            features=features,
            exact=exact,
            on_progress=on_progress,
        )
    if as_json:
        figures = _figures(found)
        figures["samples"]["reference"] = found.reference
        facts = {"data": data, "features": features, "exact": exact, "figures": figures}
        print(json.dumps(facts))
        return
    _print(found, data, against, features)


def _figures(found: Comparison) -> dict[str, dict[str, float]]:
    """The scores of each set by name, after its number of samples."""
    out = {"samples": _named(found.samples)}
    if found.against is not None:
        out["against"] = _named(found.against)
    return out


def _named(figures: Figures) -> dict[str, float]:
    return {"number": figures.number, **figures.scores}


def _print(found: Comparison, data: str, against: str | None, features: str | None) -> None:
    """Print a table of the scores, and remarks on them."""
    columns = _figures(found).values()
    rows = []
    for name in _named(found.samples):
        rows.append([_title(name), *(_word(name, column[name]) for column in columns)])
    heads = ["", "samples"]
    if against is not None:
        heads.append(against)
    title = f"compared with {found.reference} samples of {data}"
    if features is not None:
        title += f", features of {features}"
    print(f"{title}\n")
    print_columns(rows, heads, right=heads[1:])
    lines = remarks(found, against)
    if lines:
        print()
    for line in lines:
        print_text(line)


def remarks(found: Comparison, against: str | None) -> list[str]:
    """Explanations of scores that look wrong but are not: negative, or below the baseline."""
    lines = []
    negative = [name for name in UNBIASED if _negative(found, name)]
    if negative:
        why = "the estimate is unbiased, so it scatters around 0 once there is no distance to measure"
        lines.append(f"{_titles(negative)} below 0: {why}")
    if found.against is None:
        return lines
    ours, fresh = found.samples, found.against
    nearer = []
    for name in (*BIASED, *UNBIASED):
        if name in ours.scores and ours.scores[name] < fresh.scores[name]:
            nearer.append(name)
    if nearer:
        why = (
            "the samples are as near to the data as fresh ones, by chance or because "
            "the model has memorized them; see difftool neighbors"
        )
        lines.append(f"{_titles(nearer)} below that of {against}: {why}")
    uneven = [name for name in BIASED if name in nearer]
    if uneven and fresh.number < ours.number:
        lines.append(
            f"{_titles(uneven)}: larger for fewer samples, and {against} has only {fresh.number}"
        )
    return lines


def _negative(found: Comparison, name: str) -> bool:
    """Whether a score is below 0 in any of the sets."""
    if found.against is None:
        sets = [found.samples]
    else:
        sets = [found.samples, found.against]
    return any(figures.scores.get(name, 0) < 0 for figures in sets)


def _titles(names: Sequence[str]) -> str:
    return ", ".join(map(_title, names))


def _title(name: str) -> str:
    return WORDS.get(name, name)


def _word(name: str, value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if name == "fid":
        value = max(value, 0.0)  # below 0 by rounding only
    return f"{value:.4g}"
