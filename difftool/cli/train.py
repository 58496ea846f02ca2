"""`difftool train`: train a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import THREADS, Data, Schedule, given, spec, under

NUMBERS, KEEPING, MACHINE = "Optimization", "Output", "Hardware"  # panels of the help

Network = Annotated[
    str | None,
    spec("Network.", "a U-Net sized for the pictures, or mlp for points"),
]
Predicts = Annotated[
    str, typer.Option(help="What the network predicts.", metavar="eps|x0|v|flow|score|edm")
]
Time = Annotated[
    str,
    typer.Option(
        help="Time that is passed to the network.",
        metavar="t|index|rounded-index|level|log-level",
    ),
]
Weighting = Annotated[
    str | None,
    spec("Weighting of the loss over noise levels.", "simple for eps and score, else output"),
]
Times = Annotated[str, spec("Distribution of the training times.")]
DataStd = Annotated[
    float, typer.Option(help="Standard deviation of the data, for --predicts edm.")
]
Unconditional = Annotated[bool, typer.Option("--unconditional", help="Ignore labels and text.")]
LearnVariance = Annotated[
    bool,
    typer.Option(
        "--learn-variance",
        help="Also learn the variance of each step, for ddpm:variance=learned.",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Number of training samples to use.", show_default="all"),
]
Steps = Annotated[int, typer.Option(help="Optimizer steps.", rich_help_panel=NUMBERS)]
Epochs = Annotated[
    int | None,
    typer.Option(help="Passes over the data, instead of --steps.", rich_help_panel=NUMBERS),
]
BatchSize = Annotated[int, typer.Option(help="Samples per step.", rich_help_panel=NUMBERS)]
LearningRate = Annotated[
    float, typer.Option(help="Learning rate of AdamW.", rich_help_panel=NUMBERS)
]
WeightDecay = Annotated[
    float, typer.Option(help="Weight decay of AdamW.", rich_help_panel=NUMBERS)
]
Warmup = Annotated[
    int,
    typer.Option(help="Steps of linear learning-rate warmup.", rich_help_panel=NUMBERS),
]
Decay = Annotated[
    str,
    typer.Option(
        help="Learning-rate decay after the warmup.",
        metavar="none|cosine",
        rich_help_panel=NUMBERS,
    ),
]
Clip = Annotated[
    float, typer.Option(help="Maximum norm of the gradient.", rich_help_panel=NUMBERS)
]
Ema = Annotated[
    float,
    typer.Option(help="Decay of the moving average of the weights.", rich_help_panel=NUMBERS),
]
Drop = Annotated[
    float,
    typer.Option(
        help="Fraction of samples whose conditioning is dropped, for guidance.",
        rich_help_panel=NUMBERS,
    ),
]
Flip = Annotated[
    bool,
    typer.Option(
        "--flip", help="Mirror half of the pictures at random.", rich_help_panel=NUMBERS
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed.", rich_help_panel=NUMBERS)]
Out = Annotated[
    Path,
    typer.Option(help="Folder for checkpoints, logs and samples.", rich_help_panel=KEEPING),
]
Resume = Annotated[
    Path | None,
    typer.Option(help="Resume the training in this folder.", rich_help_panel=KEEPING),
]
SaveEvery = Annotated[
    int, typer.Option(help="Steps between checkpoints.", rich_help_panel=KEEPING)
]
SampleEvery = Annotated[
    int,
    typer.Option(
        help="Steps between pictures of samples; 0 for none.", rich_help_panel=KEEPING
    ),
]
LogEvery = Annotated[
    int, typer.Option(help="Steps between log entries.", rich_help_panel=KEEPING)
]
Precision = Annotated[
    str,
    typer.Option(help="Mixed-precision mode.", metavar="no|bf16|fp16", rich_help_panel=MACHINE),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the network with torch.compile.", rich_help_panel=MACHINE
    ),
]
Device = Annotated[
    str, typer.Option(help="Device to run on.", metavar="auto|cpu", rich_help_panel=MACHINE)
]


def train(
    ctx: typer.Context,
    data: Data = "digits",
    network: Network = None,
    schedule: Schedule = "flow",
    predicts: Predicts = "flow",
    time: Time = "t",
    weighting: Weighting = None,
    times: Times = "uniform",
    data_std: DataStd = 0.5,
    unconditional: Unconditional = False,
    learn_variance: LearnVariance = False,
    samples: Samples = None,
    steps: Steps = 10_000,
    epochs: Epochs = None,
    batch_size: BatchSize = 128,
    learning_rate: LearningRate = 1e-3,
    weight_decay: WeightDecay = 0.0,
    warmup: Warmup = 100,
    decay: Decay = "cosine",
    clip: Clip = 1.0,
    ema: Ema = 0.999,
    drop: Drop = 0.1,
    flip: Flip = False,
    seed: Seed = 0,
    out: Out = Path("training"),
    resume: Resume = None,
    save_every: SaveEvery = 1000,
    sample_every: SampleEvery = 1000,
    log_every: LogEvery = 50,
    precision: Precision = "no",
    compile: Compile = False,
    device: Device = "auto",
    threads: Annotated[int | None, under(MACHINE, THREADS)] = None,
) -> None:
    """Train a network; sample from it with --model checkpoint:path=FOLDER.

    Try: difftool train --data moons --steps 2000 --out my-moons
    """
    from difftool.names.specs import check_names

    check_names(
        datasets=data, networks=network, schedules=schedule, weightings=weighting, times=times
    )
    from difftool.cli.training import run_training  # imports torch, which takes a second

    if resume is None:
        folder = out
    else:
        folder = resume
    run_training(ctx.params, given(ctx), folder, resume=resume is not None)
