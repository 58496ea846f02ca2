"""Discretized reverse-time SDEs: dx = (f x - g^2 score) dt + g dW, run from noise to data.

The score is -(x - alpha x0) / sigma^2. By default both methods end with the mean E[x_0 | x]
(their own step into sigma = 0 is not exact). Euler-Maruyama needs the drift, hence alpha > 0 at
the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of
from difftool.schedules.path import Path


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """The Euler-Maruyama method on the reverse SDE, in the schedule's time t.

    x_s = x_t + (f x_t + (g^2 / sigma) eps) (s - t) + g sqrt(t - s) z,   eps = (x_t - alpha x0) / sigma.

    One evaluation per step; no noise in a step into sigma = 0. Raises `DifftoolError` for
    upward grids.
    """

    name = "em"
    weak_order = 1
    last = "mean"
    point_mass = False
    reference = (
        "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456"
    )

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            eps = eps_of(x, model(x, now), now)
            g2 = path.diffusion2(now)
            dt = nxt.t - now.t
            x = x + dt * (path.drift(now) * x + g2 / now.sigma * eps)
            if nxt.sigma > 0:
                x = x + math.sqrt(g2 * -dt) * noise(now, nxt)
        return x


@dataclass(frozen=True)
class ReverseDiffusion(Sampler):
    """Reverse diffusion: the reverse SDE, discretized like the forward chain.

    x_s = x_t - f + G^2 score + G z = (2 - alpha_t / alpha_s) x_t - (G^2 / sigma_t) eps + G z,

    with the step of the forward chain from s to t, x_t = x_s + f + G z:
    f = (alpha_t / alpha_s - 1) x and G^2 = sigma_t^2 - (alpha_t sigma_s / alpha_s)^2. On a
    table of betas f = (sqrt(1 - beta) - 1) x and G^2 = beta; on a variance-exploding schedule
    f = 0 and G^2 = sigma_t^2 - sigma_s^2. One evaluation per step; no noise in a step into
    sigma = 0. Weak order 1. Raises `DifftoolError` for upward grids.
    """

    name = "reverse-diffusion"
    weak_order = 1
    last = "mean"
    point_mass = False  # the score's step is not exact
    reference = "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456, eq. 46, appendix E"

    @property
    def stochastic(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            eps = eps_of(x, model(x, now), now)
            a = now.alpha / nxt.alpha
            g2 = now.sigma**2 - (a * nxt.sigma) ** 2
            x = (2 - a) * x - g2 / now.sigma * eps
            if nxt.sigma > 0:
                x = x + math.sqrt(g2) * noise(now, nxt)
        return x
