"""Implicit sampling: keep the predicted noise, and replace a part of it with fresh noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of
from difftool.samplers.options import check_number
from difftool.schedules.path import Path


@dataclass(frozen=True)
class DDIM(Sampler):
    """Denoising diffusion implicit models (DDIM), on any grid; with eta = 0 it also encodes.

    x_s = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std z,   std = eta sigma_s sqrt(1 - r^2),

    with eps = (x_t - alpha_t x0) / sigma_t and r the ratio of the noise level at the next point
    s to that at this point t. One evaluation per step. eta = 0 is Euler's method in the noise
    level, eta = 1 is DDPM with the small variance.

    Option: `eta`, the share of fresh noise (0 <= eta <= 1). Raises `DifftoolError` for eta
    outside [0, 1], and for eta > 0 on an upward grid.
    """

    eta: float = 0.0

    name = "ddim"
    accuracy = 1
    weak_order = 1
    noise_option = "eta"
    reference = (
        "Song et al. 2020, Denoising diffusion implicit models, arXiv 2010.02502, eq. 12"
    )

    def __post_init__(self) -> None:
        check_number("ddim", "eta", self.eta, 0.0, 1.0)

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            eps = eps_of(x, x0, now)
            std = 0.0
            if self.stochastic:
                r = nxt.sigma * now.alpha / (now.sigma * nxt.alpha)
                std = self.eta * nxt.sigma * math.sqrt(1 - r * r)
            x = nxt.alpha * x0 + math.sqrt(nxt.sigma**2 - std**2) * eps
            if std > 0:
                x = x + std * noise(now, nxt)
        return x
