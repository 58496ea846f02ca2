"""The typer application: the commands that are registered, each behind the guard that turns errors into one line."""

from __future__ import annotations

from typing import Annotated

import typer

from difftool.cli.guard import guarded, warn
from difftool.cli.quick import QuickCommand, QuickGroup
from difftool.names.registry import Entry, registry

SETTINGS = {"help_option_names": ["-h", "--help"]}


def build() -> typer.Typer:
    """The application with every registered command; a plugin's command that cannot be made is skipped."""
    out = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings=SETTINGS, cls=QuickGroup
    )  # fmt: skip
    out.callback(no_args_is_help=True)(root)
    found = registry()
    for problem in found.problems:
        warn(problem)
    for entry in found.axis("commands").values():
        try:
            add(out, entry)
        except (
            Exception
        ) as error:  # whatever a plugin does wrong must not take the tool with it
            warn(f"command {entry.name!r} of {entry.origin} was skipped: {error}")
    return out


def add(out: typer.Typer, entry: Entry) -> None:
    """Adds a command, after a try on its own if it is a plugin's: typer looks at signatures late."""
    command = guarded(entry.load())
    if entry.plugin != "builtin":
        alone = typer.Typer()
        alone.command(entry.name)(command)
        typer.main.get_command(alone)
    out.command(entry.name, cls=QuickCommand)(command)


def print_version(wanted: bool) -> None:
    """What `--version` does."""
    if wanted:
        from difftool import __version__

        print(f"difftool {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Sampling diffusion and flow models: schedules, grids, models and samplers that mix and match."""
