"""`difftool neighbors`: samples beside the closest samples of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difftool.cli.options import Data, Force, OutPicture, spec

if TYPE_CHECKING:
    from difftool.runs.pictures import Neighbors, Spread

Samples = Annotated[
    Path, typer.Argument(help="Samples in an .npz file, as `difftool sample` writes them.")
]
Against = Annotated[str | None, spec("Samples of one law to compare distances with.")]
Shown = Annotated[int, typer.Option(help="How many samples are shown.")]


def neighbors(
    samples: Samples,
    data: Data = "digits",
    against: Against = None,
    shown: Shown = 16,
    out: OutPicture = Path("neighbors.png"),
    force: Force = False,
) -> None:
    """Show samples beside the closest ones of a data set: has a model learned, or learned by heart?

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
    """How far the nearest are, and what it means where they are nearer than those of fresh data."""
    facts = {"samples": _text(found.samples)}
    if against is not None and found.against is not None:
        facts[against] = _text(found.against)
        if found.nearer:
            facts["nearer"] = (
                f"than {against}: by chance, if not by much; else learned by heart, or plainer than data"
            )
    return facts


def _text(spread: Spread) -> str:
    return (
        f"{spread.middle:.4g} to the nearest (median of {spread.count}; "
        f"a tenth below {spread.low:.4g}, a tenth above {spread.high:.4g})"
    )
