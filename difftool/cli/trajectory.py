"""`difftool trajectory`: a run in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SPEC = "name:key=value,..."


def trajectory(
    model: Annotated[str, typer.Option(help="Model.", metavar=SPEC)] = "digits-exact",
    sampler: Annotated[
        str | None,
        typer.Option(help="Sampler.", metavar=SPEC, show_default="see difftool show default"),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Noise schedule.", metavar=SPEC, show_default="the model's own, else vp-linear"
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Grid of times.", metavar=SPEC, show_default="the sampler's own, else flow"
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the grid.", show_default="50")
    ] = None,
    num_samples: Annotated[
        int | None,
        typer.Option(help="How many samples.", show_default="8 pictures, 2000 points"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all noise.")] = 0,
    label: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="Class of a conditional model, or a range, in turn.",
            metavar="0|0-9",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="How far to lead to the class; 1: not beyond it.", show_default="none"
        ),
    ] = None,
    what: Annotated[
        str,
        typer.Option(
            help="States, or the model's estimates of the clean data.", metavar="state|x0"
        ),
    ] = "state",
    frames: Annotated[int, typer.Option(help="How many points of the run are shown.")] = 9,
    out: Annotated[
        Path, typer.Option(help="File: .png, side by side, or .gif, one after another.")
    ] = Path("trajectory.png"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Show a run: the states on their way from noise to data.

    Try: difftool trajectory --model eight-gaussians --sampler em --frames 40 --out particles.gif
    """
    from difftool.outputs.files import check_kind

    check_kind(out, ".png .gif", force)
    from difftool.runs.recipe import Recipe, class_of

    recipe = Recipe(
        model=model, sampler=sampler, schedule=schedule, grid=grid, steps=steps, seed=seed, label=class_of(label),
        guidance=guidance,
    )  # fmt: skip
    if num_samples is not None:
        recipe = recipe.changed(num_samples=num_samples)
    recipe.check_names()
    from difftool.cli.progress import watching
    from difftool.cli.text import print_facts
    from difftool.runs.pictures import trajectory, usual_of

    if num_samples is None:
        recipe = recipe.changed(num_samples=usual_of(model))
    facts = trajectory(recipe, what, frames, out, force, watching)
    print_facts(facts)
