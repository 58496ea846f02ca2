"""`difftool list`: what is installed."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer


def list_names(
    axis: Annotated[
        str | None, typer.Argument(help="What to list.", metavar="[schedules|grids|models|samplers|plugins]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the schedules, grids, models, samplers and plugins that are installed."""
    from rich.console import Console
    from rich.table import Table

    from difftool.describe import listing

    found = listing(axis)
    if json:
        print(_json.dumps(found))
        return
    console = Console()
    for name, rows in found.items():
        table = Table(title=name, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for column in rows[0] if rows else ():
            table.add_column(column)
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
        console.print()
