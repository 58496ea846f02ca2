"""The base class of grids: ends, direction and order of the times."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

from difftool.errors import DifftoolError
from difftool.errors.validation import check_options, check_whole
from difftool.schedules.base import Schedule, check_in_domain

MOST_STEPS = 100_000


@dataclass(frozen=True)
class Grid(ABC):
    """A rule for the times of a run; a new grid implements `between`.

    Class attributes: `name`, as registered; `reference`; `refines`, False if some step does not
    shrink with more steps (a last one from a fixed level, entries of a table); `own_start`,
    True if the first time may be below the start.
    """

    start: float | None = field(default=None, kw_only=True)
    end: float | None = field(default=None, kw_only=True)

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    refines: ClassVar[bool] = True
    own_start: ClassVar[bool] = False

    @property
    def needs_level(self) -> bool:
        """True if the grid cannot start at alpha = 0."""
        return False

    @property
    def own_steps(self) -> int | None:
        """The number of steps of a grid with fixed times; None for a rule that takes any."""
        return None

    def __call__(self, schedule: Schedule, steps: int) -> tuple[float, ...]:
        """The `steps + 1` times on `schedule`.

        Raises `DifftoolError` for a bad number of steps, start or end, and if the times would
        not be strictly monotone (more steps than the grid, or float64, can resolve).
        """
        self._check_steps(steps)
        if self.start is None:
            first = schedule.t_start(self.needs_level)
        else:
            first = self.start
        if self.end is None:
            last = schedule.domain[0]
        else:
            last = self.end
        check_in_domain(schedule, first, "the grid's start")
        check_in_domain(schedule, last, "the grid's end")
        if first == last:
            raise DifftoolError(f"the grid starts and ends at t={first:g}; the two must differ")
        high, low = max(first, last), min(first, last)
        inner = self.between(schedule, steps, high, low)
        # use the exact ends
        times = (
            inner[0] if self.own_start else high,
            *inner[1:-1],
            low,
        )
        self._check_falling(times)
        if first > last:
            return times
        return times[::-1]

    @abstractmethod
    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        """`steps + 1` decreasing times from start to end."""

    def starting(self, t: float) -> Grid:
        """This grid with its start set to t, unless a start was given."""
        if self.start is not None:
            return self
        return replace(self, start=t)

    def down_to(self, level: float) -> Grid:
        """This grid with that level before a last step to sigma = 0, if not given."""
        return self

    def _check_steps(self, steps: int) -> None:
        check_steps(steps)
        if self.own_steps not in (None, steps):
            raise DifftoolError(
                f"this {self.name or type(self).__name__} grid has {self.own_steps} steps, got steps={steps}"
            )

    def _check_falling(self, times: tuple[float, ...]) -> None:
        for i, (a, b) in enumerate(pairwise(times)):
            if not a > b:
                way = "does the noise of the schedule increase with t?"
                if math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12):
                    way = "take fewer steps"
                raise DifftoolError(
                    f"{self.name or type(self).__name__} does not decrease with {len(times) - 1} steps: time {i} is "
                    f"{a!r}, time {i + 1} is {b!r}; {way}"
                )


def check_steps(steps: object) -> None:
    """Raise `DifftoolError` unless steps is a whole number of at least 1."""
    if check_whole("steps must be", steps, 1) > MOST_STEPS:
        raise DifftoolError(f"steps must be at most {MOST_STEPS}, got {steps}")


def check_positive(name: str, **options: float) -> None:
    """Raise `DifftoolError` unless the options of the grid are positive and finite."""
    fit = all(0 < value < math.inf for value in options.values())
    wanted = " and ".join(f"{key} > 0" for key in options)
    check_options(fit, f"the {name} grid takes {wanted}", **options)


def fractions(steps: int) -> list[float]:
    """i / N for i = 0 .. N."""
    return [i / steps for i in range(steps + 1)]


def level_at_start(grid: Grid, schedule: Schedule, t: float) -> float:
    """The noise level where a run starts; `DifftoolError` if it is infinite."""
    level = float(schedule.level(t))
    if math.isinf(level):
        raise DifftoolError(
            f"{grid.name or type(grid).__name__} needs a finite noise level to start at, and alpha = 0 at t={t:g}; "
            f"start at t <= {schedule.t_start(True):.6g}"
        )
    return level
