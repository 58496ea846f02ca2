"""Samplers for distilled models, which return a sample in place of a mean.

They estimate x0, add noise up to the next level, and repeat:

    x_b = alpha_b x0(x_a) + (noise of the level of b)

With a consistency model, x0(x_a) is the end of the probability flow from x_a, so that every x_b
has the right distribution. The exact model E[x_0 | x_a] of the same data gives samples that are
too narrow, whatever the number of steps: with it these samplers do not converge to the data,
and their weak order is 0. Use them for few steps of distilled networks. Sources: Song et al.
2023 (arXiv 2303.01469); Luo et al. 2023 (2310.04378); Zheng et al. 2024 (2402.19159).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of
from difftool.samplers.options import check_number
from difftool.schedules.path import Path


@dataclass(frozen=True)
class Consistency(Sampler):
    """Multistep consistency sampling: estimate x0, add noise up to the next level, repeat.

    x_b = alpha_b (x0 + sqrt(l_b^2 - epsilon^2) z), l = sigma / alpha, with x0 the answer at
    x_a; no noise in the last step into sigma = 0. One evaluation per step. For distilled
    (consistency) models; with others the weak order is 0. Option: `epsilon`, the noise level of
    the model's answers (>= 0): 0.002 as trained by Song et al., 0 for clean data. Raises
    `DifftoolError` for other values and for upward grids.
    """

    epsilon: float = 0.002

    name = "consistency"
    weak_order = 0
    reference = "Song et al. 2023, Consistency models, arXiv 2303.01469, algorithm 1"

    def __post_init__(self) -> None:
        check_number("consistency", "epsilon", self.epsilon, 0.0)

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def point_mass(self) -> bool:
        return self.epsilon == 0  # the exact answer for a single point has no noise

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            x = nxt.alpha * model(x, now)
            variance = nxt.sigma**2 - (nxt.alpha * self.epsilon) ** 2
            if variance > 0:
                x = x + math.sqrt(variance) * noise(now, nxt)
        return x


def lcm() -> Consistency:
    """Latent consistency model (LCM) sampling: `consistency` with epsilon = 0.

    x_b = alpha_b x0 + sigma_b z, with x0 the answer at x_a; no noise in the last step into
    sigma = 0. One evaluation per step. For distilled models; with others the weak order is 0.
    Source: Luo et al. 2023, Latent consistency models, arXiv 2310.04378.
    """
    return Consistency(epsilon=0.0)


@dataclass(frozen=True)
class TCD(Sampler):
    """Trajectory consistency distillation: DDIM past the next noise level, then noise up to it.

    x_s = alpha_s x0 + sigma_s eps,   x_b = alpha_b / alpha_s x_s + sqrt(sigma_b^2 - (alpha_b / alpha_s)^2 sigma_s^2) z,

    with s = (1 - gamma) b in schedule time (counted from its lower end). One evaluation per
    step. gamma = 0 is DDIM, gamma = 1 is `lcm`. For distilled models; with others the weak
    order is 0, because the share of fresh noise does not shrink with the step. Option: `gamma`,
    that share (0 <= gamma <= 1; diffusers calls it eta). Raises `DifftoolError` for other
    values, and for gamma > 0 on an upward grid.
    """

    gamma: float = 0.3

    name = "tcd"
    accuracy = 1
    weak_order = 0
    noise_option = "gamma"
    reference = "Zheng et al. 2024, Trajectory consistency distillation, arXiv 2402.19159"

    def __post_init__(self) -> None:
        check_number("tcd", "gamma", self.gamma, 0.0, 1.0)

    @property
    def stochastic(self) -> bool:
        return self.gamma > 0

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        low = path.schedule.domain[0]
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            s = nxt
            if self.stochastic:
                s = path.at(low + (1 - self.gamma) * (nxt.t - low))
            ratio = nxt.alpha / s.alpha
            x = ratio * (s.alpha * x0 + s.sigma * eps_of(x, x0, now))
            variance = nxt.sigma**2 - (ratio * s.sigma) ** 2
            if self.stochastic and variance > 0:
                x = x + math.sqrt(variance) * noise(now, nxt)
        return x
