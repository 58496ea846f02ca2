"""`difftool train`: train a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import given

SPEC = "name:key=value,..."
NUMBERS, KEEPING, MACHINE = "Optimization", "What is kept", "Machine"  # panels of the help


def train(
    ctx: typer.Context,
    data: Annotated[str, typer.Option(help="Data set.", metavar=SPEC)] = "digits",
    network: Annotated[
        str | None,
        typer.Option(
            help="Network.",
            metavar=SPEC,
            show_default="a U-Net by the pictures' size, mlp for points",
        ),
    ] = None,
    schedule: Annotated[str, typer.Option(help="Noise schedule.", metavar=SPEC)] = "flow",
    predicts: Annotated[
        str, typer.Option(help="What the network returns.", metavar="eps|x0|v|flow|score|edm")
    ] = "flow",
    time: Annotated[
        str,
        typer.Option(
            help="What it is told as time.", metavar="t|index|rounded-index|level|log-level"
        ),
    ] = "t",
    weighting: Annotated[
        str | None,
        typer.Option(
            help="How much errors count.",
            metavar=SPEC,
            show_default="simple for eps and score, else output",
        ),
    ] = None,
    times: Annotated[
        str, typer.Option(help="Which times are trained.", metavar=SPEC)
    ] = "uniform",
    data_std: Annotated[
        float, typer.Option(help="Standard deviation of the data, for edm.")
    ] = 0.5,
    unconditional: Annotated[
        bool, typer.Option("--unconditional", help="Leave classes and texts out.")
    ] = False,
    learn_variance: Annotated[
        bool,
        typer.Option(
            "--learn-variance",
            help="Learn the variance of a step too, for ddpm:variance=learned.",
        ),
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(help="How many samples of the data are used.", show_default="all"),
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Steps of the optimizer.", rich_help_panel=NUMBERS)
    ] = 10_000,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="How often each sample is seen, in place of --steps.", rich_help_panel=NUMBERS
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Samples of a step.", rich_help_panel=NUMBERS)
    ] = 128,
    learning_rate: Annotated[
        float, typer.Option(help="Of AdamW.", rich_help_panel=NUMBERS)
    ] = 1e-3,
    weight_decay: Annotated[
        float, typer.Option(help="Of AdamW.", rich_help_panel=NUMBERS)
    ] = 0.0,
    warmup: Annotated[
        int,
        typer.Option(help="Steps in which the learning rate rises.", rich_help_panel=NUMBERS),
    ] = 100,
    decay: Annotated[
        str,
        typer.Option(
            help="How it falls after.", metavar="none|cosine", rich_help_panel=NUMBERS
        ),
    ] = "cosine",
    clip: Annotated[
        float, typer.Option(help="Largest norm of the gradient.", rich_help_panel=NUMBERS)
    ] = 1.0,
    ema: Annotated[
        float,
        typer.Option(help="Decay of the weights' moving average.", rich_help_panel=NUMBERS),
    ] = 0.999,
    drop: Annotated[
        float,
        typer.Option(
            help="How often a condition is left out, for guidance.", rich_help_panel=NUMBERS
        ),
    ] = 0.1,
    flip: Annotated[
        bool,
        typer.Option("--flip", help="Mirror every other picture.", rich_help_panel=NUMBERS),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of everything that is random.", rich_help_panel=NUMBERS)
    ] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of the training.", rich_help_panel=KEEPING)
    ] = Path("training"),
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the training in this folder.", rich_help_panel=KEEPING),
    ] = None,
    save_every: Annotated[
        int, typer.Option(help="Steps between checkpoints.", rich_help_panel=KEEPING)
    ] = 1000,
    sample_every: Annotated[
        int,
        typer.Option(
            help="Steps between pictures of samples; 0: none.", rich_help_panel=KEEPING
        ),
    ] = 1000,
    log_every: Annotated[
        int, typer.Option(help="Steps between lines of the log.", rich_help_panel=KEEPING)
    ] = 50,
    precision: Annotated[
        str,
        typer.Option(help="Of the network.", metavar="no|bf16|fp16", rich_help_panel=MACHINE),
    ] = "no",
    compile: Annotated[
        bool, typer.Option("--compile", help="By torch.compile.", rich_help_panel=MACHINE)
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where to compute.", metavar="auto|cpu", rich_help_panel=MACHINE)
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(help="Of the processor.", show_default="torch's", rich_help_panel=MACHINE),
    ] = None,
) -> None:
    """Train a network, to sample from with --model checkpoint:path=FOLDER.

    Try: difftool train --data moons --steps 2000 --out my-moons
    """
    named = given(ctx)
    every = {"log_every": log_every, "save_every": save_every, "sample_every": sample_every}
    from difftool.names.specs import check_names

    check_names(
        datasets=data, networks=network, schedules=schedule, weightings=weighting, times=times
    )
    from difftool.cli.training import run_training  # torch, and so a second

    run_training(
        ctx.params,
        named,
        every,
        out=resume or out,
        resume=resume is not None,
        device=device,
        threads=threads,
    )
