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
    from difftool.cli.text import print_columns, print_facts, print_text, print_title
    from difftool.describe import descriptions

    found = descriptions(name)
    if json:
        print(_json.dumps(found))
        return
    for i, thing in enumerate(found):
        print("\n\n" * bool(i), end="")
        print_title(thing["name"], f"  {thing['kind']}, from {thing['origin']}\n")
        print_text(thing["text"])
        if thing["facts"]:
            print()
            print_facts(thing["facts"])
        if thing["options"]:
            print()
            rows = [[option["name"], option["type"], option["default"]] for option in thing["options"]]
            print_columns(rows, ("option", "type", "default"))
