"""Noise levels optimized for published models.

A table of noise levels l_0 > ... > l_M is a curve, with log l linear between its entries. N
steps are N + 1 equally spaced places along it; a run to sigma = 0 takes its last step from the
second-to-last place, as published.

On other schedules the curve keeps its levels, since they are what was optimized; only its ends
are adapted. If a run starts above l_0 (or ends below l_M, but not at 0), the end of the curve
moves there and stretches the first (last) segment. If it starts below l_0 or ends above l_M, it
uses the part of the curve in between. If a run to sigma = 0 starts below 2 l_M, l_M is lowered
to half its first level.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from difftool.errors.validation import check_choice
from difftool.grids.base import Grid, fractions, level_at_start
from difftool.schedules.base import Schedule
from difftool.schedules.table import ScaledLinear

# entries of the table of latent diffusion (scaled-linear), top to bottom
AYS_ENTRIES = {
    "sd15": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0),
}
AYS_LEVELS = {
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
}

# the levels chosen for 2 .. 20 steps at coefficient 1.20, in percent from entry 0 to 999
GITS_PLACES = (
    (100, 29, 0),
    (100, 49, 18, 0),
    (100, 61, 33, 11, 0),
    (100, 66, 42, 21, 6, 0),
    (100, 83, 57, 34, 15, 3, 0),
    (100, 83, 62, 42, 23, 8, 1, 0),
    (100, 83, 62, 45, 29, 15, 6, 1, 0),
    (100, 83, 66, 50, 34, 21, 11, 4, 1, 0),
    (100, 83, 66, 51, 38, 27, 17, 9, 4, 1, 0),
    (100, 83, 67, 54, 42, 30, 21, 13, 7, 3, 1, 0),
    (100, 83, 68, 56, 45, 34, 25, 17, 11, 6, 3, 1, 0),
    (100, 86, 71, 61, 49, 38, 29, 21, 15, 10, 6, 3, 1, 0),
    (100, 86, 71, 62, 50, 40, 31, 23, 17, 12, 8, 5, 3, 1, 0),
    (100, 88, 78, 68, 58, 48, 38, 30, 23, 17, 12, 8, 5, 3, 1, 0),
    (100, 88, 78, 68, 58, 48, 38, 30, 23, 17, 13, 9, 6, 4, 2, 1, 0),
    (100, 88, 78, 68, 58, 48, 38, 30, 23, 17, 13, 10, 7, 5, 3, 2, 1, 0),
    (100, 88, 78, 68, 59, 50, 41, 33, 26, 20, 15, 11, 8, 6, 4, 3, 2, 1, 0),
    (100, 88, 78, 68, 59, 50, 42, 34, 27, 21, 16, 12, 9, 7, 5, 4, 3, 2, 1, 0),
    (100, 88, 78, 68, 59, 50, 42, 34, 27, 21, 17, 13, 10, 8, 6, 5, 4, 3, 2, 1, 0),
)


@dataclass(frozen=True)
class PublishedGrid(Grid):
    """A grid along a table of noise levels (see the module); a subclass implements `table`."""

    refines = False

    @property
    def needs_level(self) -> bool:
        return True

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        high, low = level_at_start(self, schedule, start), schedule.level(end)
        curve = self.table(steps)
        curve[0] = max(curve[0], math.log(high))
        curve[-1] = min(curve[-1], math.log(low if low > 0 else high / 2))
        first, last = place_of(curve, math.log(high)), len(curve) - 1.0
        if low > 0:
            last = place_of(curve, math.log(low))
        levels = [math.exp(along(curve, first + (last - first) * u)) for u in fractions(steps)]
        return [schedule.t_at_level(level) for level in levels]

    @abstractmethod
    def table(self, steps: int) -> list[float]:
        """The logarithms of at least two decreasing noise levels."""


@dataclass(frozen=True)
class AYS(PublishedGrid):
    """Ten-step noise levels optimized for SD 1.5, SDXL or Stable Video Diffusion.

    They apply to any schedule, and other numbers of steps interpolate log-linearly. Published
    as timesteps 999, 850, ... of the table of latent diffusion for the first two, and as noise
    levels 700 .. 0.002 for the third. The last of the eleven is the lower end for
    interpolation, and is replaced by 0 in a run. See the module for other ranges of noise
    levels.

    Option: `model`, sd15, sdxl or svd. Raises `DifftoolError` for others.
    """

    model: Literal["sd15", "sdxl", "svd"] = "sd15"

    name = "ays"
    reference = (
        "Sabour et al. 2024, Align your steps: optimizing sampling schedules in "
        "diffusion models, arXiv 2404.14507"
    )

    def __post_init__(self) -> None:
        check_choice("ays takes model", self.model, (*AYS_ENTRIES, *AYS_LEVELS))

    def table(self, steps: int) -> list[float]:
        if self.model in AYS_LEVELS:
            return [math.log(level) for level in AYS_LEVELS[self.model]]
        return [_latent()[i] for i in AYS_ENTRIES[self.model]]


@dataclass(frozen=True)
class GITS(PublishedGrid):
    """Noise levels fitted to the trajectories of Stable Diffusion 1.5, per number of steps.

    Published for 2 .. 20 steps, at coefficient 1.20 of the dynamic programming in the
    reference, over 101 candidates equally spaced in the timesteps of latent diffusion; more
    steps interpolate log-linearly between those for 20. See the module for other ranges of
    noise levels.
    """

    name = "gits"
    reference = (
        "Chen et al. 2024, On the trajectory regularity of ODE-based diffusion sampling, arXiv 2405.11326; "
        "the levels as in ComfyUI's GITS node"
    )

    def table(self, steps: int) -> list[float]:
        places = GITS_PLACES[min(max(steps, 2), 20) - 2]
        return [along(_latent(), k * 999 / 100) for k in places]


@cache
def _latent() -> tuple[float, ...]:
    """log(sigma / alpha) of the 1000 entries of latent diffusion."""
    return ScaledLinear().log_levels


def along(curve: Sequence[float], place: float) -> float:
    """The value of a polyline at a fractional index."""
    i = min(int(place), len(curve) - 2)
    return curve[i] + (place - i) * (curve[i + 1] - curve[i])


def place_of(curve: Sequence[float], value: float) -> float:
    """The fractional index at which a decreasing polyline takes a value."""
    i = next(i for i in range(len(curve) - 1) if curve[i + 1] <= value)
    return i + (curve[i] - value) / (curve[i] - curve[i + 1])
