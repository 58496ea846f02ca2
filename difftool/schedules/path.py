"""The path of a run: the points a sampler visits, and the schedule between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

from difftool.errors import DifftoolError
from difftool.schedules.base import Point, Schedule, check_in_domain

ROUNDING = 1e-14  # how far outside the domain an inverse may be, relative to its length


class Path(Sequence[Point]):
    """The points of a run on the *sampling* schedule, from start to end; `len(path) - 1` steps.

    Times must be finite, strictly monotone (decreasing to sample, increasing to encode) and in
    the schedule's domain up to rounding, else `DifftoolError`. A slice is also a path.
    Immutable.
    """

    def __init__(self, schedule: Schedule, times: Sequence[float]):
        self.schedule = schedule
        self.times = _checked(schedule, times)
        self.points = tuple(schedule.at(t) for t in self.times)

    def at(self, t: float) -> Point:
        """The point at time t."""
        return self.schedule.at(t)

    def at_half_log_snr(self, value: float) -> Point:
        """The point where log(alpha / sigma) is `value`, clamped to the domain."""
        low, high = self.schedule.domain
        return self.schedule.at(min(max(self.schedule.t_at_half_log_snr(value), low), high))

    def drift(self, p: Point) -> Any:
        """f at p."""
        return self.schedule.drift(p.t)

    def diffusion2(self, p: Point) -> Any:
        """g^2 at p."""
        return self.schedule.diffusion2(p.t)

    @property
    def downwards(self) -> bool:
        """True if the path goes from noise to data."""
        return self.times[-1] <= self.times[0]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> Path: ...
    def __getitem__(self, index: int | slice) -> Point | Path:
        if isinstance(index, slice):
            return Path(self.schedule, self.times[index])
        return self.points[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and (self.schedule, self.times) == (
            other.schedule,
            other.times,
        )

    def __hash__(self) -> int:
        return hash((self.schedule, self.times))

    def __repr__(self) -> str:
        return f"Path({self.schedule!r}, {len(self) - 1} steps from t={self.times[0]:g} to t={self.times[-1]:g})"


def _checked(schedule: Schedule, times: Sequence[float]) -> tuple[float, ...]:
    try:
        values = tuple(float(t) for t in times)
    except (TypeError, ValueError):
        raise DifftoolError(
            f"a grid must be a sequence of times (numbers), got {times!r}"
        ) from None
    if not values:
        raise DifftoolError("a grid needs at least one time, got none")
    low, high = schedule.domain
    room = ROUNDING * (high - low)
    values = tuple(
        min(max(t, low), high) if low - room <= t <= high + room else t for t in values
    )
    for i, t in enumerate(values):
        if math.isnan(t):
            raise DifftoolError(f"time {i} of the grid is NaN; times must be finite")
        check_in_domain(schedule, t, f"time {i} of the grid")
    if values[-1] < values[0]:
        sign = 1
    else:
        sign = -1
    for i, (a, b) in enumerate(pairwise(values)):
        if sign * (a - b) <= 0:
            raise DifftoolError(
                f"the grid is not strictly monotone: time {i} is {a!r}, time {i + 1} is {b!r}"
            )
    return values
