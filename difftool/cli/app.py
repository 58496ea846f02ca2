"""The command `difftool`: collects the commands that are registered, and turns errors into one line."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from difftool.errors import DifftoolError
from difftool.plugins import registry


def main() -> None:
    """The entry point of the `difftool` script."""
    try:
        app()(prog_name="difftool")
    except DifftoolError as error:  # from the registry, before any command
        fail(error)
    except KeyboardInterrupt:
        stop()


def app() -> typer.Typer:
    """The typer application with every registered command."""
    out = typer.Typer(
        help="Sampling diffusion and flow models: schedules, grids, models and samplers that mix and match.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    found = registry()
    for problem in found.problems:
        print(f"difftool: warning: {problem}", file=sys.stderr)
    for name, entry in found.axis("commands").items():
        out.command(name)(guarded(entry.load()))
    out.callback()(version_option)
    return out


def version_option(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Sampling diffusion and flow models: schedules, grids, models and samplers that mix and match."""
    if version:
        from difftool import __version__

        print(f"difftool {__version__}")
        raise typer.Exit


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, with bad input and Ctrl-C ending in one line and an exit code (2 and 130)."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except DifftoolError as error:
            fail(error)
        except KeyboardInterrupt:
            stop()
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(0)

    return call


def fail(error: DifftoolError) -> None:
    """One line on stderr, exit code 2."""
    text = " ".join(str(error).split())
    print(f"difftool: error: {text}", file=sys.stderr)
    sys.exit(2)


def stop() -> None:
    """Ctrl-C: a clean line, exit code 130."""
    print("\ndifftool: interrupted; nothing half-written was left behind", file=sys.stderr)
    sys.exit(130)
