"""Steps in t itself.

`normal` and `sgm-uniform` come from tools whose networks are trained at the times (i + 1) /
length, i = 0 .. length - 1: they space the times down to the first entry, 1 / length, and end
with a step from the last of them to sigma = 0. Times are fractions of the schedule's domain.
For grids that are rounded to whole entries, see `entries`.
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.grids.base import Grid, check_positive, fractions
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class Uniform(Grid):
    """Equal steps in t: t_i = start + (end - start) i / N."""

    name = "uniform"
    reference = "Ho et al. 2020, arXiv 2006.11239 (with N = 1000)"

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [start + (end - start) * u for u in fractions(steps)]


@dataclass(frozen=True)
class Quadratic(Grid):
    """Steps that shrink linearly towards the data: t_i = end + (start - end) (1 - i/N)^2."""

    name = "quadratic"
    reference = (
        "Song et al. 2020, Denoising diffusion implicit models, arXiv 2010.02502, appendix D.2"
    )

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [end + (start - end) * (1 - u) ** 2 for u in fractions(steps)]


@dataclass(frozen=True)
class Normal(Grid):
    """Equal steps in t down to the first entry of the table, then one step to sigma = 0.

    t_i = start + (1/length - start) i / (N - 1) for i < N, t_N = 0. A run that ends at or above
    the first entry has equal steps to its end; one that starts at or below it goes halfway
    before its last step.

    Option: `length`, the entries of the network's table (> 0; none: the schedule's). Raises
    `DifftoolError` for length <= 0.
    """

    length: int | None = None

    name = "normal"
    refines = False
    reference = (
        "ComfyUI (normal); Lin et al. 2024, arXiv 2305.08891, table 2 (linspace, rounded)"
    )

    def __post_init__(self) -> None:
        if self.length is not None:
            check_positive(self.name, length=self.length)

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        bottom = first_entry(schedule, self.length or schedule.entries, start, end)
        if bottom == end or steps == 1:
            return Uniform().between(schedule, steps, start, end)
        return [*Uniform().between(schedule, steps - 1, start, bottom), end]


@dataclass(frozen=True)
class SGMUniform(Grid):
    """Equal steps in t towards the first entry of the table, but the last step to sigma = 0.

    t_i = start + (1/length - start) i / N for i < N, t_N = 0. A run that ends at or above the
    first entry has equal steps to its end; one that starts at or below it steps towards
    halfway.

    Option: `length`, the entries of the network's table (> 0; none: the schedule's). Raises
    `DifftoolError` for length <= 0.
    """

    length: int | None = None

    name = "sgm-uniform"
    refines = False
    reference = "ComfyUI (sgm_uniform), after Stability AI's generative-models"

    def __post_init__(self) -> None:
        if self.length is not None:
            check_positive(self.name, length=self.length)

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        bottom = first_entry(schedule, self.length or schedule.entries, start, end)
        return [*Uniform().between(schedule, steps, start, bottom)[:-1], end]


def first_entry(schedule: Schedule, length: int, start: float, end: float) -> float:
    """The time of the first entry; the end if that is higher, halfway if the start is not."""
    low, high = schedule.domain
    bottom = low + (high - low) / length
    if end >= bottom:
        return end
    if bottom < start:
        return bottom
    return (start + end) / 2
