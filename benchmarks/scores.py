"""Tables of quality.py: errors by method and NFE, the bar they are divided by, and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from problems import PEERS
from rich.console import Console
from rich.table import Table

SCORED = (10, 15, 20, 35, 50)  # the NFEs that enter the score

Figures = dict[str, dict[int, dict[str, Any]]]  # by method and NFE
console = Console(width=160)


def bar(found: Mapping[str, Figures], label: str, key: str) -> dict[int, float]:
    """What errors are divided by: the best peer, or the best of this run if no peer was run."""
    if label in PEERS:
        return PEERS.get(f"{label} {key}", {} if key == "median" else PEERS[label])
    best: dict[int, float] = {}
    for rows in found[label].values():
        for nfe, row in rows.items():
            if key in row:
                best[nfe] = min(row[key], best.get(nfe, math.inf))
    return best


def score(found: Mapping[str, Figures], name: str, median_on: str) -> float:
    """Geometric mean of error / bar over the settings and NFEs; NaN if a cell is missing."""
    logs = []
    for label in found:
        key = "median" if re.match(median_on, label) else "rms"
        for nfe in SCORED:
            value = found[label][name].get(nfe, {}).get(key, math.nan)
            logs.append(math.log(value / bar(found, label, key).get(nfe, math.nan)))
    return math.exp(fmean(logs))


def scores(found: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """Both scores of every method, best first; also printed."""
    rows = []
    for name in next(iter(found.values())):
        median, rms = score(found, name, "digits64|sharp"), score(found, name, "$")
        rows.append((math.isnan(median), median, rms, name))
    table = Table(
        "score",
        "median on digits",
        "RMS throughout",
        title="error / bar, geometric mean over NFE 10 to 50",
    )
    for _, median, rms, name in sorted(rows):
        table.add_row(name, f"{median:.3g}", f"{rms:.3g}")
    console.print(table)
    return {
        name: {"median on digits": median, "rms": rms} for _, median, rms, name in sorted(rows)
    }


def best_cells(found: Mapping[str, Figures], nfes: Sequence[int]) -> None:
    """Print the best method of the run in every cell in which a peer was measured."""
    nfes = [nfe for nfe in nfes if any(nfe in cells for cells in PEERS.values())]
    table = _table("best of difftool / best peer", nfes)
    for label in [label for label in found if label in PEERS]:
        for key in ("rms", "median"):
            peers = bar(found, label, key)
            cells = []
            for nfe in nfes:
                every = [
                    (rows[nfe][key], name)
                    for name, rows in found[label].items()
                    if key in rows.get(nfe, {})
                ]
                cells.append(
                    f"{min(every)[0] / peers[nfe]:.2f} {min(every)[1]}"
                    if every and peers
                    else "-"
                )
            if peers:
                table.add_row(f"{label} {key}", *cells)
    if table.row_count:
        console.print(table)


def show(
    title: str,
    found: Figures,
    key: str,
    nfes: Sequence[int],
    last: tuple[str, dict[int, float]],
    ratio: bool = True,
) -> None:
    """Print a row per method, with its ratio to the last row in brackets. last: name and values of that row."""
    name, bars = last
    table = _table("NFE", nfes, title)
    for method, rows in found.items():
        values = [rows.get(nfe, {}).get(key) for nfe in nfes]
        table.add_row(
            method,
            *(
                _cell(v, bars.get(n) if ratio else None)
                for v, n in zip(values, nfes, strict=True)
            ),
        )
    if bars:
        table.add_row(name, *(_cell(bars.get(nfe)) for nfe in nfes))
    console.print(table)


def _table(first: str, nfes: Sequence[int], title: str | None = None) -> Table:
    table = Table(title=title)
    table.add_column(first, overflow="fold", ratio=1)
    for nfe in nfes:
        table.add_column(str(nfe), overflow="fold")
    return table


def _cell(value: float | None, bar: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if bar is None else f"{value:.3g} ({value / bar:.2g})"
