"""How a command ends: bad input and Ctrl-C in one line on stderr, exit codes 2 and 130, never a traceback."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from difftool.errors import DifftoolError


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, under `guarding`."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        with guarding():
            out = command(*args, **kwargs)
            sys.stdout.flush()  # a full disk or a closed pipe shows here, not when Python ends
            return out

    return call


@contextmanager
def guarding() -> Iterator[None]:
    """Turns `DifftoolError`, errors of the operating system and Ctrl-C into one line and an exit code."""
    try:
        yield
    except BrokenPipeError:  # `difftool list | head -1`: the reader has enough
        _forget_stdout()
        sys.exit(1)
    except DifftoolError as error:
        fail(str(error))
    except OSError as error:
        if error.filename is None:
            _forget_stdout()
        fail(f"{error.filename or 'output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print(
            "\n" * sys.stderr.isatty() + "difftool: interrupted; nothing half-written was left behind", file=sys.stderr
        )
        sys.exit(130)


def fail(text: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"difftool: error: {' '.join(text.splitlines())}", file=sys.stderr)
    sys.exit(2)


def warn(text: str) -> None:
    """One line on stderr."""
    print(f"difftool: warning: {' '.join(text.splitlines())}", file=sys.stderr)


def _forget_stdout() -> None:
    """Lets what is still in stdout's buffer go nowhere, or Python complains about it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is no file
    finally:
        os.close(nowhere)
