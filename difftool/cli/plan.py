"""`difftool plan SAMPLER`: the sampler as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import Force, Grid, Last, spec

Sampler = Annotated[
    str, typer.Argument(help="Sampler, or a plan in a .json file.", metavar="SAMPLER")
]
Steps = Annotated[int | None, typer.Option(help="Steps of the grid.", show_default="10")]
Schedule = Annotated[str | None, spec("Noise schedule.", "vp-linear")]
Model = Annotated[str, spec("Model whose mean and covariance the exact error is for.")]
Rows = Annotated[int, typer.Option(help="Rows to print, half from each end (0: all).", min=0)]
Out = Annotated[Path | None, typer.Option(help="Write the plan to this .json file.")]
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
    """Show the plan of SAMPLER: its table, NFE, registers, exact error on Gaussian data, prior mismatch."""
    from difftool.names.specs import check_names

    check_names(samplers=sampler, schedules=schedule, grids=grid, models=model)
    from difftool.cli.plan_table import print_plan
    from difftool.plan import plan_to_json, save_plan
    from difftool.runs.plans import check_plan_file, figures, plan_of

    check_plan_file(out, force)
    made = plan_of(sampler, steps=steps, schedule=schedule, grid=grid, last=last, model=model)
    if json:
        facts = {}
    else:
        facts = figures(made, model, sampler)
    if out is not None:
        save_plan(made, out)
        facts["written to"] = str(out)
    if json:
        print(plan_to_json(made))
    else:
        print_plan(made, facts, rows)
