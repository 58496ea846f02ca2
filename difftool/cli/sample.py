"""`difftool sample`: draw samples and write them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import given

SPEC = "name:key=value,..."
SAMPLES, MACHINE, OUTPUT = "How many", "Machine", "Output"  # panels of the help


def sample(
    ctx: typer.Context,
    model: Annotated[str, typer.Option(help="Model.", metavar=SPEC)] = "digits-exact",
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Sampler, or a plan in a .json file.",
            metavar=SPEC,
            show_default="see difftool show default",
        ),
    ] = None,
    stochastic: Annotated[
        bool,
        typer.Option(
            "--stochastic/--deterministic", help="A stochastic sampler, where none is named."
        ),
    ] = False,
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
    nfe: Annotated[
        int | None, typer.Option(help="Network evaluations, in place of --steps.")
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            help="Last step: one of the sampler, or the mean.",
            metavar="step|mean",
            show_default="the sampler's choice",
        ),
    ] = None,
    num_samples: Annotated[
        int, typer.Option(help="How many samples.", rich_help_panel=SAMPLES)
    ] = 64,
    batch_size: Annotated[
        int | None,
        typer.Option(help="How many at a time.", show_default="all", rich_help_panel=SAMPLES),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all noise.", rich_help_panel=SAMPLES)] = 0,
    noise: Annotated[
        str | None,
        typer.Option(
            help="Numbers of their own for every step, increments of one path, or torch's.",
            metavar="independent|path|generator",
            show_default="independent",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="Class of a conditional model, or a range, in turn.",
            metavar="0|0-9",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="How far to lead to the class; 1: not beyond it.",
            show_default="none",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    clip: Annotated[
        bool | None,
        typer.Option(
            help="Keep estimates of the data within their range.",
            show_default="for pictures in [-1, 1]",
            rich_help_panel=SAMPLES,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="Where to compute.", metavar="auto|cpu|cuda|mps", rich_help_panel=MACHINE
        ),
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            help="Of the network: float32, float64, bfloat16 or float16.",
            metavar="DTYPE",
            rich_help_panel=MACHINE,
        ),
    ] = "float32",
    threads: Annotated[
        int | None,
        typer.Option(help="Of the processor.", show_default="torch's", rich_help_panel=MACHINE),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File: .png, .npz or .safetensors.",
            show_default="a new one each time",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite --out.", rich_help_panel=OUTPUT)
    ] = False,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Repeat the run that wrote this file; options that are given beside it take the place of its own.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Draw samples, and write a picture or an array.

    Try: difftool sample --sampler em --steps 500
    """
    from difftool.errors import DifftoolError
    from difftool.outputs.samples import check_out
    from difftool.runs.recipe import Recipe, class_of

    options = {
        "model": model, "sampler": sampler, "stochastic": stochastic, "schedule": schedule, "grid": grid,
        "steps": steps, "nfe": nfe, "last": last, "num_samples": num_samples, "batch_size": batch_size, "seed": seed,
        "noise": noise, "label": class_of(label), "guidance": guidance, "clip": clip, "device": device, "dtype": dtype,
        "threads": threads,
    }  # fmt: skip
    named = given(ctx)
    if stochastic and "sampler" in named:
        raise DifftoolError(
            "--stochastic picks the sampler where none is named; leave it out, or --sampler"
        )
    changes = {name: value for name, value in options.items() if name in named}
    wanted = (Recipe.load(recipe) if recipe else Recipe()).changed(**changes)
    wanted.check_names()
    check_out(out, force)
    from difftool.cli.report import (
        run_sample,
    )  # torch, and so a second: after all that can be said without it

    run_sample(wanted, out, force, json)
