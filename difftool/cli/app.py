"""The `difftool` command; everything slow to import is imported under the guard."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import TYPE_CHECKING

from difftool.cli.guard import guarding, one_line, plain_warnings
from difftool.errors.stopping import stopping

if TYPE_CHECKING:
    import typer


def main() -> None:
    """The entry point of the `difftool` script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # file names may contain characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    # torch's threads spin briefly while they wait for work: spinning for long, the default, is
    # slow on a busy machine, and if they sleep at once, small networks are half as fast
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # torch would read the metadata of every distribution, and fail at a damaged one
    os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    plain_warnings()
    threading.excepthook = one_line
    with guarding(), stopping():
        app()(prog_name="difftool")


def app() -> typer.Typer:
    """The typer application with every registered command."""
    from difftool.cli.commands import build

    return build()
