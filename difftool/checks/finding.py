"""One line of a check's report."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from difftool.errors import DifftoolError


class Finding(NamedTuple):
    """What was checked, what was expected, what was measured, and whether the two agree."""

    check: str
    expected: str
    measured: str
    ok: bool


def at_most(check: str, value: float, limit: float) -> Finding:
    """A figure that must not exceed a limit (NaN does)."""
    return Finding(check, f"<= {limit:.0e}", f"{value:.1e}", value <= limit)


def near(check: str, value: float, expected: float, tolerance: float) -> Finding:
    """A figure that must be within a tolerance of what is expected."""
    return Finding(check, f"{expected:g} +- {tolerance:g}", f"{value:.2f}", abs(value - expected) <= tolerance)


def at_least(check: str, value: float, limit: float) -> Finding:
    """A figure that must reach a limit."""
    return Finding(check, f">= {limit:g}", f"{value:.2f}", value >= limit)


def holds(check: str, expected: str, law: Callable[[], str]) -> Finding:
    """A law that returns its measure, or raises `DifftoolError` or `AssertionError` where it does not hold."""
    try:
        return Finding(check, expected, law(), True)
    except (DifftoolError, AssertionError) as error:
        return Finding(check, expected, str(error) or "does not hold", False)
