"""`difftool forward`: data next to its noised versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import Data, Force, OutPicture, Schedule, SeedOfData, Shown

HEADS = ("step", "t", "alpha", "sigma")

Step = Annotated[
    list[int] | None,
    typer.Option(
        help="Step of the forward process to show; may be repeated.", show_default="377"
    ),
]
Length = Annotated[
    int,
    typer.Option(help="Number of steps of the forward process; step k is the time k / length."),
]


def forward(
    data: Data = "digits",
    schedule: Schedule = "ddpm-linear",
    step: Step = None,
    length: Length = 1000,
    num_samples: Shown = None,
    seed: SeedOfData = 0,
    out: OutPicture = Path("forward.png"),
    force: Force = False,
) -> None:
    """Show samples of a data set and their noised versions.

    Try: difftool forward --step 100 --step 377 --step 800
    """
    from difftool.files.writing import check_kind
    from difftool.names.specs import check_names

    check_kind(out, ".png", force)
    check_names(datasets=data, schedules=schedule)
    from difftool.cli.text import print_columns, print_facts
    from difftool.runs.pictures import noised

    steps = step or [377]
    points = noised(data, schedule, steps, length, num_samples, seed, out, force)
    rows = []
    for k, point in zip(steps, points, strict=True):
        numbers = (point.t, point.alpha, point.sigma)
        rows.append([str(k), *(f"{number:.5g}" for number in numbers)])
    print_columns(rows, HEADS, right=HEADS)
    print_facts({"written to": str(out)})
