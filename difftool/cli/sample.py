"""`difftool sample`: draw samples and save them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import (
    CLASS,
    DEVICE,
    FORCE,
    GUIDANCE,
    NUM_SAMPLES,
    SEED,
    THREADS,
    Grid,
    Last,
    Model,
    SamplerOrPlan,
    ScheduleOfModel,
    Steps,
    given,
    recipe_of,
    under,
)

SAMPLES, MACHINE, OUTPUT = "Samples", "Hardware", "Output"  # panels of the help

Stochastic = Annotated[
    bool,
    typer.Option(
        "--stochastic/--deterministic",
        help="Kind of sampler to choose if --sampler is not given.",
    ),
]
Nfe = Annotated[
    int | None, typer.Option(help="Number of function evaluations, instead of --steps.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Samples per batch.", show_default="all", rich_help_panel=SAMPLES),
]
Noise = Annotated[
    str | None,
    typer.Option(
        help="Independent noise per step, increments of a Brownian path, or torch's generator.",
        metavar="independent|path|generator",
        show_default="independent",
        rich_help_panel=SAMPLES,
    ),
]
Clip = Annotated[
    bool | None,
    typer.Option(
        help="Clip estimates of the clean data to its range.",
        show_default="for pictures in [-1, 1]",
        rich_help_panel=SAMPLES,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="Data type of the network: float32, float64, bfloat16 or float16.",
        metavar="DTYPE",
        rich_help_panel=MACHINE,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Output file: .png, .npz or .safetensors.",
        show_default="a new name each time",
        rich_help_panel=OUTPUT,
    ),
]
Repeated = Annotated[
    Path | None,
    typer.Option(
        help="Repeat the run that wrote this file; options given here override its own.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel=OUTPUT)
]


def sample(
    ctx: typer.Context,
    model: Model = "digits-exact",
    sampler: SamplerOrPlan = None,
    stochastic: Stochastic = False,
    schedule: ScheduleOfModel = None,
    grid: Grid = None,
    steps: Steps = None,
    nfe: Nfe = None,
    last: Last = None,
    num_samples: Annotated[int, under(SAMPLES, NUM_SAMPLES)] = 64,
    batch_size: BatchSize = None,
    seed: Annotated[int, under(SAMPLES, SEED)] = 0,
    noise: Noise = None,
    label: Annotated[str | None, under(SAMPLES, CLASS)] = None,
    guidance: Annotated[float | None, under(SAMPLES, GUIDANCE)] = None,
    clip: Clip = None,
    device: Annotated[str, under(MACHINE, DEVICE)] = "auto",
    dtype: Dtype = "float32",
    threads: Annotated[int | None, under(MACHINE, THREADS)] = None,
    out: Out = None,
    force: Annotated[bool, under(OUTPUT, FORCE)] = False,
    recipe: Repeated = None,
    json: Json = False,
) -> None:
    """Draw samples and save them as a picture or an array.

    Try: difftool sample --sampler em --steps 500
    """
    from difftool.errors import DifftoolError
    from difftool.outputs.samples import check_out
    from difftool.runs.recipe import Recipe

    named = given(ctx)
    if stochastic and "sampler" in named:
        raise DifftoolError("--stochastic is for runs without --sampler; leave one of them out")
    wanted = recipe_of(named, Recipe.load(recipe) if recipe else None)
    wanted.check_names()
    check_out(out, force)
    # imports torch, which takes a second: after every check that does not need it
    from difftool.cli.report import run_sample

    run_sample(wanted, out, force, json)
