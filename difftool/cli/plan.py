"""`difftool plan SAMPLER`: the sampler as a table of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import Force, Grid, Last, spec

Sampler = Annotated[
    str, typer.Argument(help="Sampler, or a saved plan (.json).", metavar="SAMPLER")
]
Steps = Annotated[int | None, typer.Option(help="Number of steps.", show_default="10")]
Schedule = Annotated[str | None, spec("Noise schedule.", "vp-linear")]
Model = Annotated[
    str, spec("Exact model whose mean and covariance the errors are computed for.")
]
Rows = Annotated[
    int,
    typer.Option(
        help="Maximum number of rows to print, half from each end; 0 prints all.", min=0
    ),
]
Out = Annotated[Path | None, typer.Option(help="Save the plan to this .json file.")]
Json = Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")]


def plan(
    sampler: Sampler,
    steps: Steps = None,
    schedule: Schedule = None,
    grid: Grid = None,
    last: Last = None,
    model: Model = "digits-exact",
    rows: Rows = 20,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Show the plan of SAMPLER: its coefficients, NFE, and exact errors on Gaussian data."""
    from difftool.names.specs import check_names

    check_names(samplers=sampler, schedules=schedule, grids=grid, models=model)
    from difftool.cli.plan_table import print_plan
    from difftool.plan import plan_to_json, save_plan
    from difftool.runs.plans import check_plan_file, figures, plan_of

    check_plan_file(out, force)
    wanted = plan_of(sampler, steps=steps, schedule=schedule, grid=grid, last=last, model=model)
    if json:
        facts = {}
    else:
        facts = figures(wanted, model, sampler)
    if out is not None:
        save_plan(wanted, out)
        facts["written to"] = str(out)
    if json:
        print(plan_to_json(wanted))
    else:
        print_plan(wanted, facts, rows)
