"""`difftool evaluate`: how far samples are from a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import (
    CLASS,
    DEVICE,
    MODEL,
    NUM_SAMPLES,
    SAMPLER,
    SEED,
    STEPS,
    given,
    recipe_of,
    spec,
    under,
)

DRAWN = "Samples, if no file is given"  # a panel of the help

Samples = Annotated[
    Path | None,
    typer.Argument(
        help="Samples to score: an .npz file, a folder of pictures or a data set.",
        show_default="drawn from --model",
    ),
]
Data = Annotated[str, spec("Data set to compare with.")]
Against = Annotated[
    str | None, spec("Data set of the same distribution, scored as a baseline.")
]
Features = Annotated[
    str | None,
    spec(
        "Feature network for FID, KID, precision, recall and more: an .onnx file, or inception."
    ),
]
Exact = Annotated[str | None, spec("Exact model, for the log density of the samples.")]
BatchSize = Annotated[int, typer.Option(help="Samples per batch.", rich_help_panel=DRAWN)]
Guidance = Annotated[
    float | None,
    typer.Option(
        help="Guidance scale; 1 is the conditional model itself.",
        show_default="none",
        rich_help_panel=DRAWN,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")]


def evaluate(
    ctx: typer.Context,
    samples: Samples = None,
    data: Data = "digits:split=held-out",
    against: Against = None,
    features: Features = None,
    exact: Exact = None,
    model: Annotated[str, under(DRAWN, MODEL)] = "digits-exact",
    sampler: Annotated[str | None, under(DRAWN, SAMPLER)] = None,
    steps: Annotated[int | None, under(DRAWN, STEPS)] = None,
    num_samples: Annotated[int, under(DRAWN, NUM_SAMPLES)] = 1000,
    batch_size: BatchSize = 250,
    seed: Annotated[int, under(DRAWN, SEED)] = 0,
    label: Annotated[str | None, under(DRAWN, CLASS)] = None,
    guidance: Guidance = None,
    device: Annotated[str, under(DRAWN, DEVICE)] = "auto",
    json: Json = False,
) -> None:
    """Score samples against a data set: distances, and by a feature network FID, KID and more.

    Try: difftool evaluate --sampler em --steps 100 --data digits:split=held-out
    --against digits
    """
    from difftool.names.specs import check_names

    recipe = recipe_of(ctx.params)
    if samples is None:
        recipe.check_names()
    else:
        _refuse_options_of_drawing(ctx, samples)
    for reference in (data, against):
        check_names(datasets=reference)
    check_names(models=exact, features=features)
    from difftool.cli.scores import run_evaluation

    compared = recipe if samples is None else str(samples)
    run_evaluation(compared, data, against, features, exact, as_json=json)


def _refuse_options_of_drawing(ctx: typer.Context, samples: Path) -> None:
    """Raise `DifftoolError` for options on drawing samples if the samples come from a file."""
    from difftool.errors import DifftoolError

    named = given(ctx)
    for option in ctx.command.params:
        panel = getattr(option, "rich_help_panel", None)
        if option.name in named and panel == DRAWN:
            raise DifftoolError(
                f"the samples come from {samples}; leave out {option.opts[0]}, "
                "which is for drawing new ones"
            )
