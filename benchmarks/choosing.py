"""The page docs/choosing.md: what the default picks, why, and how it compares on trained networks.

Written by `python docs/generate.py` from `networks.json` and `stochastic.json`; nothing is
measured again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

import networks as ode
import stochastic as sde
from networks import CHOICE, CONFIRM, GUIDANCES, NFES, mean
from torch import nn

from difftool.models import Model, NetworkModel
from difftool.names.specs import spec_of
from difftool.outputs.markdown import markdown_table
from difftool.runs.experiments import Table as Experiments
from difftool.sampling import choose, default
from difftool.schedules import Cosine, DDPMLinear, ScaledLinear, Schedule
from difftool.training.config import Training

NOISY, QUIET, REGULAR = (
    "eps, from pure noise",
    "eps or the score, from a noise level below 40",
    "v and flow",
)
PACKAGED = {"digits-unet": REGULAR, "moons": QUIET}
EXAMPLES: dict[str, tuple[str, Schedule]] = {
    "eps on DDPM's table": ("eps", DDPMLinear()),
    "eps on Stable Diffusion's table": ("eps", ScaledLinear()),
    "v, cosine": ("v", Cosine()),
    "x0, cosine": ("x0", Cosine()),
}
METHODS = "default", *ode.RIVALS
STEPS = 1, 5, 10, 20, 50, 100


def page() -> str:
    known = json.loads(ode.RESULTS.read_text())
    laws = json.loads(sde.RESULTS.read_text())
    parts = [
        INTRODUCTION,
        _reasons(),
        "## What it picks\n\n" + _examples(),
        DETERMINISTIC,
        _scores(known, METHODS, lambda key, method: _ratios(known[key], method, NFES)),
        _networks(known),
    ]
    table = Experiments.load(ode.TABLE).experiments
    kinds = PACKAGED | {name: _kind(training) for name, training in table.items()}
    for kind in (REGULAR, NOISY, QUIET):
        parts += [
            f"### Networks that predict {kind}",
            _by_steps(known, [n for n in kinds if kinds[n] == kind]),
        ]
    parts += ["### Where the default loses", LOSES, _worst(known), STOCHASTIC]
    parts.append(
        _scores(
            laws,
            ("default", *sde.RIVALS),
            lambda key, method: sde.ratios(laws[key], method, NFES),
        )
    )
    return "\n\n".join(parts) + "\n"


def _reasons() -> str:
    """The reasons given in the docstring of `sampling/default.py`, as a list."""
    _, first, *rules, final = (default.__doc__ or "").strip().split("\n\n")
    lines: list[str] = []
    for line in "\n".join(rules).splitlines():
        lines.append(
            "  " + line.strip()
            if line.startswith(" ")
            else "- **" + line.replace(":", ":**", 1)
        )
    return "\n\n".join(
        ["## Why", " ".join(first.split()), "\n".join(lines), " ".join(final.split())]
    )


def _examples() -> str:
    rows = [["model", "guidance", *(f"N = {n}" for n in STEPS)]]
    for label, (predicts, schedule) in EXAMPLES.items():
        for scale in GUIDANCES:
            model = ode.guided(NetworkModel(nn.Identity(), schedule, predicts=predicts), scale)
            rows.append([label, f"{scale:g}", *(_choice(model, n) for n in STEPS)])
    return _table(rows)


def _choice(model: Model, steps: int) -> str:
    sampler, grid = choose(model, steps=steps)
    return f"`{spec_of('samplers', sampler)}` @ `{spec_of('grids', grid)}`"


def _scores(
    known: Iterable[str], methods: Sequence[str], ratios: Callable[[str, str], list[float]]
) -> str:
    """The table of means and worst cells. ratios: those of a key and a method."""
    rows = [["method", "confirm: mean", "worst", "cells", "choice: mean", "worst", "cells"]]
    for method in methods:
        row = [_named(method)]
        for names in (CONFIRM, CHOICE):
            found = [r for key in _keys(known, names) for r in ratios(key, method)]
            row += (
                [mean(found), f"{max(found):.2g}", str(len(found))] if found else ["", "", "0"]
            )
        rows.append(row)
    return _table(rows)


def _named(method: str) -> str:
    return f"`{method}`" if method != "default" else "**the default**"


def _kind(training: Training) -> str:
    if training.predicts != "eps":
        return REGULAR
    return QUIET if training.schedule == "scaled-linear" else NOISY


def _by_steps(known: ode.Cells, names: Sequence[str]) -> str:
    """The table of means over networks, by guidance and number of steps."""
    rows = [["guidance", "method", *map(str, NFES)]]
    for scale in GUIDANCES:
        keys = [k for k in _keys(known, names) if _scale(k) == scale]
        for method in METHODS:
            cells = [
                mean([r for key in keys for r in _ratios(known[key], method, (n,))])
                for n in NFES
            ]
            rows.append([f"{scale:g}", _named(method), *cells])
    return _table(rows)


def _worst(known: ode.Cells) -> str:
    """The table of cells in which the default's error is more than twice that of the best rival."""
    rows = [["network", "", "guidance", "steps", "error", "ratio to the best", "best rival"]]
    for title, names in (("confirm", CONFIRM), ("choice", CHOICE)):
        for key in _keys(known, names):
            for n in NFES:
                ratio = ode.ratios(known[key], "default", (n,))
                if ratio and ratio[0] > 2:
                    best = min(ode.RIVALS, key=lambda m: known[key][f"{m} | {n}"][0])
                    error = known[key][f"default | {n}"][0]
                    rows.append([
                        key.split(" ")[0], title, f"{_scale(key):g}", str(n), f"{error:.2g}", f"{ratio[0]:.2g}",
                        f"`{best}`",
                    ])  # fmt: skip
    return _table(rows)


