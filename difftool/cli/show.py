"""`difftool show NAME`: all about one thing."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer


def show(
    name: Annotated[str, typer.Argument(help="A schedule, grid, model or sampler.", metavar="NAME")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the formula, the reference, the options and the claims of NAME."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from difftool.describe import descriptions

    found = descriptions(name)
    if json:
        print(_json.dumps(found))
        return
    console = Console()
    for thing in found:
        console.print(Text.assemble((thing["name"], "bold"), f"  {thing['kind']}, from {thing['origin']}"))
        console.print(Text("\n" + thing["text"] + "\n"))
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for key, value in thing["facts"].items():
            table.add_row(Text(key, style="bold"), Text(value))
        console.print(table)
        if thing["options"]:
            options = Table("option", "type", "default", box=None, padding=(0, 2, 0, 0))
            for option in thing["options"]:
                options.add_row(*(Text(option[k]) for k in ("name", "type", "default")))
            console.print()
            console.print(options)
        console.print()
