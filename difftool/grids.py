"""Grids: at which times a run evaluates its model.

A grid is a frozen dataclass called as `grid(schedule, steps)`; it returns `steps + 1` times, from the start of the
run to its end. Every grid has the options

    start   the first time (None: the end of the schedule's domain, or alpha = 1e-3 where that has no finite level)
    end     the last time (None: the lower end of the domain, sigma = 0)

so that image-to-image starts later and a run may stop at a small level. With start < end the grid runs upwards
(encoding): it is the mirror of the grid that comes down.

Uniform in log-SNR-like variables cannot reach sigma = 0. Such grids end their regular part at the noise level
`level_min` and take one last step from there to sigma = 0.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar

from difftool.errors import DifftoolError
from difftool.schedules.base import Schedule, check_in_domain

MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Grid(ABC):
    """A rule for the times of a run; a new grid implements `between`."""

    start: float | None = field(default=None, kw_only=True)
    end: float | None = field(default=None, kw_only=True)

    needs_level: ClassVar[bool] = False  # True if it cannot start where alpha = 0
    reference: ClassVar[str] = ""

    def __call__(self, schedule: Schedule, steps: int) -> tuple[float, ...]:
        """The `steps + 1` times on `schedule`; `DifftoolError` for a bad number of steps, start or end."""
        check_steps(steps)
        first = schedule.t_start(self.needs_level) if self.start is None else self.start
        last = schedule.domain[0] if self.end is None else self.end
        check_in_domain(schedule, first, "the grid's start")
        check_in_domain(schedule, last, "the grid's end")
        if first == last:
            raise DifftoolError(f"the grid starts and ends at t={first:g}; the two must differ")
        high, low = max(first, last), min(first, last)
        inner = self.between(schedule, steps, high, low)
        times = (high, *inner[1:-1], low)  # the ends exactly as given
        return times if first > last else times[::-1]

    @abstractmethod
    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        """`steps + 1` falling times from start to end."""

    def starting(self, t: float) -> Grid:
        """This grid with its start set to t, unless it has one of its own."""
        return self if self.start is not None else replace(self, start=t)


def check_steps(steps: object) -> None:
    """Raise `DifftoolError` unless steps is a whole number of at least 1."""
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or operator.index(steps) < 1:
        raise DifftoolError(f"steps must be a whole number of at least 1, got {steps!r}")
    if operator.index(steps) > MOST_STEPS:
        raise DifftoolError(f"steps must be at most {MOST_STEPS}, got {steps}")


def _fractions(steps: int) -> list[float]:
    return [i / steps for i in range(steps + 1)]


@dataclass(frozen=True)
class Uniform(Grid):
    """Equal steps in t: t_i = start + (end - start) i / N."""

    reference = "Ho et al. 2020, arXiv 2006.11239 (there with N = 1000)"

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [start + (end - start) * u for u in _fractions(steps)]


@dataclass(frozen=True)
class Quadratic(Grid):
    """Steps that shrink linearly towards the data: t_i = end + (start - end) (1 - i/N)^2."""

    reference = "Song et al. 2020, Denoising diffusion implicit models, arXiv 2010.02502, appendix D.2"

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [end + (start - end) * (1 - u) ** 2 for u in _fractions(steps)]


@dataclass(frozen=True)
class FlowGrid(Grid):
    """Steps in the flow time s = sigma / (alpha + sigma): s_i = s_end + (s_start - s_end) (1 - (i/N)^a)^b.

    a = b = 1 is uniform in s. Regular at both ends, alpha = 0 included. Options: the exponents `a` and `b` (> 0).
    """

    a: float = 1.0
    b: float = 1.0

    reference = "this project; a = b = 1 is the uniform time of flow matching, Lipman et al. 2022, arXiv 2210.02747"

    def __post_init__(self) -> None:
        if not (0 < self.a < math.inf and 0 < self.b < math.inf):
            raise DifftoolError(f"the flow grid takes exponents a > 0 and b > 0, got a={self.a}, b={self.b}")

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        s0, s1 = schedule.at(start).flow, schedule.at(end).flow
        return [schedule.t_at_flow(s1 + (s0 - s1) * (1 - u**self.a) ** self.b) for u in _fractions(steps)]


@dataclass(frozen=True)
class _LevelGrid(Grid):
    """A grid in the noise level that takes a last step from `level_min` to an end at sigma = 0."""

    level_min: float = 0.002
    needs_level = True

    def __post_init__(self) -> None:
        if not 0 < self.level_min < math.inf:
            raise DifftoolError(f"level_min must be a finite noise level > 0, got {self.level_min}")

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        high, low = schedule.level(start), schedule.level(end)
        if math.isinf(high):
            raise DifftoolError(
                f"{type(self).__name__} needs a finite noise level to start at, and alpha = 0 at t={start:g}; "
                f"start at t <= {schedule.t_start(True):.6g}"
            )
        if low > 0:
            levels = self.levels(high, low, steps)
        else:
            levels = self.levels(high, min(self.level_min, high / 2), steps - 1) if steps > 1 else [high]
            levels = [*levels, 0.0]
        return [schedule.t_at_level(level) for level in levels]

    @abstractmethod
    def levels(self, high: float, low: float, steps: int) -> list[float]:
        """`steps + 1` falling noise levels from high to low, both > 0."""


@dataclass(frozen=True)
class HalfLogSNR(_LevelGrid):
    """Equal steps in lambda = log(alpha / sigma), the exponential grid: l_i = l_0 (l_N / l_0)^(i/N).

    l = sigma / alpha is the noise level.
    Option: `level_min`, the noise level before the last step if the run ends at sigma = 0.
    """

    reference = "Lu et al. 2022, DPM-Solver, arXiv 2206.00927"

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        return [high * (low / high) ** u for u in _fractions(steps)]


@dataclass(frozen=True)
class Karras(_LevelGrid):
    """Equal steps in l^(1/rho): l_i = (l_0^(1/rho) + (i/N) (l_N^(1/rho) - l_0^(1/rho)))^rho.

    l = sigma / alpha is the noise level.
    Options: `rho` (> 0; 1 is uniform in the level, large is uniform in its logarithm) and `level_min`, the noise
    level before the last step if the run ends at sigma = 0.
    """

    rho: float = 7.0

    reference = "Karras et al. 2022, Elucidating the design space of diffusion-based models, arXiv 2206.00364, eq. 5"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rho < math.inf:
            raise DifftoolError(f"the karras grid takes rho > 0, got {self.rho}")

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        a, b = high ** (1 / self.rho), low ** (1 / self.rho)
        return [(a + u * (b - a)) ** self.rho for u in _fractions(steps)]


@dataclass(frozen=True)
class Explicit(Grid):
    """The times themselves, falling or rising: `explicit:times=1+0.5+0`. `steps` must be their number less one.

    Option: `times`, at least two. `start` and `end`, if given, must be the first and the last of them. Raises
    `DifftoolError` for fewer, and for what are no numbers.
    """

    times: tuple[float, ...] = ()

    reference = "given by the user"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "times", tuple(float(t) for t in self.times))
        except (TypeError, ValueError):
            raise DifftoolError(f"an explicit grid takes times (numbers), got {self.times!r}") from None
        if len(self.times) < 2:
            raise DifftoolError(f"an explicit grid takes at least two times (times=1+0.5+0), got {len(self.times)}")

    def __call__(self, schedule: Schedule, steps: int) -> tuple[float, ...]:
        check_steps(steps)
        if steps != len(self.times) - 1:
            raise DifftoolError(f"this explicit grid has {len(self.times) - 1} steps, asked for {steps}")
        for name, given, has in (("start", self.start, self.times[0]), ("end", self.end, self.times[-1])):
            if given is not None and given != has:
                raise DifftoolError(f"this explicit grid's {name} is {has:g}, asked for {given:g}")
        return self.times

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return list(self.times)

    def starting(self, t: float) -> Grid:
        return self


__all__ = ["Explicit", "FlowGrid", "Grid", "HalfLogSNR", "Karras", "Quadratic", "Uniform", "check_steps"]
