"""`difftool interpolate`: samples whose starts lie between those of two others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SPEC = "name:key=value,..."


def interpolate(
    model: Annotated[str, typer.Option(help="Model.", metavar=SPEC)] = "digits-exact",
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Sampler, a deterministic one.",
            metavar=SPEC,
            show_default="see difftool show default",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the grid.", show_default="50")
    ] = None,
    pairs: Annotated[int, typer.Option(help="How many pairs of starts, a row for each.")] = 8,
    between: Annotated[
        int, typer.Option(help="How many samples of a row, both ends among them.")
    ] = 9,
    seed: Annotated[int, typer.Option(help="Seed of the starts.")] = 0,
    label: Annotated[
        int | None, typer.Option("--class", help="Class, for a conditional model.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="How far to lead to the class; 1: not beyond it.", show_default="none"
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="File: .png, side by side, or .gif, one after another.")
    ] = Path("interpolation.png"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Show samples on the way from one latent to another, along the arc between them.

    Try: difftool interpolate --pairs 4 --between 12
    """
    from difftool.errors import DifftoolError
    from difftool.outputs.files import check_kind

    if pairs < 1:
        raise DifftoolError(f"pairs is a whole number of at least 1, got {pairs}")
    check_kind(out, ".png .gif", force)
    from difftool.runs.recipe import Recipe

    recipe = Recipe(
        model=model,
        sampler=sampler,
        steps=steps,
        num_samples=pairs,
        seed=seed,
        label=label,
        guidance=guidance,
    )
    recipe.check_names()
    from difftool.cli.progress import watching
    from difftool.cli.text import print_facts
    from difftool.runs.pictures import interpolated

    facts = interpolated(recipe, between, out, force, watching)
    print_facts(facts)
