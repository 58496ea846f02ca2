"""How a command ends: bad input and Ctrl-C in one line on stderr, exit codes 2 and 130, never a traceback."""

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
    """The end of a command of which the user has been told."""


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, under `guarding`."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        with guarding():
            return command(*args, **kwargs)

    return call


@contextmanager
def guarding() -> Iterator[None]:
    """Turns `DifftoolError`, errors of the operating system and Ctrl-C into one line and an exit code."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # a full disk or a closed pipe shows here, not when Python ends
    except BrokenPipeError:  # `difftool list | head -1`: the reader has enough
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
        if end.code == 130 and not isinstance(end, Ended):  # Ctrl-C while typer was at work
            stop()
        raise


def fail(text: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"difftool: error: {' '.join(text.splitlines())}", file=sys.stderr)
    raise Ended(2)


def stop(kept: str = "") -> NoReturn:
    """The line after Ctrl-C, exit code 130; kept: where that is which was finished."""
    newline = "\n" * sys.stderr.isatty()  # after the ^C
    print(
        f"{newline}difftool: interrupted; nothing half-written was left behind{kept}",
        file=sys.stderr,
    )
    raise Ended(130)


def warn(text: str) -> None:
    """One line on stderr."""
    print(f"difftool: warning: {' '.join(text.splitlines())}", file=sys.stderr)


def plain_warnings() -> None:
    """Shows our own warnings as one line on stderr, without a place in the code."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, DifftoolWarning):
            warn(str(message))
        else:
            before(message, category, *rest, **more)

    warnings.showwarning = show


def _forget_stdout() -> None:
    """Lets what is still in stdout's buffer go nowhere, or Python complains about it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is no file
    finally:
        os.close(nowhere)
