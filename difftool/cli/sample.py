"""`difftool sample`: draw samples and write them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


SPEC = "name:key=value,..."


def sample(
    model: Annotated[str, typer.Option(help="Model.", metavar=SPEC)] = "digits-exact",
    sampler: Annotated[str, typer.Option(help="Sampler, or a plan in a .json file.", metavar=SPEC)] = "ddim",
    schedule: Annotated[
        str | None, typer.Option(help="Noise schedule  [default: the model's own, else vp-linear]", metavar=SPEC)
    ] = None,
    grid: Annotated[str | None, typer.Option(help="Grid of times  [default: flow]", metavar=SPEC)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the grid  [default: 50]")] = None,
    nfe: Annotated[int | None, typer.Option(help="Network evaluations, in place of --steps.")] = None,
    last: Annotated[
        str | None, typer.Option(help="Last step: a step of the sampler, or the mean.", metavar="step|mean")
    ] = None,
    num_samples: Annotated[int, typer.Option(help="How many samples.")] = 64,
    batch_size: Annotated[int | None, typer.Option(help="How many at a time  [default: all]")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all noise.")] = 0,
    label: Annotated[int | None, typer.Option("--class", help="Class, for a conditional model.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute.", metavar="auto|cpu|cuda|mps")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of the network.", metavar="float32|float64|bfloat16|float16")
    ] = "float32",
    out: Annotated[
        Path | None, typer.Option(help="File: .png, .npz or .safetensors  [default: a new .png each time]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="Repeat the run that wrote this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Draw samples, and write a picture or an array.

    Try: difftool sample --sampler em --steps 500
    """
    from difftool.cli.report import carry_out
    from difftool.outputs import read_recipe
    from difftool.recipes import Recipe

    if recipe is not None:
        wanted = Recipe.from_dict(read_recipe(recipe), recipe)
    else:
        wanted = Recipe(
            model=model, sampler=sampler, schedule=schedule, grid=grid, steps=steps, nfe=nfe, last=last,  # type: ignore[arg-type]
            num_samples=num_samples, batch_size=batch_size, seed=seed, label=label, device=device, dtype=dtype,
        )  # fmt: skip
    carry_out(wanted, out, force, json)
