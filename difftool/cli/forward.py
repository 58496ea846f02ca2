"""`difftool forward`: data beside its noised versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def forward(
    data: Annotated[
        str, typer.Option(help="Data set.", metavar="name:key=value,...")
    ] = "digits",
    schedule: Annotated[
        str, typer.Option(help="Noise schedule.", metavar="name:key=value,...")
    ] = "ddpm-linear",
    step: Annotated[
        list[int] | None, typer.Option(help="Entries of the table to show.", show_default="377")
    ] = None,
    length: Annotated[
        int, typer.Option(help="Entries of the table: entry k is the time k / length.")
    ] = 1000,
    num_samples: Annotated[
        int | None,
        typer.Option(help="How many samples.", show_default="8 pictures, 2000 points"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples and the noise.")] = 0,
    out: Annotated[Path, typer.Option(help="Write the picture to this .png file.")] = Path(
        "forward.png"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Show samples of a data set beside what the forward process makes of them.

    Try: difftool forward --step 100 --step 377 --step 800
    """
    from difftool.names.specs import check_names
    from difftool.outputs.files import check_kind

    check_kind(out, ".png", force)
    check_names(datasets=data, schedules=schedule)
    from difftool.runs.pictures import noised

    facts = noised(data, schedule, step or [377], length, num_samples, seed, out, force)
    from difftool.cli.text import print_columns, print_facts

    print_columns(
        [[*row] for row in facts],
        ("step", "t", "alpha", "sigma"),
        right=("step", "t", "alpha", "sigma"),
    )
    print_facts({"written to": str(out)})
