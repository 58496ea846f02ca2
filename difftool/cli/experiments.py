"""`difftool experiments`: train and evaluate a table of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def experiments(
    file: Annotated[Path, typer.Argument(help="Table of experiments, a .toml file.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results.", show_default="the file's name without .toml"
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Device to train on.", metavar="auto|cpu")
    ] = "auto",
) -> None:
    """Train and evaluate a table of experiments, resuming what was interrupted.

    Try a file with: all.epochs = 5 and, on a second line,
    experiments.small.network = "unet:widths=8+16"
    """
    from difftool.cli.training import run_table
    from difftool.errors import DifftoolError

    if out is None and not file.suffix:
        raise DifftoolError(
            f"{file} has no suffix, so its folder would have the same name; give another with --out"
        )
    run_table(file, out or file.with_suffix(""), device)
