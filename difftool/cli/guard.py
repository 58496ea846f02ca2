"""How a command ends: one line on stderr and exit code 2 or 130 (Ctrl-C), never a traceback."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from difftool.errors import DifftoolError, DifftoolWarning


class Ended(SystemExit):
    """The exit of a command that has already told the user why."""


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command in `guarding`."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        with guarding():
            return command(*args, **kwargs)

    return call


@contextmanager
def guarding() -> Iterator[None]:
    """Turn `DifftoolError`, `OSError` and Ctrl-C into one line and an exit code."""
    try:
        try:
            yield
        finally:
            # a full disk or a closed pipe is noticed here, not at interpreter exit
            sys.stdout.flush()
    except BrokenPipeError:  # `difftool list | head -1`: the reader has closed the pipe
        _forget_stdout()
        raise Ended(1) from None
    except DifftoolError as error:
        fail(str(error))
    except OSError as error:
        if error.filename is None:
            _forget_stdout()
        fail(f"{error.filename or 'cannot print'}: {error.strerror or error}")
    except KeyboardInterrupt as stopped:
        stop(*stopped.args)
    except SystemExit as end:
        if end.code == 130 and not isinstance(end, Ended):  # Ctrl-C inside typer
            stop()
        raise


def fail(text: str) -> NoReturn:
    """Print an error as one line on stderr and exit with code 2."""
    print(f"difftool: error: {' '.join(text.splitlines())}", file=sys.stderr)
    raise Ended(2)


def stop(kept: str = "") -> NoReturn:
    """Report Ctrl-C and exit with code 130; kept: where finished samples were saved."""
    newline = "\n" * sys.stderr.isatty()  # after the ^C
    print(
        f"{newline}difftool: interrupted; no half-written files were left behind{kept}",
        file=sys.stderr,
    )
    raise Ended(130)


def warn(text: str) -> None:
    """Print a warning as one line on stderr."""
    print(f"difftool: warning: {' '.join(text.splitlines())}", file=sys.stderr)


def plain_warnings() -> None:
    """Show difftool's warnings as one line on stderr, without the source location."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, DifftoolWarning):
            warn(str(message))
        else:
            before(message, category, *rest, **more)

    warnings.showwarning = show


def _forget_stdout() -> None:
    """Discard what is left in stdout's buffer, so that Python does not complain at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is not a file
    finally:
        os.close(nowhere)
