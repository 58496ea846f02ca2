"""Findings: the lines of a check's report, and helpers that measure and judge them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from difftool.errors import DifftoolError
from difftool.errors.blame import line_of


class Finding(NamedTuple):
    """What was checked, what was expected, what was measured, and whether it passed."""

    check: str
    expected: str
    measured: str
    ok: bool


class Worst(NamedTuple):
    """The worst figure, and where it was found."""

    figure: float
    where: str


Figure = TypeVar("Figure", float, Worst)


def worst_of(*found: Figure) -> Figure:
    """The largest figure; unlike with `max`, NaN counts as larger than any number."""

    def size(worst: Figure) -> tuple[bool, float]:
        if isinstance(worst, Worst):
            figure = worst.figure
        else:
            figure = worst
        return math.isnan(figure), figure

    return max(found, key=size)


def at_most(check: str, measure: Callable[[], float | Worst | None], limit: float) -> Finding:
    """A figure that must not exceed a limit; NaN fails, None passes as not applicable."""
    if limit:
        expected = f"<= {limit:.3g}"
    else:
        expected = "0"

    def finding() -> Finding:
        found = measure()
        if found is None:
            return Finding(check, expected, "does not apply", True)
        if isinstance(found, Worst):
            value, where = found
        else:
            value, where = (found, "")
        return Finding(
            check, expected, f"{value:.2g} {where}".strip() if value else "0", value <= limit
        )

    return attempt(check, expected, finding)


def near(
    check: str, measure: Callable[[], float], expected: float, tolerance: float
) -> Finding:
    """A figure that must match an expected one within a tolerance."""
    text = f"{expected:g} +- {tolerance:g}"

    def finding() -> Finding:
        value = measure()
        return Finding(check, text, f"{value:.2f}", abs(value - expected) <= tolerance)

    return attempt(check, text, finding)


def at_least(check: str, measure: Callable[[], float], limit: float) -> Finding:
    """A figure that must not fall below a limit."""

    def finding() -> Finding:
        value = measure()
        return Finding(check, f">= {limit:g}", f"{value:.2f}", value >= limit)

    return attempt(check, f">= {limit:g}", finding)


def holds(check: str, expected: str, measure: Callable[[], str]) -> Finding:
    """A check that returns its measurement as text, or raises if it fails."""
    return attempt(check, expected, lambda: Finding(check, expected, measure(), True))


def attempt(check: str, expected: str, measure: Callable[[], Finding]) -> Finding:
    """The finding, or a failed one with the error's text: a crash must not end the report."""
    try:
        return measure()
    except Exception as error:  # whatever a plugin's code raises
        return failed(check, expected, error)


def failed(check: str, expected: str, error: Exception) -> Finding:
    """The finding for an error: its message and, for a Python error, its type and place."""
    text = " ".join(str(error).split()) or "does not hold"
    told = isinstance(error, (DifftoolError, AssertionError))
    if not told:
        text = line_of(error)
    parts = [text, *getattr(error, "__notes__", ())]
    if isinstance(error, ZeroDivisionError):
        parts.append(
            "alpha or sigma is probably 0; declare divides_by_alpha, or avoid the division"
        )
    return Finding(check, expected, ", ".join(parts), False)
