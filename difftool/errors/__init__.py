"""Exceptions and warnings: every error that a user can cause is a one-line `DifftoolError`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

LONGEST = 80  # characters of outside text in a message
MANY = 12  # names that are still listed in addition to a suggestion


def printable(text: str, most: int = LONGEST) -> str:
    """The text as a terminal may show it: control characters escaped, cut to a length."""
    if len(text) > most:
        text = text[: most - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class DifftoolError(Exception):
    """Base class of all errors on bad input: expected, got and a way out, in one line."""


class NotAffine(DifftoolError):
    """Raised if a plan cannot represent a sampler, which can then only run as a plain loop."""


class NonFinite(DifftoolError):
    """Raised if the model returns NaN or infinity.

    `x`: the states (B, ...) it was evaluated at. `state`: the run at that point, a
    `difftool.plan.RunState` (None for a plain loop and for generator noise). `done`: the
    samples of the batches that had finished before. Each is None if not available.
    """

    def __init__(self, message: str, x: object = None, state: object = None):
        super().__init__(message)
        self.x, self.state = x, state
        self.done: object = None


@contextmanager
def enough_memory(text: str) -> Iterator[None]:
    """Turn out-of-memory errors inside the block into a `DifftoolError` with the given text."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise DifftoolError(text) from None


def missing(what: str, library: str, extra: str) -> DifftoolError:
    """The error for a missing library that one of the extras installs."""
    return DifftoolError(f"{what} needs the library {library}: pip install 'difftool[{extra}]'")


class DifftoolWarning(UserWarning):
    """Issued if something is wrong but the run continues, e.g. a picture was skipped."""


def unknown(what: str, name: str, known: Iterable[str]) -> DifftoolError:
    """The error for an unknown name: suggests the closest known ones and lists the rest."""
    names = sorted(known)
    near: list[str] = []
    if len(name) <= LONGEST:  # matching takes the square of it
        near = get_close_matches(name.lower(), names, n=2, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = ""
    if near and len(names) > MANY:
        return DifftoolError(f"no {what} {printable(name)!r}; {hint}")
    return DifftoolError(
        f"no {what} {printable(name)!r}; {hint}{' ' if hint else ''}available: {', '.join(names) or 'none'}"
    )


def warn(message: str | None) -> None:
    """Issue a `DifftoolWarning` at the caller's caller, unless the message is None."""
    if message is not None:
        warnings.warn(message, DifftoolWarning, stacklevel=3)
