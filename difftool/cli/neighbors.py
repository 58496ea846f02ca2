"""`difftool neighbors`: samples next to their nearest neighbors in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difftool.cli.options import Data, Force, OutPicture, spec

if TYPE_CHECKING:
    from difftool.runs.pictures import Neighbors, Spread

Samples = Annotated[
    Path, typer.Argument(help="Samples in an .npz file, as written by `difftool sample`.")
]
Against = Annotated[
    str | None, spec("Data set of the same distribution, whose distances are a baseline.")
]
Shown = Annotated[int, typer.Option(help="Number of samples to show.")]


def neighbors(
    samples: Samples,
    data: Data = "digits",
    against: Against = None,
    shown: Shown = 16,
    out: OutPicture = Path("neighbors.png"),
    force: Force = False,
) -> None:
    """Show samples next to their nearest neighbors in a data set: has the model memorized it?

    Try: difftool neighbors samples.npz --data digits --against digits:split=held-out
    """
    from difftool.files.writing import check_kind
    from difftool.names.specs import check_names

    check_kind(out, ".png", force)
    for reference in (data, against):
        check_names(datasets=reference)
    from difftool.cli.text import print_facts
    from difftool.runs.pictures import neighbors

    found = neighbors(samples, data, against, shown, out, force)
    print_facts({**_facts(found, against), "written to": str(out)})


def _facts(found: Neighbors, against: str | None) -> dict[str, str]:
    """The distances, and what it may mean that they are below those of fresh data."""
    facts = {"samples": _text(found.samples)}
    if against is not None and found.against is not None:
        facts[against] = _text(found.against)
        if found.nearer:
            facts["nearer"] = (
                f"than {against}: by chance, if only slightly; otherwise memorized, "
                "or less varied than the data"
            )
    return facts


def _text(spread: Spread) -> str:
    return (
        f"{spread.middle:.4g} to the nearest (median of {spread.count}; "
        f"a tenth below {spread.low:.4g}, a tenth above {spread.high:.4g})"
    )
