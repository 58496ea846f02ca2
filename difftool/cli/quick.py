"""typer's commands: quick to import, and brief about what was typed wrong.

Recent typers check every parameter with pydantic, plain text and flags too, and importing pydantic takes longer than
all else that `difftool list` does. Text that is already text and flags that are already flags need no check.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from typer import Abort, BadParameter
from typer.core import TyperCommand, TyperGroup

from difftool.cli.guard import fail


class QuickCommand(TyperCommand):
    """A command whose text and flags are taken as they are."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [quick(parameter) for parameter in super().get_params(ctx)]


class QuickGroup(TyperGroup):
    """A group whose text and flags are taken as they are, and whose errors of usage are one line."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [quick(parameter) for parameter in super().get_params(ctx)]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("standalone_mode", True):
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except Abort:  # a question that a plugin asked was not answered
            sys.exit("difftool: aborted")
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            refuse(error)
        sys.exit(code if isinstance(code, int) else 0)


def refuse(error: Any) -> NoReturn:
    """The end of a command that was typed wrong; one that was typed without anything has printed its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.exit(error.exit_code)
    place = getattr(getattr(error, "ctx", None), "command_path", "difftool")
    fail(f"{error.format_message().rstrip('.')}; see {place} --help")


def quick(parameter: Any) -> Any:
    """The parameter, asking typer only about values that are not of its kind already; untouched in older typers."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if kind not in (str, bool, int, list[str]) or "process_value" in vars(parameter):
        return parameter
    slow = parameter.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if kind is int:
            check_whole(ctx, parameter, value)
        elif kind == list[str]:
            if value and all(isinstance(word, str) for word in value):
                return list(value)
        elif isinstance(value, kind) or (value is None and not parameter.required):
            if parameter.callback is None:
                return value
            return parameter.callback(ctx, parameter, value)
        return slow(ctx, value)

    parameter.process_value = process_value
    return parameter


def check_whole(ctx: Any, parameter: Any, value: Any) -> None:
    """typer's error of usage, in plain words, for text that is no whole number."""
    try:
        int(value or 0)
    except ValueError:
        raise BadParameter(
            f"expected a whole number, got {value!r}", ctx=ctx, param=parameter
        ) from None
