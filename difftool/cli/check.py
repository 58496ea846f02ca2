"""`difftool check NAME`: measure a schedule, grid, model or sampler against its contract."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer

from difftool.cli.options import Json


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A schedule, grid, model or sampler, with options.", metavar="NAME"
        ),
    ],
    json: Json = False,
) -> None:
    """Measure NAME against the contract of its kind; the exit code is 1 if a check fails."""
    from difftool.names.registry import registry
    from difftool.names.text import parse

    registry().find_all(parse(name)[0])
    from rich.text import Text

    from difftool.checks import check_named
    from difftool.cli.text import print_columns

    findings = check_named(name)
    if json:
        print(_json.dumps([finding._asdict() for finding in findings]))
    else:
        marks = {True: Text("ok", "green"), False: Text("FAILED", "red")}
        rows = [
            (marks[finding.ok], finding.check, finding.expected, finding.measured)
            for finding in findings
        ]
        print_columns(rows, ("", "check", "expected", "measured"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
