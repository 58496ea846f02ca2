"""`difftool experiments`: a table of trainings, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def experiments(
    file: Annotated[Path, typer.Argument(help="The table, a .toml file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to work in.", show_default="the file's name")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to train.", metavar="auto|cpu")] = "auto",
) -> None:
    """Train and evaluate every experiment of a table; what is done already is kept, what was stopped goes on.

    Try a file with: [all] data = "digits", epochs = 5; [experiments.small] network = "unet:widths=8+16"
    """
    from difftool.cli.training import run_table
    from difftool.errors import DifftoolError

    if out is None and not file.suffix:
        raise DifftoolError(
            f"{file} has no suffix to leave out; name the folder to work in with --out"
        )
    run_table(file, out or file.with_suffix(""), device)
