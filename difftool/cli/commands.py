"""The typer application: the registered commands, each behind the guard for errors."""

from __future__ import annotations

from typing import Annotated

import typer

from difftool.cli.guard import guarded, warn
from difftool.cli.quick import QuickCommand, QuickGroup
from difftool.names.registry import Entry, registry

SETTINGS = {"help_option_names": ["-h", "--help"]}


def build() -> typer.Typer:
    """Build the application; a plugin's command that cannot be built is skipped."""
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
        except Exception as error:  # a faulty plugin must not break the tool
            warn(f"command {entry.name!r} of {entry.origin} was skipped: {error}")
    return out


def add(out: typer.Typer, entry: Entry) -> None:
    """Add a command; a plugin's is first built alone, since typer inspects signatures late."""
    command = guarded(entry.load())
    if entry.plugin != "builtin":
        alone = typer.Typer()
        alone.command(entry.name)(command)
        typer.main.get_command(alone)
    out.command(entry.name, cls=QuickCommand)(command)


def print_version(wanted: bool) -> None:
    """Print the version and exit, for `--version`."""
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
    """Sample diffusion and flow models, with any schedule, grid, model and sampler."""
