"""What difftool raises: every error a user can cause is a `DifftoolError` whose text is one clear line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

MANY = 12  # names that are listed beside a suggestion


class DifftoolError(Exception):
    """Base of all errors that difftool raises on bad input: expected, got and a way out, in one line."""


class NotAffine(DifftoolError):
    """A sampler did something to its state that no plan can hold; it can only run as the plain loop."""


class NonFinite(DifftoolError):
    """The model returned NaN or infinity.

    `x` holds the states that it was asked about, (B, ...), and `state` the run as it stood there
    (`difftool.plan.RunState`; None for a plain loop, and for generator noise); `done` the samples of the batches that
    were finished before. Each is None if there is nothing of the kind.
    """

    def __init__(self, message: str, x: object = None, state: object = None):
        super().__init__(message)
        self.x, self.state = x, state
        self.done: object = None


@contextmanager
def enough_memory(text: str) -> Iterator[None]:
    """What runs inside may need more memory than there is: a `DifftoolError` with that text then."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise DifftoolError(text) from None


def missing(what: str, library: str, extra: str) -> DifftoolError:
    """The error where a library of one of the extras is not installed."""
    return DifftoolError(f"{what} needs the library {library}: pip install 'difftool[{extra}]'")


class DifftoolWarning(UserWarning):
    """What went on although something was not right: a picture that was skipped, say."""


def unknown(what: str, name: str, known: Iterable[str]) -> DifftoolError:
    """The error for a name that is not installed: suggests the nearest ones and lists the rest."""
    names = sorted(known)
    near = get_close_matches(name.lower(), names, n=2, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = ""
    if near and len(names) > MANY:
        return DifftoolError(f"no {what} {name!r}; {hint}")
    return DifftoolError(
        f"no {what} {name!r}; {hint}{' ' if hint else ''}there are: {', '.join(names) or 'none'}"
    )


def warn(told: str | None) -> None:
    """A `DifftoolWarning`, if there is anything to tell, on behalf of the caller's caller."""
    if told is not None:
        warnings.warn(told, DifftoolWarning, stacklevel=3)
