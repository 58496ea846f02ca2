"""Checks of user input, one for each kind of value that is used in many places.

`is_...` tests, `as_...` converts, `check_...` raises a one-line `DifftoolError`. If a check
takes `what`, its message begins with it: `check_whole("steps must be", 0, 1)` raises "steps
must be a whole number of at least 1, got 0".
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from typing import Any

from difftool.errors import DifftoolError

MOST_PIXELS = 4096  # per side of a picture


def is_whole(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether value is an `int` from low to high, and not a `bool`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether value is an `int` or `float` from low to high, not a `bool`; False for NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return bool(low <= value <= high)


def as_whole(value: object) -> int | None:
    """The value as an `int` by `__index__` (numpy integers, too); None for others and bools."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def as_range(limits: Any) -> tuple[float, float]:
    """The limits as two floats; `DifftoolError` unless they are finite and low < high."""
    try:
        low, high = (math.nan if isinstance(v, (bool, str)) else float(v) for v in limits)
    except (TypeError, ValueError, RuntimeError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise DifftoolError(f"a range must be two finite numbers, low < high, got {limits!r}")
    return low, high


def either(words: Iterable[object]) -> str:
    """The words as text: `a, b or c`."""
    *most, final = map(str, words)
    if not most:
        return final
    return f"{', '.join(most)} or {final}"


def check_whole(what: str, value: object, low: int, high: int | None = None) -> int:
    """The value as an `int`; `DifftoolError` unless low <= value <= high (None: no limit)."""
    whole = as_whole(value)
    if whole is not None and low <= whole and (high is None or whole <= high):
        return whole
    bounds = f"of at least {low}"
    if high is not None:
        bounds = f"from {low} to {high}"
    raise DifftoolError(f"{what} a whole number {bounds}, got {value!r}")


def check_positive(what: str, value: float) -> None:
    """Raise `DifftoolError` unless 0 < value < infinity."""
    if not 0 < value < math.inf:
        raise DifftoolError(f"{what} positive and finite, got {value}")


def check_choice(what: str, value: object, words: Iterable[object]) -> None:
    """Raise `DifftoolError` unless the value is one of the words."""
    allowed = tuple(words)
    if value not in allowed:
        raise DifftoolError(f"{what} {either(allowed)}, got {value!r}")


def check_options(fit: bool, takes: str, /, **options: object) -> None:
    """Raise `DifftoolError` unless the options fit: `takes, got a=1, b=2`."""
    if not fit:
        got = ", ".join(f"{name}={value}" for name, value in options.items())
        raise DifftoolError(f"{takes}, got {got}")


def check_side(size: int | None) -> None:
    """Raise `DifftoolError` unless size is None or a side in pixels to scale pictures to."""
    if size is not None and not 1 <= size <= MOST_PIXELS:
        raise DifftoolError(f"size must be from 1 to {MOST_PIXELS} pixels, got {size}")


def check_kind(name: str, value: Any, kind: Any) -> None:
    """Raise `DifftoolError` unless the value is an instance of the class, or of one of them."""
    if isinstance(value, kind):
        return
    if isinstance(kind, tuple):
        kinds = kind
    else:
        kinds = (kind,)
    names = " or ".join(k.__name__ for k in kinds)
    raise DifftoolError(
        f"{name} must be an instance of {names}, got {_brief(value)}{_way_out(name, value, kind)}"
    )


def _brief(value: Any) -> str:
    """The value in one short line; its type if its text is long (a whole network, say)."""
    text = repr(value)
    if len(text) <= 80 and "\n" not in text:
        return text
    return f"a {type(value).__name__}"


NAMED = ("schedule", "grid", "model", "sampler")  # what is created by name


def _way_out(name: str, value: Any, kind: Any) -> str:
    if isinstance(value, type) and issubclass(value, kind):
        return f"; create one: {value.__name__}()"
    if name == "model" and callable(value):
        return "; wrap a network: NetworkModel(net, schedule)"
    if isinstance(value, str) and name in NAMED:
        return f"; create one by name: difftool.specs.make({name + 's'!r}, {value!r})"
    if name == "noise":
        return "; create one: difftool.noise.BrownianPath()"
    return ""


def check_threads(threads: int) -> None:
    """Raise `DifftoolError` for more threads than there are processors: each costs memory."""
    most = os.cpu_count() or 1
    if not 1 <= threads <= most:
        raise DifftoolError(
            f"threads must be from 1 to {most}, the processors of this machine, got {threads}; "
            f"choose with --threads"
        )
