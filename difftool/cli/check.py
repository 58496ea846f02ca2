"""`difftool check NAME`: hold a schedule, model or sampler to its contract."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer


def check(
    name: Annotated[str, typer.Argument(help="A schedule, model or sampler, with options.", metavar="NAME")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check NAME against the contract of its kind, and print the figures. Exit code 1 if one fails."""
    from rich.console import Console
    from rich.table import Table

    from difftool.checks import check_named

    findings = check_named(name)
    if json:
        print(_json.dumps([finding._asdict() for finding in findings]))
    else:
        table = Table("", "check", "expected", "measured", box=None, padding=(0, 2, 0, 0))
        for finding in findings:
            mark = "[green]ok[/green]" if finding.ok else "[red]FAILED[/red]"
            table.add_row(mark, finding.check, finding.expected, finding.measured)
        Console().print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
