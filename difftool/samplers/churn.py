"""Churn: fresh noise raises the noise level a little before every step of a solver."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from difftool.samplers.base import Sampler
from difftool.samplers.options import check_number
from difftool.samplers.runge_kutta import Heun
from difftool.samplers.wrapper import Wrapper, time_at
from difftool.schedules.path import Path

MOST = math.sqrt(2) - 1  # the largest gamma: it doubles the variance of the noise


@dataclass(frozen=True)
class Churn(Wrapper):
    """EDM's stochastic sampler: fresh noise raises the level a little before each solver step.

    l_hat = l_i (1 + gamma),   x_hat = alpha_hat (x_i / alpha_i + s_noise sqrt(l_hat^2 - l_i^2) z),
    x_{i+1} = solver(x_hat, from l_hat to l_{i+1}),   gamma = min(churn / N, sqrt(2) - 1) for s_min <= l_i <= s_max

    and gamma = 0 for other levels, in N steps, with the noise level l = sigma / alpha; l_hat
    never exceeds the level at which the run starts. Evaluations per step: the solver's. The
    weak order is the solver's order. Options, with EDM's values for ImageNet in brackets:

    churn: S_churn (>= 0), [40]; 0 is the solver itself.
    s_min, s_max: noise is added only between these noise levels (0 <= s_min <= s_max), [0.05,
        50]; default: at all levels.
    s_noise: noise multiplier (> 0), [1.003]; only 1 samples the right distribution.
    solver: any single-step sampler, [heun in the level].

    Raises `DifftoolError` for other values, and for upward grids if there is churn.
    """

    churn: float = 40.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    solver: Sampler = field(default_factory=lambda: Heun(variable="level"))

    name = option = "churn"
    reference = "Karras et al. 2022, Elucidating the design space of diffusion models, arXiv 2206.00364, algorithm 2"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "churn", self.churn, 0.0)
        check_number(self.name, "s_min", self.s_min, 0.0)
        check_number(self.name, "s_max", self.s_max, self.s_min, infinite=True)

    @property
    def own_noise(self) -> bool:
        return self.churn > 0

    def ways(self, path: Path) -> Iterator[Path]:
        gamma = min(self.churn / (len(path) - 1), MOST)
        for now, nxt in pairwise(path):
            t = now.t
            if self.s_min <= now.level <= self.s_max:
                t = min(max(t, time_at(now.level * (1 + gamma), path)), path[0].t)
            yield Path(path.schedule, (t, nxt.t))
