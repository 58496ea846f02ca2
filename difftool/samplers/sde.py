"""Discretised reverse-time SDEs: dx = (f x - g^2 score) dt + g dW, run from noise to data.

The score is -(x - alpha x0) / sigma^2. Both methods need the drift, hence alpha > 0 at the start, and by default end
with the mean E[x_0 | x] (their own step into sigma = 0 is not exact).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of, refuse_upwards
from difftool.schedules.path import Path


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """Euler-Maruyama on the reverse SDE, in t.

    x_s = x_t + (f x_t + (g^2 / sigma) eps) (s - t) + g sqrt(t - s) z,   eps = (x_t - alpha x0) / sigma.

    One evaluation per step; no noise in a step into sigma = 0. Raises `DifftoolError` for grids that run upwards.
    """

    weak_order = 1
    last = "mean"
    point_mass = False
    reference = "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456"

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        refuse_upwards(self, path)
        for now, nxt in pairwise(path):
            eps = eps_of(x, model(x, now), now)
            g2 = path.diffusion2(now)
            dt = nxt.t - now.t
            x = x + dt * (path.drift(now) * x + g2 / now.sigma * eps)
            if nxt.sigma > 0:
                x = x + math.sqrt(g2 * -dt) * noise(now, nxt)
        return x
