"""What the options of commands share."""

from __future__ import annotations

from typing import Any

import typer


def given(ctx: typer.Context) -> dict[str, Any]:
    """The options that the user named, with their values."""
    named = {}
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            named[name] = value
    return named
