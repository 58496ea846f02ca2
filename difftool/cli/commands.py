"""The typer application: the registered commands, each behind the guard for errors."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from difftool.cli.guard import guarded
from difftool.cli.quick import QuickCommand, QuickGroup
from difftool.errors import DifftoolError
from difftool.names.registry import Entry, registry

SETTINGS = {"help_option_names": ["-h", "--help"]}


class Commands(QuickGroup):
    """The built-in commands, and by their names those of plugins: one is imported when it is run."""

    def list_commands(self, ctx: Any) -> list[str]:
        ours = super().list_commands(ctx)
        return ours + [name for name in registry().axis("commands") if name not in ours]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None and registry().has("commands", cmd_name):
            entry = registry().axis("commands")[cmd_name]
            return TyperCommand(cmd_name, help=f"From {entry.origin}.")
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name not in self.commands:
            return name, loaded(registry().find("commands", name)), rest
        return name, command, rest


def build() -> typer.Typer:
    """The application with every built-in command, and those of plugins behind their names."""
    out = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings=SETTINGS, cls=Commands
    )  # fmt: skip
    out.callback(no_args_is_help=True)(root)
    for name, entry in registry().builtin("commands").items():
        out.command(name, cls=QuickCommand)(guarded(entry.load()))
    return out


def loaded(entry: Entry) -> Any:
    """A plugin's command; `DifftoolError` if typer cannot make one of it."""
    alone = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings=SETTINGS
    )
    alone.command(entry.name, cls=QuickCommand)(guarded(entry.load()))
    try:
        return typer.main.get_command(alone)
    except Exception as error:  # typer looks at signatures here
        raise DifftoolError(
            f"command {entry.name!r} of {entry.origin} cannot be used: {error}"
        ) from error


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
