"""`difftool plan SAMPLER`: the sampler as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SPEC = "name:key=value,..."


def plan(
    sampler: Annotated[str, typer.Argument(help="Sampler, or a plan in a .json file.", metavar="SAMPLER")],
    steps: Annotated[int, typer.Option(help="Steps of the grid.")] = 10,
    schedule: Annotated[str, typer.Option(help="Noise schedule.", metavar=SPEC)] = "vp-linear",
    grid: Annotated[str | None, typer.Option(help="Grid of times  [default: flow]", metavar=SPEC)] = None,
    last: Annotated[
        str | None, typer.Option(help="Last step: a step of the sampler, or the mean.", metavar="step|mean")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model whose mean and covariance the exact error is for.", metavar=SPEC)
    ] = "digits-exact",
    rows: Annotated[int, typer.Option(help="Rows to print, half from each end (0: all).")] = 20,
    out: Annotated[Path | None, typer.Option(help="Write the plan as JSON.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show the plan of SAMPLER: its table, NFE, registers, exact error on Gaussian data, prior mismatch."""
    from difftool.cli.plan_table import print_plan
    from difftool.outputs import check_absent
    from difftool.plan import plan_to_json, save_plan
    from difftool.planning import figures, plan_of

    if out is not None:
        check_absent(out, force)
    made = plan_of(sampler, steps=steps, schedule=schedule, grid=grid, last=last, model=model)
    if out is not None:
        save_plan(made, out)
    if json:
        print(plan_to_json(made))
    else:
        print_plan(made, figures(made, model), rows, str(out) if out else None)
