"""Checks of sampler options; errors name the sampler, the option and the allowed values."""

from __future__ import annotations

import math
import numbers
import sys
from typing import Any, get_args

from difftool.errors import DifftoolError, validation
from difftool.errors.validation import either, is_number, is_whole


def check_order(
    name: str, value: Any, allowed: range, option: str = "order", none: bool = True
) -> None:
    """Raise `DifftoolError` unless value is a whole number in `allowed` (or None if `none`)."""
    if value is None and none:
        return
    if is_whole(value) and value in allowed:
        return
    raise DifftoolError(
        f"{name} takes {option} {either(allowed)}, got {value!r}{_plain(value)}"
    )


def check_number(
    name: str,
    option: str,
    value: Any,
    low: float,
    high: float = math.inf,
    above: bool = False,
    infinite: bool = False,
) -> None:
    """Raise `DifftoolError` unless value is a finite number from low to high.

    above: low itself is not allowed. infinite: infinity is allowed.
    """
    if is_number(value, low, high):
        at_low = above and value == low
        too_large = value > sys.float_info.max and not infinite
        if not at_low and not too_large:
            return
    if above:
        below, over = ("<", ">")
    else:
        below, over = ("<=", ">=")
    bounds = f"{option} {over} {low:g}"
    if high < math.inf:
        bounds = f"{low:g} {below} {option} <= {high:g}"
    raise DifftoolError(f"{name} takes {bounds}, got {value!r}{_plain(value)}")


def check_whole(name: str, option: str, value: Any, low: int, high: int = 10_000) -> None:
    """Raise `DifftoolError` unless value is a whole number from low to high."""
    if not is_whole(value, low, high):
        raise DifftoolError(
            f"{name} takes {option} from {low} to {high} (a whole number), got {value!r}{_plain(value)}"
        )


def check_choice(name: str, option: str, value: Any, kind: Any) -> None:
    """Raise `DifftoolError` unless value is one of the choices of `kind`, a `Literal`."""
    validation.check_choice(f"{name} takes {option}", value, get_args(kind))


def _plain(value: Any) -> str:
    """A hint for numbers of another library's type, which come with their own arithmetic."""
    foreign = isinstance(value, numbers.Real) and not isinstance(value, (int, float))
    if foreign:
        return "; give a plain int or float"
    return ""
