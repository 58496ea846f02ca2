r"""Error of samplers per network evaluation, and the best errors of other libraries.

    python benchmarks/quality.py                                     # everything registered, at its defaults
    python benchmarks/quality.py --kind ode flow-abm ddim@karras "heun:variable=level@karras:level_min=0.01"
    python benchmarks/quality.py --kind ode --filter "dpmpp|unipc" --grids flow,karras,half-log-snr
    python benchmarks/quality.py --held-out --kind ode flow-abm dpmpp-2m dpmpp-2m@karras dpmpp-3m dpmpp-3m@karras \
        unipc unipc@karras deis lms heun euler                       # other data, other schedules

Deterministic samplers (--kind ode): the distance from the end points to those of the exact
probability flow from the same noise, RMS and median over the samples, with as many steps as the
evaluations allow. The score is the geometric mean of error / best peer over the problems and NFE
10, 15, 20, 35, 50, once with the median on digits64 and once with the RMS throughout; a peer is
the best of the other libraries in that cell, and below 1 is better than it. On held-out problems,
where no peer was run, the best sampler of this run takes its place.
Stochastic samplers (--kind sde): on the Gaussians, W2 of the output distribution, exact from the
plan; elsewhere the sliced W2 of samples and their spread around the nearest center.

Adaptive deterministic samplers run once and count where their cost fits; adaptive stochastic ones
are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import problems
import torch
from problems import PEERS_SDE, Problem
from scores import SCORED, Figures, bar, best_cells, console, scores, show

from difftool.errors import DifftoolError
from difftool.grids import Grid
from difftool.models import GaussianMixture
from difftool.names.registry import registry
from difftool.names.specs import make
from difftool.plan.analysis import Gaussian, output_law
from difftool.samplers import Sampler
from difftool.sampling import prepare, steps_within
from difftool.schedules import Schedule
from difftool.study import References, SampleLaw, sweep

NFES = "5,8,10,15,20,35,50,100"

Method = tuple[Sampler | None, Grid | None]
Setting = tuple[str, Problem, Schedule]


def methods(args: argparse.Namespace, stochastic: bool) -> dict[str, Method]:
    """The requested samplers, each with its grids, by their text `sampler@grid`."""
    names = args.specs or [*registry().axis("samplers"), "ddim:eta=1"]
    grids = args.grids.split(",") if args.grids else [""]
    texts = [
        f"{name}@{grid}".rstrip("@")
        for name in names
        for grid in (grids if "@" not in name else [""])
    ]
    out: dict[str, Method] = {}
    for text in texts:
        name, _, grid = text.partition("@")
        try:
            sampler = None if name == "default" else make("samplers", name)
        except DifftoolError as error:
            if args.specs:
                raise
            console.print(f"left out: {error}", highlight=False)
            continue
        if (sampler is not None and sampler.stochastic) == stochastic and re.search(
            args.filter, text
        ):
            out[text] = sampler, make("grids", grid) if grid else None
    return out


def settings(args: argparse.Namespace) -> Iterator[Setting]:
    """Yield (label, problem, schedule) of every requested setting."""
    named = problems.HELD_OUT if args.held_out else problems.NAMED
    schedules = problems.HELD_OUT_SCHEDULES if args.held_out else {"": problems.SCHEDULE}
    for name in args.problems.split(",") if args.problems else named:
        problem = named[name]()
        for label, schedule in schedules.items():
            yield f"{name} on {label}" if label else name, problem, schedule


def end_points(
    wanted: dict[str, Method], asked: Iterator[Setting], nfes: Sequence[int]
) -> dict[str, Figures]:
    """Errors of deterministic methods, by setting; also printed."""
    out: dict[str, Figures] = {}
    for label, problem, schedule in asked:
        begin, found = time.perf_counter(), {name: {} for name in wanted}
        for cell in sweep(
            References(problem.exact, problem.z), wanted, nfes, schedule=schedule
        ):
            e = cell.errors
            row = (
                {"note": cell.note}
                if e is None
                else {"rms": e.rms, "median": e.median, "max": e.max}
            )
            found[cell.name][cell.budget] = {**row, "nfe": cell.nfe, "steps": cell.steps}
        out[label], seconds = found, time.perf_counter() - begin
        for key in ("rms", "median"):
            title = f"{label}: {key} error ({seconds:.0f} s)"
            show(title, found, key, nfes, ("bar", bar(out, label, key)))
    return out


def laws(
    wanted: dict[str, Method], asked: Iterator[Setting], nfes: Sequence[int]
) -> dict[str, Figures]:
    """Distances of stochastic methods, by setting; also printed."""
    out: dict[str, Figures] = {}
    for label, problem, schedule in asked:
        exact, law = problem.exact, problem.law
        if law is None and len(exact.means) > 1:
            continue
        out[label] = found = {name: {} for name in wanted}
        for name, (sampler, grid) in wanted.items():
            for nfe in () if sampler.adaptive else nfes:
                steps = steps_within(exact, sampler, nfe, grid=grid, schedule=schedule)
                if steps:
                    found[name][nfe] = law_of(
                        exact, law, sampler, steps=steps, grid=grid, schedule=schedule
                    )
        show_laws(label, found, nfes)
    return out


def law_of(
    exact: GaussianMixture, law: SampleLaw | None, sampler: Sampler, **options: Any
) -> dict[str, Any]:
    """W2 of the plan's output distribution on Gaussian data, or distances of samples.

    Runs start from unit normals, so the prior mismatch is included.
    """
    shape = (law.count if law else 1, *exact.shape)
    try:
        job = prepare(exact, sampler, shape=shape, **options)
        scale = math.hypot(job.origin.alpha, job.origin.sigma)
        if law is not None:
            x = job.batch(0, law.count, scale * problems.noise(*shape))
            sliced = law.sliced(x)
            return {
                "sliced": sliced.value,
                "floor": sliced.floor,
                "spread": law.spread(x).value,
            }
        if job.plan is None:
            return {"note": "no plan"}
        data = Gaussian.of(exact.means[0].numpy(), exact.variance[0].numpy())
        return {"w2": output_law(job.plan, data, Gaussian.of(0 * data.mean, scale**2)).w2(data)}
    except DifftoolError as error:
        return {"note": str(error)}


def show_laws(label: str, found: Figures, nfes: Sequence[int]) -> None:
    for key, title in (
        ("w2", "W2, exact"),
        ("sliced", "sliced W2"),
        ("spread", "spread, 1 is correct"),
    ):
        cells = [row for rows in found.values() for row in rows.values() if key in row]
        if cells:
            floor = (
                f", {cells[0]['floor']:.4f} for as many exact samples"
                if key == "sliced"
                else ""
            )
            peers = PEERS_SDE.get(f"{label} {key}", {})
            show(
                f"{label}: {title}{floor}",
                found,
                key,
                nfes,
                ("best peer", peers),
                ratio=key != "spread",
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "specs", nargs="*", metavar="SAMPLER[@GRID]", help="default: everything registered"
    )
    parser.add_argument("--kind", default="ode,sde", choices=["ode", "sde", "ode,sde"])
    parser.add_argument(
        "--filter", default="", help="regular expression for the samplers to run"
    )
    parser.add_argument(
        "--grids", default="", help="grids to combine with every sampler, separated by commas"
    )
    parser.add_argument("--problems", default="", help="separated by commas; default: all")
    parser.add_argument("--nfes", default=NFES, help=f"default: {NFES}")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="use the problems and schedules that played no part in any choice",
    )
    parser.add_argument("--json", type=Path, help="write all results to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    nfes, out = [*map(int, args.nfes.split(","))], {}
    try:
        wanted = {
            kind: methods(args, stochastic=kind == "sde") for kind in args.kind.split(",")
        }
    except DifftoolError as error:
        parser.error(str(error))
    if "ode" in wanted:
        out["ode"] = found = end_points(wanted["ode"], settings(args), nfes)
        if set(SCORED) <= set(nfes):
            out["scores"] = scores(found)
        best_cells(found, nfes)
    if "sde" in wanted:
        out["sde"] = laws(wanted["sde"], settings(args), nfes)
    if args.json:
        args.json.write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
