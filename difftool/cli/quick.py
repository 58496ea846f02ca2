"""typer's commands, without the part of typer that is slow to import.

Recent typers check every parameter with pydantic, plain text and flags too, and importing pydantic takes longer than
all else that `difftool list` does. Text that is already text and flags that are already flags need no check.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class QuickCommand(TyperCommand):
    """A command whose text and flags are taken as they are."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [quick(parameter) for parameter in super().get_params(ctx)]


class QuickGroup(TyperGroup):
    """A group whose text and flags are taken as they are."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [quick(parameter) for parameter in super().get_params(ctx)]


def quick(parameter: Any) -> Any:
    """The parameter, asking typer only about values that are not of its kind already; untouched in older typers."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if kind not in (str, bool) or "process_value" in vars(parameter):
        return parameter
    slow = parameter.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if isinstance(value, kind) or (value is None and not parameter.required):
            return value if parameter.callback is None else parameter.callback(ctx, parameter, value)
        return slow(ctx, value)

    parameter.process_value = process_value
    return parameter
