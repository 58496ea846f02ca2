"""`difftool list`: what is installed."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer


def list_names(
    axis: Annotated[
        str | None,
        typer.Argument(
            help="schedules, grids, models, samplers or plugins.", metavar="AXIS", show_default="all of them"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the schedules, grids, models, samplers and plugins that are installed."""
    from difftool.cli.text import print_columns, print_title
    from difftool.describe import columns, listing

    found = listing(axis)
    if json:
        print(_json.dumps(found))
        return
    for i, (name, rows) in enumerate(found.items()):
        heads = columns(rows)
        print("\n" * bool(i), end="")
        print_title(name)
        print_columns([[row[head] for head in heads] for row in rows], heads)
