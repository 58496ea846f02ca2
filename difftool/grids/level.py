"""Steps in a function of the noise level l = sigma / alpha (k-diffusion's and EDM's sigma).

From l_0 at the run's start to l_M at its end, or to `level_min` (at most half of l_0) and then
in one last step to sigma = 0. Other tools call level_min sigma_min. Its default is the lowest
level of the network's table, else of the schedule's (0.0292 in latent diffusion), or 0.002 if
there is none.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

from difftool.errors.validation import check_options
from difftool.grids.base import Grid, check_positive, fractions, level_at_start
from difftool.schedules.base import Schedule

LOWEST = 0.002  # as in EDM


@dataclass(frozen=True)
class LevelGrid(Grid):
    """A grid in the noise level, with a last step from `level_min` if it ends at sigma = 0."""

    level_min: float | None = None

    refines = False

    def __post_init__(self) -> None:
        check_options(
            self.level_min is None or 0 < self.level_min < math.inf,
            f"{self.name} takes a finite noise level level_min > 0",
            level_min=self.level_min,
        )

    @property
    def needs_level(self) -> bool:
        return True

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        high, low = level_at_start(self, schedule, start), schedule.level(end)
        if low > 0:
            levels = self.levels(high, low, steps)
        else:
            bottom = self.level_min or schedule.lowest or LOWEST
            if steps > 1:
                levels = self.levels(high, min(bottom, high / 2), steps - 1)
            else:
                levels = [high]
            levels = [*levels, 0.0]
        return [schedule.t_at_level(level) for level in levels]

    def down_to(self, level: float) -> Grid:
        if self.level_min is not None:
            return self
        return replace(self, level_min=level)

    @abstractmethod
    def levels(self, high: float, low: float, steps: int) -> list[float]:
        """`steps + 1` decreasing noise levels from high to low, both > 0."""


@dataclass(frozen=True)
class HalfLogSNR(LevelGrid):
    """Equal steps in lambda = log(alpha / sigma), geometric in l: l_i = l_0 (l_M / l_0)^(i/M).

    l = sigma / alpha is the noise level.

    Option: `level_min`, the noise level before the last step if the run ends at sigma = 0
    (> 0). Raises `DifftoolError` for invalid values.
    """

    name = "half-log-snr"
    reference = "Lu et al. 2022, DPM-Solver, arXiv 2206.00927"

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        return [high * (low / high) ** u for u in fractions(steps)]


@dataclass(frozen=True)
class PolyExponential(LevelGrid):
    """Polynomial steps in log l: log l_i = log l_M + (1 - i/M)^rho (log l_0 - log l_M).

    l = sigma / alpha is the noise level. With large rho and many steps the last levels round to
    the same number, which raises an error.

    Options: `rho` (> 0; 1 is half-log-snr, larger takes more steps at small levels) and
    `level_min`, the noise level before the last step if the run ends at sigma = 0 (> 0). Raises
    `DifftoolError` for invalid values.
    """

    rho: float = 1.0

    name = "polyexponential"
    reference = "Crowson 2022, k-diffusion (get_sigmas_polyexponential)"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.name, rho=self.rho)

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        return [low * (high / low) ** ((1 - u) ** self.rho) for u in fractions(steps)]


@dataclass(frozen=True)
class Karras(LevelGrid):
    """Equal steps in l^(1/rho): l_i = (l_0^(1/rho) + (i/M) (l_M^(1/rho) - l_0^(1/rho)))^rho.

    l = sigma / alpha is the noise level.

    Options: `rho` (> 0; 1 is uniform in the level, large is uniform in its logarithm) and
    `level_min`, the noise level before the last step if the run ends at sigma = 0 (> 0). Raises
    `DifftoolError` for invalid values.
    """

    rho: float = 7.0

    name = "karras"
    reference = "Karras et al. 2022, Elucidating the design space of diffusion-based models, arXiv 2206.00364, eq. 5"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.name, rho=self.rho)

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        share = (low / high) ** (1 / self.rho)
        return [*(high * (1 + u * (share - 1)) ** self.rho for u in fractions(steps)[:-1]), low]


@dataclass(frozen=True)
class KLOptimal(LevelGrid):
    """Equal steps in arctan(l): l_i = tan((i/M) arctan(l_M) + (1 - i/M) arctan(l_0)).

    l = sigma / alpha. These steps minimize the bound of the reference for Gaussian data with
    unit variance.

    Option: `level_min`, the noise level before the last step if the run ends at sigma = 0
    (> 0). Raises `DifftoolError` for invalid values.
    """

    name = "kl-optimal"
    reference = "Sabour et al. 2024, Align your steps, arXiv 2404.14507 (its closed form for Gaussian data)"

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        a, b = math.atan(high), math.atan(low)
        return [math.tan(u * b + (1 - u) * a) for u in fractions(steps)]
