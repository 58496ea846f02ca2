"""The page docs/choosing.md: what the default takes, why, and how it and its rivals do on trained networks.

Written by `python docs/generate.py` from `networks.json` and `stochastic.json`, with nothing measured anew.
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
        "## What it takes\n\n" + _examples(),
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
    """The reasons of `sampling/default.py`, its paragraphs as a list."""
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
    rows = [["model", "guidance", *(f"{n} steps" for n in STEPS)]]
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
    """ratios: of a key and a method."""
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
    """Means over networks."""
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
    """Cells in which it is more than twice as wrong as the best rival."""
    rows = [["network", "", "guidance", "steps", "error", "over the best", "which is"]]
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
    """Over the best rival, in the cells where the default is known too."""
    return [
        r for n in nfes if cells.get(f"default | {n}") for r in ode.ratios(cells, method, (n,))
    ]


def _networks(known: ode.Cells) -> str:
    """Which networks the figures stand on."""
    lines = []
    for title, names in (("confirm", CONFIRM), ("choice", CHOICE)):
        counts = {
            n: sum(len(_ratios(known[k], "default", NFES)) for k in _keys(known, (n,)))
            for n in names
        }
        told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        missing = ", ".join(name for name, count in counts.items() if not count)
        lines.append(f"Cells of *{title}*: {told}; none: {missing or '-'}.")
    return " ".join(lines) + "\n\n" + NONE


def _keys(known: Iterable[str], names: Sequence[str]) -> list[str]:
    return [key for key in known if key.split(" ")[0] in names]


def _scale(key: str) -> float:
    """The guidance that a key names; 1 for networks without classes."""
    return float([*key.split(" "), "1"][3])


def _table(rows: list[list[str]]) -> str:
    return markdown_table(rows[0], rows[1:])


INTRODUCTION = """# Which sampler to take

Generated by `python docs/generate.py`. Name no sampler: `sample(model, steps=20)` and `difftool sample` take what this
page is about, and `difftool show default --model M --nfe N --guidance W` says what will run. Name one to compare, to
repeat a paper, or where a table below says that another is better for your kind of network."""

DETERMINISTIC = """## How good it is

`python benchmarks/networks.py` (`networks.json`): RMS distance of the end points to those of the converged flow of the
same network from the same noise, over that of the best of seven rivals *for that cell*: a network, a guidance (1, 3,
8) and a number of answers (5, 10, 20, 30, 50; a guided answer is one). 1 is the best rival, chosen anew for every
cell; means are geometric. The rule was chosen on the networks called *choice*; *confirm* took no part in it and was
measured once. Networks that were to confirm an earlier rule, and did not, are among the choice. A cell is left out
where the error of the default or of a rival is not ten times what the reference moved by when its steps were doubled
last: the most exact cells, of the default above all. Nothing is clipped here."""

NONE = """Without a cell is what was not measured since the rule was last changed, or whose reference is not exact
enough. Networks that predict x0 are among the latter: their flow has no end at sigma = 0 that refinement converges to,
so that nothing here judges the rule for x0."""

LOSES = """In few steps. Which rival is the best of five or ten answers follows from the data, and no rule may ask for
these: on a few tight clusters one that draws a line through x0 and ends close to the data, on pictures one whose steps
are larger there (by a factor of 2 to 3 either way), so that whatever is chosen for one kind of data loses on the other.
What is taken is the one that loses least on its worst network."""

STOCHASTIC = """## Stochastic

`python benchmarks/stochastic.py` (`stochastic.json`): the sliced Wasserstein distance of the samples to the data,
unguided, over that of the best of three rivals, cell by cell. Many cells are at the floor that as many of the data
themselves have."""
