"""`difftool trajectory`: a run in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import (
    Class,
    Force,
    Grid,
    Guidance,
    Model,
    OutFilm,
    Sampler,
    ScheduleOfModel,
    Seed,
    Shown,
    Steps,
    recipe_of,
)

What = Annotated[
    str,
    typer.Option(
        help="What to show: states, or the model's estimates of x0.", metavar="state|x0"
    ),
]
Frames = Annotated[int, typer.Option(help="Number of states to show, spread over the run.")]


def trajectory(
    ctx: typer.Context,
    model: Model = "digits-exact",
    sampler: Sampler = None,
    schedule: ScheduleOfModel = None,
    grid: Grid = None,
    steps: Steps = None,
    num_samples: Shown = None,
    seed: Seed = 0,
    label: Class = None,
    guidance: Guidance = None,
    what: What = "state",
    frames: Frames = 9,
    out: OutFilm = Path("trajectory.png"),
    force: Force = False,
) -> None:
    """Show the states of a run on the way from noise to data.

    Try: difftool trajectory --model eight-gaussians --sampler em --frames 40
    --out particles.gif
    """
    from difftool.files.writing import check_kind

    check_kind(out, ".png .gif", force)
    recipe = recipe_of(ctx.params)
    recipe.check_names()
    from difftool.cli.progress import watching
    from difftool.cli.text import print_facts
    from difftool.runs.pictures import trajectory, usual_of

    if num_samples is None:
        recipe = recipe.changed(num_samples=usual_of(model))
    drawn = trajectory(recipe, what, frames, out, force, watching)
    print_facts(
        {
            "shown": ", ".join(drawn.titles),
            "NFE": str(drawn.nfe),
            "written to": str(out),
        }
    )
