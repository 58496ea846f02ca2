"""Checks of a sampler's options: the error names the sampler, the option and the allowed values."""

from __future__ import annotations

import math
import numbers
from typing import Any, get_args

from difftool.errors import DifftoolError


def check_order(
    name: str, value: Any, allowed: range, option: str = "order", none: bool = True
) -> None:
    """Raise `DifftoolError` unless value is a whole number of the range (or none, where that is allowed)."""
    if (value is None and none) or (
        isinstance(value, int) and not isinstance(value, bool) and value in allowed
    ):
        return
    orders = [*map(str, allowed)]
    listed = f"{', '.join(orders[:-1])} or {orders[-1]}" if len(orders) > 1 else orders[0]
    raise DifftoolError(f"{name} takes {option} {listed}, got {value!r}{_plain(value)}")


def check_number(
    name: str,
    option: str,
    value: Any,
    low: float,
    high: float = math.inf,
    above: bool = False,
    infinite: bool = False,
) -> None:
    """Raise `DifftoolError` unless low <= value <= high (low < value if `above`), and finite unless it may be."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = number and (math.isfinite(value) or (infinite and value > 0))
    if number and value <= high and (low < value if above else low <= value):
        return
    sign = "<" if above else "<="
    bounds = f"{option} {sign[0:1].replace('<', '>')}{'' if above else '='} {low:g}"
    if high < math.inf:
        bounds = f"{low:g} {sign} {option} <= {high:g}"
    raise DifftoolError(f"{name} takes {bounds}, got {value!r}{_plain(value)}")


def check_whole(name: str, option: str, value: Any, low: int, high: int = 10_000) -> None:
    """Raise `DifftoolError` unless value is a whole number, low <= value <= high."""
    if not (isinstance(value, int) and not isinstance(value, bool) and low <= value <= high):
        raise DifftoolError(
            f"{name} takes whole numbers {option} from {low} to {high}, got {value!r}{_plain(value)}"
        )


def check_choice(name: str, option: str, value: Any, kind: Any) -> None:
    """Raise `DifftoolError` unless value is one of the `Literal` kind."""
    allowed = get_args(kind)
    if value not in allowed:
        listed = ", ".join(map(str, allowed[:-1]))
        raise DifftoolError(f"{name} takes {option} {listed} or {allowed[-1]}, got {value!r}")


def _plain(value: Any) -> str:
    """What helps where a number is of another library's type, whose arithmetic is another too."""
    foreign = isinstance(value, numbers.Real) and not isinstance(value, (int, float))
    return "; give a plain int or float" if foreign else ""
