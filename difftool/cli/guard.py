"""How a command ends: any failure in one line on stderr, and an exit code; never a traceback.

Exit codes: 2 for what the user, a file, a plugin or a model did wrong, 70 for an error in difftool itself, 128 and the
number of a signal that stopped it (130 for Ctrl-C). The environment variable DIFFTOOL_TRACEBACK=1 shows where an
unexpected error came from.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from difftool.errors import DifftoolError, DifftoolWarning, printable
from difftool.errors.stopping import SIGNALS, Stopped, stop, stopped_by

BAD_INPUT, INTERNAL = 2, 70
LONGEST_LINE = 2000
TRACEBACK = "DIFFTOOL_TRACEBACK"


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
    """Turns every error, and every signal to stop, into one line and an exit code."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                # a full disk or a closed pipe is noticed here, not at interpreter exit
                sys.stdout.flush()
    except BrokenPipeError:  # `difftool list | head -1`: the reader has closed the pipe
        _forget_stdout()
        raise Ended(1) from None
    except DifftoolError as error:
        fail(str(error), error)
    except OSError as error:
        if error.filename is None:
            _forget_stdout()
        fail(f"{error.filename or 'cannot print'}: {error.strerror or error}", error)
    except KeyboardInterrupt as error:
        end(stopped_by(error, *error.args))
    except SystemExit as exit:
        if exit.code == 130 and not isinstance(exit, Ended):  # Ctrl-C while typer was at work
            end(Stopped())
        raise
    except Exception as error:
        if _of_typer(error):
            raise
        _unexpected(error)
    except BaseException as error:  # a plugin's own kind
        _unexpected(error)


def _of_typer(error: BaseException) -> bool:
    """Whether typer itself ends a command by it: usage that is wrong, a question that was not answered."""
    return any(
        base.__module__.partition(".")[0] in ("click", "typer") for base in type(error).__mro__
    )


def _unexpected(error: BaseException) -> NoReturn:
    """The end after an error that nobody foresaw: of a plugin, a model, the machine or difftool itself."""
    from difftool.errors.blame import line_of, place_of

    text = line_of(error)
    if isinstance(error, MemoryError) or "memory" in text.lower():
        fail(f"not enough memory: {text}; try a smaller --batch-size or --num-samples", error)
    if place_of(error):
        fail(text, error)
    fail(
        f"internal error: {text}; please report it, with what {TRACEBACK}=1 shows",
        error,
        INTERNAL,
    )


def fail(text: str, error: BaseException | None = None, code: int = BAD_INPUT) -> NoReturn:
    """One line on stderr, and the exit code."""
    if error is not None and os.environ.get(TRACEBACK):
        import traceback

        traceback.print_exception(error)
    _say(f"difftool: error: {' '.join(text.splitlines())}")
    raise Ended(code)


def end(stopped: Stopped) -> NoReturn:
    """The line after a signal to stop; nothing interrupts it any more."""
    with suppress(ValueError):  # not in the main thread
        for number in SIGNALS:
            if signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_IGN)
    newline = "\n" * (sys.stderr is not None and sys.stderr.isatty())  # after the ^C
    _say(
        f"{newline}difftool: interrupted; no half-written files were left behind{stopped.kept}"
    )
    raise Ended(stopped.code)


def _say(line: str) -> None:
    """A line on stderr, wherever that leads to; what controls a terminal is escaped."""
    with suppress(OSError, ValueError, AttributeError):
        print(printable(line, LONGEST_LINE), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print a warning as one line on stderr."""
    _say(f"difftool: warning: {' '.join(text.splitlines())}")


def one_line(failure: Any) -> None:
    """Show what failed in a thread of a library as one line."""
    from difftool.errors.blame import line_of

    if failure.exc_value is not None:
        warn(line_of(failure.exc_value))


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
    except (OSError, ValueError, AttributeError):
        pass  # stdout is not a file
    finally:
        os.close(nowhere)
