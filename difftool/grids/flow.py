"""Steps in flow time s = sigma / (alpha + sigma), regular at both ends of every schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from difftool.errors import DifftoolError
from difftool.errors.validation import check_choice
from difftool.grids.base import Grid, check_positive, fractions, level_at_start
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class FlowGrid(Grid):
    """Steps in flow time s: s_i = s_end + (s_start - s_end) (1 - (i/N)^a)^b.

    s = sigma / (alpha + sigma), regular at both ends, including alpha = 0; a = b = 1 is uniform
    in s. Options: the exponents `a` and `b` (> 0). Raises `DifftoolError` for invalid values.
    """

    a: float = 1.0
    b: float = 1.0

    name = "flow"
    reference = "this project; a = b = 1 is the uniform time of flow matching, Lipman et al. 2022, arXiv 2210.02747"

    def __post_init__(self) -> None:
        check_positive(self.name, a=self.a, b=self.b)

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        s0, s1 = schedule.at(start).flow, schedule.at(end).flow
        return [
            schedule.t_at_flow(s1 + (s0 - s1) * (1 - u**self.a) ** self.b)
            for u in fractions(steps)
        ]


@dataclass(frozen=True)
class LinearQuadratic(Grid):
    """Small equal steps for the first half of the steps, then linearly growing ones.

    v_i = v_start + (v_end - v_start) x_i in the flow time v = s, with h = N // 2 and the
    threshold d,

        x_i = d i / h                   for i <= h
        x_i = d i / h + c (i - h)^2     for i > h,    c = (1 - d N / h) / (N - h)^2 ,

    so that x_h = d, x_N = 1, and step sizes are continuous at h.

    Options: `threshold_noise`, the fraction d covered by the first half of the steps (0 < d <
    1/2); `variable`, flow, or level for v = sigma / alpha, which other tools use on schedules
    other than flow (it needs a finite level to start at). Raises `DifftoolError` for invalid
    values.
    """

    threshold_noise: float = 0.025
    variable: Literal["flow", "level"] = "flow"

    name = "linear-quadratic"
    reference = "Genmo 2024, Mochi 1 (its sampling code); ComfyUI (linear_quadratic)"

    def __post_init__(self) -> None:
        if not 0 < self.threshold_noise < 0.5:
            raise DifftoolError(
                f"linear-quadratic takes 0 < threshold_noise < 0.5, got {self.threshold_noise}"
            )
        check_choice("linear-quadratic takes variable", self.variable, ("flow", "level"))

    @property
    def needs_level(self) -> bool:
        return self.variable == "level"

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        left = [1 - x for x in self._progress(steps)]
        if self.variable == "level":
            high, low = level_at_start(self, schedule, start), schedule.level(end)
            return [schedule.t_at_level(low + (high - low) * part) for part in left]
        s0, s1 = schedule.at(start).flow, schedule.at(end).flow
        return [schedule.t_at_flow(s1 + (s0 - s1) * part) for part in left]

    def _progress(self, steps: int) -> list[float]:
        """x_0 .. x_N."""
        if steps == 1:
            return [0.0, 1.0]
        d, h = self.threshold_noise, steps // 2
        c = (1 - d * steps / h) / (steps - h) ** 2
        return [d * i / h + c * max(i - h, 0) ** 2 for i in range(steps + 1)]