def _ratios(cells: dict[str, list[float]], method: str, nfes: Sequence[int]) -> list[float]:
    """Ratios to the best rival, in the cells where the default was measured too."""
    return [
        r for n in nfes if cells.get(f"default | {n}") for r in ode.ratios(cells, method, (n,))
    ]


def _networks(known: ode.Cells) -> str:
    """The networks behind the results, with the number of cells of each."""
    lines = []
    for title, names in (("confirm", CONFIRM), ("choice", CHOICE)):
        counts = {
            n: sum(len(_ratios(known[k], "default", NFES)) for k in _keys(known, (n,)))
            for n in names
        }
        counted = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        missing = ", ".join(name for name, count in counts.items() if not count)
        lines.append(f"Cells of *{title}*: {counted}; none: {missing or '-'}.")
    return " ".join(lines) + "\n\n" + NONE


def _keys(known: Iterable[str], names: Sequence[str]) -> list[str]:
    return [key for key in known if key.split(" ")[0] in names]


def _scale(key: str) -> float:
    """The guidance scale in a key; 1 for networks without classes."""
    return float([*key.split(" "), "1"][3])


def _table(rows: list[list[str]]) -> str:
    return markdown_table(rows[0], rows[1:])


INTRODUCTION = """# Which sampler to take

Generated by `python docs/generate.py`. You need not choose: `sample(model, steps=20)` and `difftool sample` use
the default that this page describes, and `difftool show default --model M --nfe N --guidance W` says what will
run. Choose a sampler yourself to compare, to reproduce a paper, or where a table below shows that another one
is better for your kind of network."""

DETERMINISTIC = """## How good it is

`python benchmarks/networks.py` (`networks.json`) measures the RMS distance between a sampler's end points and
those of the converged flow of the same network from the same noise, and divides it by that of the best of seven
rivals *for that cell*. A cell is a network, a guidance scale (1, 3, 8) and a number of model evaluations (5,
10, 20, 30, 50; a guided one counts as one). So 1 is the best rival, picked separately in every cell; means are
geometric. The rule was chosen on the networks called *choice*. The networks called *confirm* played no part in
it and were measured once; those that failed to confirm an earlier rule are now among *choice*. A cell is left
out unless the errors of the default and of all rivals are at least ten times the change of the reference when
its steps were last doubled; this drops the most accurate cells, mostly the default's. Nothing is clipped."""

NONE = """Networks without cells were not measured since the rule last changed, or their reference is not
accurate enough. The latter include networks that predict x0: their flow has no end point at sigma = 0 that
refinement converges to, so the rule for x0 is not tested here."""

LOSES = """With few steps. Which rival is best with five or ten evaluations depends on the data, and no rule may
look at the data. On a few tight clusters it is one that interpolates x0 linearly and ends close to the data, on
pictures one with larger steps there (by a factor of 2 to 3 either way), so a choice for one kind of data loses
on the other. The default is the one that loses least on its worst network."""

STOCHASTIC = """## Stochastic

`python benchmarks/stochastic.py` (`stochastic.json`) measures the sliced Wasserstein distance from the samples
to the data, without guidance, and divides it by that of the best of three rivals, cell by cell. Many cells are
at the floor, the distance that an equally large set of data has."""
