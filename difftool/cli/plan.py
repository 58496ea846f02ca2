"""`difftool plan SAMPLER`: the sampler as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SPEC = "name:key=value,..."


def plan(
    sampler: Annotated[
        str, typer.Argument(help="Sampler, or a plan in a .json file.", metavar="SAMPLER")
    ],
    steps: Annotated[
        int | None, typer.Option(help="Steps of the grid.", show_default="10")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Noise schedule.", metavar=SPEC, show_default="vp-linear")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Grid of times.", metavar=SPEC, show_default="the sampler's own, else flow"
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            help="Last step: one of the sampler, or the mean.",
            metavar="step|mean",
            show_default="the sampler's choice",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Model whose mean and covariance the exact error is for.", metavar=SPEC
        ),
    ] = "digits-exact",
    rows: Annotated[
        int, typer.Option(help="Rows to print, half from each end (0: all).", min=0)
    ] = 20,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this .json file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show the plan of SAMPLER: its table, NFE, registers, exact error on Gaussian data, prior mismatch."""
    from difftool.names.specs import check_names

    check_names(samplers=sampler, schedules=schedule, grids=grid, models=model)
    from difftool.cli.plan_table import print_plan
    from difftool.plan import plan_to_json, save_plan
    from difftool.runs.plans import check_plan_file, figures, plan_of

    check_plan_file(out, force)
    made = plan_of(sampler, steps=steps, schedule=schedule, grid=grid, last=last, model=model)
    facts = {} if json else figures(made, model, sampler)
    if out is not None:
        save_plan(made, out)
        facts["written to"] = str(out)
    if json:
        print(plan_to_json(made))
    else:
        print_plan(made, facts, rows)
