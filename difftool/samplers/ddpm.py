"""Ancestral sampling: draw the next state from its Gaussian posterior given this state and x0.

With r = (sigma_s alpha_t) / (sigma_t alpha_s), the ratio of the noise level at the next point s
to that at this point t,

    q(x_s | x_t, x0) = N( alpha_s (1 - r^2) x0 + (sigma_s / sigma_t) r x_t,  sigma_s^2 (1 - r^2) ),

which is defined at alpha_t = 0 as well. The step into sigma = 0 draws no noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State
from difftool.samplers.options import check_choice, check_number
from difftool.schedules.path import Path

Variance = Literal["small", "large", "between", "learned"]


@dataclass(frozen=True)
class DDPM(Sampler):
    """Denoising diffusion probabilistic models (DDPM): ancestral sampling, on any grid.

    x_s = alpha_s (1 - r^2) x0 + (sigma_s / sigma_t) r x_t + std z, one evaluation per step.
    Options:

    variance: `small`, std^2 = sigma_s^2 (1 - r^2), exact for data at a single point; `large`,
        std^2 = sigma_t^2 (1 - r^2), exact for unit normal data on a variance-preserving
        schedule; `between`, see `v`; `learned`, with v per element from a network trained to
        predict it. The learned variance runs as the plain loop, without a plan.
    v: the position between the two, std^2 = large^v small^(1 - v) (only with `between`;
        0 <= v <= 1, none: 1/2).

    Raises `DifftoolError` for an unknown variance, for v outside [0, 1] or without `between`,
    and for upward grids.
    """

    variance: Variance = "small"
    v: float | None = None

    name = "ddpm"
    reference = (
        "Ho et al. 2020, arXiv 2006.11239; between and learned: Nichol & Dhariwal 2021, "
        "arXiv 2102.09672, eq. 15"
    )

    def __post_init__(self) -> None:
        check_choice("ddpm", "variance", self.variance, Variance)
        if self.v is not None:
            check_number("ddpm", "v", self.v, 0.0, 1.0)
            if self.variance != "between":
                raise DifftoolError(
                    f"ddpm takes v only with variance between; leave it out with variance {self.variance}"
                )

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def point_mass(self) -> bool:
        return self.variance == "small"

    @property
    def weak_order(self) -> float | None:
        if self.variance == "learned":
            return None
        return 1

    @property
    def _fixed(self) -> float | None:
        """The position of the variance between its bounds; None if it is learned."""
        if self.variance == "between" and self.v is not None:
            return self.v
        return {"small": 0.0, "large": 1.0, "between": 0.5}.get(self.variance)

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            if self.variance == "learned" and nxt.sigma > 0:
                x0, v = model(x, now, answers=("x0", "variance"))
            else:
                x0, v = model(x, now), self._fixed
            r = nxt.sigma * now.alpha / (now.sigma * nxt.alpha)
            x = nxt.alpha * (1 - r * r) * x0 + nxt.sigma / now.sigma * r * x
            if nxt.sigma > 0:
                small, large = (p.sigma**2 * (1 - r * r) for p in (nxt, now))
                x = x + _std(small, large, v) * noise(now, nxt)
        return x


def _std(small: float, large: float, v: Any) -> Any:
    """sqrt(large^v small^(1 - v)), for one number v or one per element."""
    if isinstance(v, float):
        return math.sqrt(large**v * small ** (1 - v))
    return (0.5 * math.log(small) + v * (0.5 * math.log(large / small))).exp()
