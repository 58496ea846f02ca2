"""Quantiles of a beta distribution: with alpha = beta < 1, small steps at both ends of a run.

Q(u) is the quantile function of Beta(alpha, beta). The reference applies it to times (`beta`),
ComfyUI to the entries of the network's table (`beta-entries`), and use_beta_sigmas in diffusers
to noise levels (`beta-level`), which is a different grid.
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.errors import DifftoolError
from difftool.grids.base import Grid, check_positive, fractions
from difftool.grids.entries import EntryGrid
from difftool.grids.level import LevelGrid
from difftool.schedules.base import Schedule

REFERENCE = (
    "Lee et al. 2024, Beta sampling is all you need: efficient image generation strategy for diffusion models using "
    "stepwise spectral analysis, arXiv 2407.12173"
)


@dataclass(frozen=True)
class Beta(Grid):
    """Times at quantiles of a beta distribution: t_i = end + (start - end) Q(1 - i/N).

    Options: `alpha` and `beta` (> 0) of the distribution. Raises `DifftoolError` for invalid
    values.
    """

    alpha: float = 0.6
    beta: float = 0.6

    name = "beta"
    reference = REFERENCE

    def __post_init__(self) -> None:
        check_positive(self.name, alpha=self.alpha, beta=self.beta)

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [
            end + (start - end) * q for q in falling_quantiles(self.alpha, self.beta, steps)
        ]


@dataclass(frozen=True)
class BetaEntries(EntryGrid):
    """The `beta` grid rounded to entries of a table: i = round((M - 1) Q(1 - j/N)) for j < N.

    M is the number of entries in the run (see the module `entries`). Quantiles are dense at
    both ends, so they soon repeat entries (of 1000, at 139 steps): that is an error, whereas
    ComfyUI silently takes fewer steps.

    Options: `alpha` and `beta` (> 0) of the distribution, and `length`, the entries of the
    table (>= 1; none: the schedule's). Raises `DifftoolError` for invalid values, and for more
    steps than distinct entries.
    """

    alpha: float = 0.6
    beta: float = 0.6

    name = "beta-entries"
    reference = REFERENCE + "; ComfyUI (beta)"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.name, alpha=self.alpha, beta=self.beta)

    def entries(self, count: int, steps: int) -> list[int]:
        picked = [
            round((count - 1) * q) for q in falling_quantiles(self.alpha, self.beta, steps)[:-1]
        ]
        if len(set(picked)) < steps:
            raise DifftoolError(
                f"beta-entries has {len(set(picked))} distinct entries of {count} for {steps} steps; take fewer "
                f"steps, or use the grid beta, which does not round"
            )
        return picked


@dataclass(frozen=True)
class BetaLevel(LevelGrid):
    """Noise levels at quantiles of a beta distribution: l_i = l_M + (l_0 - l_M) Q(1 - i/M).

    l = sigma / alpha is the noise level.

    Options: `alpha` and `beta` (> 0) of the distribution, and `level_min`, the noise level
    before the last step if the run ends at sigma = 0 (> 0). Raises `DifftoolError` for invalid
    values.
    """

    alpha: float = 0.6
    beta: float = 0.6

    name = "beta-level"
    reference = REFERENCE + " (in t); diffusers (use_beta_sigmas)"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.name, alpha=self.alpha, beta=self.beta)

    def levels(self, high: float, low: float, steps: int) -> list[float]:
        return [low + (high - low) * v for v in falling_quantiles(self.alpha, self.beta, steps)]


def falling_quantiles(alpha: float, beta: float, steps: int) -> list[float]:
    """Q(1 - i/N), i = 0 .. N, from 1 to 0."""
    from scipy.special import betaincinv

    return [float(betaincinv(alpha, beta, 1 - u)) for u in fractions(steps)]
