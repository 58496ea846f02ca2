"""`difftool interpolate`: samples from noise interpolated between two draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import (
    BY_RULE,
    Force,
    Guidance,
    Model,
    OutFilm,
    Steps,
    recipe_of,
    spec,
)

Sampler = Annotated[str | None, spec("Deterministic sampler.", BY_RULE)]
Pairs = Annotated[int, typer.Option(help="Number of pairs of draws, one row each.")]
Between = Annotated[int, typer.Option(help="Samples per row, both ends included.")]
Seed = Annotated[int, typer.Option(help="Seed of the initial noise.")]
Class = Annotated[int | None, typer.Option("--class", help="Class of a conditional model.")]


def interpolate(
    ctx: typer.Context,
    model: Model = "digits-exact",
    sampler: Sampler = None,
    steps: Steps = None,
    pairs: Pairs = 8,
    between: Between = 9,
    seed: Seed = 0,
    label: Class = None,
    guidance: Guidance = None,
    out: OutFilm = Path("interpolation.png"),
    force: Force = False,
) -> None:
    """Show samples whose initial noise is interpolated between two draws.

    Try: difftool interpolate --pairs 4 --between 12
    """
    from difftool.errors import DifftoolError
    from difftool.files.writing import check_kind

    if pairs < 1:
        raise DifftoolError(f"pairs must be at least 1, got {pairs}")
    check_kind(out, ".png .gif", force)
    recipe = recipe_of({**ctx.params, "num_samples": pairs})
    recipe.check_names()
    from difftool.cli.progress import watching
    from difftool.cli.text import print_facts
    from difftool.runs.pictures import interpolated

    drawn = interpolated(recipe, between, out, force, watching)
    print_facts(
        {
            "shown": f"{pairs} pairs, {between} each",
            "NFE": str(drawn.nfe),
            "written to": str(out),
        }
    )
