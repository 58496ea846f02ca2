"""`difftool evaluate`: how far samples are from a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import given

SPEC = "name:key=value,..."
DRAWN = "Samples, where no file is named"  # a panel of the help


def evaluate(
    ctx: typer.Context,
    samples: Annotated[
        Path | None,
        typer.Argument(
            help="Samples: an .npz file, a folder of pictures or a data set.",
            show_default="drawn from --model",
        ),
    ] = None,
    data: Annotated[
        str, typer.Option(help="Data set to compare with.", metavar=SPEC)
    ] = "digits:split=held-out",
    against: Annotated[
        str | None,
        typer.Option(
            help="Data of the same law, whose figures are shown beside.", metavar=SPEC
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Feature network, for FID and its like: an .onnx file, or inception.",
            metavar=SPEC,
        ),
    ] = None,
    exact: Annotated[
        str | None,
        typer.Option(help="Exact model, for the samples' log density.", metavar=SPEC),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model.", metavar=SPEC, rich_help_panel=DRAWN)
    ] = "digits-exact",
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Sampler.",
            metavar=SPEC,
            show_default="see difftool show default",
            rich_help_panel=DRAWN,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of the grid.", show_default="50", rich_help_panel=DRAWN),
    ] = None,
    num_samples: Annotated[
        int, typer.Option(help="How many samples.", rich_help_panel=DRAWN)
    ] = 1000,
    batch_size: Annotated[
        int, typer.Option(help="How many at a time.", rich_help_panel=DRAWN)
    ] = 250,
    seed: Annotated[int, typer.Option(help="Seed of all noise.", rich_help_panel=DRAWN)] = 0,
    label: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="Class of a conditional model, or a range, in turn.",
            metavar="0|0-9",
            rich_help_panel=DRAWN,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="How far to lead to the class.", show_default="none", rich_help_panel=DRAWN
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="Where to compute.", metavar="auto|cpu|cuda|mps", rich_help_panel=DRAWN
        ),
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare samples with a data set: distances, and FID and its like by a feature network.

    Try: difftool evaluate --sampler em --steps 100 --data digits:split=held-out --against digits
    """
    from difftool.errors import DifftoolError
    from difftool.names.specs import check_names
    from difftool.runs.recipe import Recipe, class_of

    recipe = Recipe(
        model=model, sampler=sampler, steps=steps, num_samples=num_samples, batch_size=batch_size, seed=seed,
        label=class_of(label), guidance=guidance, device=device,  # type: ignore[arg-type]
    )  # fmt: skip
    named = given(ctx)
    odd = [
        p.opts[0]
        for p in ctx.command.params
        if p.name in named and getattr(p, "rich_help_panel", None) == DRAWN
    ]
    if samples is not None and odd:
        raise DifftoolError(
            f"the samples are in {samples}; leave {odd[0]} out, which says how to draw some"
        )
    if samples is None:
        recipe.check_names()
    for reference in (data, against):
        check_names(datasets=reference)
    check_names(models=exact, features=features)
    from difftool.cli.scores import run_evaluation

    run_evaluation(
        recipe if samples is None else str(samples),
        data,
        against,
        features,
        exact,
        as_json=json,
    )
