"""typer's commands, quicker to import and with usage errors of one line.

Recent typers check every parameter with pydantic, plain text and flags too, and importing
pydantic takes longer than everything else that `difftool list` does. Text that is already text
and flags that are already flags need no check.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from typer import Abort, BadParameter
from typer.core import TyperCommand, TyperGroup

from difftool.cli.guard import fail


class QuickCommand(TyperCommand):
    """A command that takes text and flags without conversion."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [quick(parameter) for parameter in super().get_params(ctx)]


class QuickGroup(TyperGroup):
    """A group that takes text and flags without conversion; its usage errors are one line."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [quick(parameter) for parameter in super().get_params(ctx)]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("standalone_mode", True):
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except Abort:  # a plugin's prompt was not answered
            sys.exit("difftool: aborted")
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            refuse(error)
        sys.exit(code if isinstance(code, int) else 0)


def refuse(error: Any) -> NoReturn:
    """Report a usage error and exit; without any arguments, the help is printed instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.exit(error.exit_code)
    place = getattr(getattr(error, "ctx", None), "command_path", "difftool")
    fail(f"{error.format_message().rstrip('.')}; see {place} --help")


def quick(parameter: Any) -> Any:
    """The parameter, converted by typer only if needed; unchanged with older typers."""
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
    """Raise typer's usage error, in plain words, for text that is not a whole number."""
    try:
        int(value or 0)
    except ValueError:
        raise BadParameter(
            f"expected a whole number, got {value!r}", ctx=ctx, param=parameter
        ) from None
