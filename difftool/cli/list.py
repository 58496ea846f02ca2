"""`difftool list`: the names that are available."""

from __future__ import annotations

import json as _json
from typing import Annotated

import typer

from difftool.cli.options import Json


def list_names(
    axis: Annotated[
        str | None,
        typer.Argument(
            help="schedules, grids, models, samplers, plugins; or, for training and evaluation, "
            "datasets, networks, weightings, times, features.",
            metavar="AXIS",
            show_default="the first five",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List available schedules, grids, models, samplers and more, also those of plugins."""
    from difftool.cli.text import print_columns, print_text, print_title
    from difftool.names.describe import columns, listing
    from difftool.names.registry import TRAINING

    found = listing(axis)
    if json:
        print(_json.dumps(found))
        return
    for i, (name, rows) in enumerate(found.items()):
        heads = columns(rows)
        if i > 0:
            print()
        print_title(name)
        print_columns([[row[head] for head in heads] for row in rows], heads)
    if axis is None:
        print()
        print_text(f"For training: difftool list {', '.join(TRAINING)}.")
