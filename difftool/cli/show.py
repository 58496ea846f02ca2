"""`difftool show NAME`: all about one thing; with `--as TOOL`, what another tool calls it."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer


def show(
    name: Annotated[
        list[str],
        typer.Argument(
            help="A schedule, grid, model or sampler; with --as also sampler@grid, or a name of that tool.",
            metavar="NAME",
        ),
    ],
    tool: Annotated[
        str | None,
        typer.Option(
            "--as", help="What it is called in comfyui, a1111, diffusers, k-diffusion or azula.", metavar="TOOL"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the formula, the reference, the options and the claims of NAME."""
    if tool is not None:
        _show_as(tool, " ".join(name), json)
        return
    from difftool.cli.text import print_columns, print_facts, print_text, print_title
    from difftool.describe import descriptions

    found = descriptions(" ".join(name))
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


def _show_as(tool: str, name: str, json: bool) -> None:
    """The names in that tool and here."""
    from difftool.cli.text import print_facts
    from difftool.translate import translations

    found = translations(tool, name)
    if json:
        print(_json.dumps(found))
        return
    for i, facts in enumerate(found):
        print("\n" * bool(i), end="")
        print_facts({facts["tool"]: facts["theirs"], "difftool": facts["ours"] or "-", "parity": facts["parity"]})
