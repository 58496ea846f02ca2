"""`difftool neighbors`: samples beside the closest samples of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def neighbors(
    samples: Annotated[
        Path, typer.Argument(help="Samples in an .npz file, as `difftool sample` writes them.")
    ],
    data: Annotated[
        str, typer.Option(help="Data set.", metavar="name:key=value,...")
    ] = "digits",
    against: Annotated[
        str | None,
        typer.Option(
            help="Samples of one law to compare distances with.", metavar="name:key=value,..."
        ),
    ] = None,
    shown: Annotated[int, typer.Option(help="How many samples are shown.")] = 16,
    out: Annotated[Path, typer.Option(help="Write the picture to this .png file.")] = Path(
        "neighbors.png"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Show samples beside the closest ones of a data set: has a model learned, or learned by heart?

    Try: difftool neighbors samples.npz --data digits --against digits:split=held-out
    """
    from difftool.names.specs import check_names
    from difftool.outputs.files import check_kind

    check_kind(out, ".png", force)
    for reference in (data, against):
        check_names(datasets=reference)
    from difftool.runs.pictures import neighbours

    facts = neighbours(samples, data, against, shown, out, force)
    from difftool.cli.text import print_facts

    print_facts(facts)
