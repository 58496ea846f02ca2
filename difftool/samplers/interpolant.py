"""Stochastic interpolants: flow velocity and score, with any diffusion, in the flow time.

In s = sigma / (alpha + sigma) and y = x / (alpha + sigma) = (1 - s) x_0 + s eps, all SDEs

    dy = (v - e(s) score) ds + sqrt(2 e(s)) dW    (backwards in s),    v = eps - x0,   score = -eps / s

have the same marginal distributions, whatever the diffusion e(s) >= 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.samplers.base import (
    Denoiser,
    NoiseSource,
    Sampler,
    State,
    eps_of,
    free_evaluations,
)
from difftool.samplers.options import check_choice, check_number
from difftool.schedules.path import Path

Form = Literal["linear", "constant", "bump", "reverse-sde"]


@dataclass(frozen=True)
class Interpolant(Sampler):
    """The SDE of stochastic interpolants in the flow time, by the Euler-Maruyama method.

    y_b = y_a + (s_b - s_a) (eps - x0 + (e / s_a) eps) + sqrt(2 e (s_a - s_b)) z,   y = x / (alpha + sigma),

    with s = sigma / (alpha + sigma) and the diffusion e = e(s_a). One evaluation per step; a
    step into s = 0 has no diffusion, x = alpha x0. Weak order 1; order 1 without noise.
    Options:

    diffusion: the amount of noise (>= 0); 0 is Euler's method in the flow time.
    form: e(s) = diffusion times s (`linear`, the default: regular at both ends),
        1 (`constant`), sin(pi s)^2 (`bump`), or s / (1 - s) (`reverse-sde`: with diffusion = 1
        Euler-Maruyama on the flow schedule; infinite at alpha = 0).

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    diffusion: float = 1.0
    form: Form = "linear"

    name = "interpolant"
    accuracy = 1
    noise_option = "diffusion"
    reference = (
        "Albergo et al. 2023, Stochastic interpolants, arXiv 2303.08797; forms: Ma et "
        "al. 2024, SiT, arXiv 2401.08740"
    )

    def __post_init__(self) -> None:
        check_number("interpolant", "diffusion", self.diffusion, 0.0)
        check_choice("interpolant", "form", self.form, Form)

    @property
    def stochastic(self) -> bool:
        return self.diffusion > 0

    @property
    def weak_order(self) -> float | None:
        if self.stochastic:
            return 1
        return None

    @property
    def point_mass(self) -> bool:
        return not self.stochastic  # the Euler-Maruyama step is not exact there

    @property
    def divides_by_alpha(self) -> bool:
        return self.form == "reverse-sde" and self.stochastic

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            eps = eps_of(x, x0, now)
            a, b = now.alpha + now.sigma, nxt.alpha + nxt.sigma
            ds = nxt.flow - now.flow
            y = x / a + ds * (eps - x0)
            if self.stochastic and nxt.sigma > 0:
                e = self.diffusion * self._at(now.flow)
                y = y + ds * e / now.flow * eps + math.sqrt(-2 * e * ds) * noise(now, nxt)
            x = b * y
        return x

    def _at(self, s: float) -> float:
        """e(s) for diffusion = 1."""
        if self.form == "bump":
            return math.sin(math.pi * s) ** 2
        return {
            "linear": lambda: s,
            "constant": lambda: 1.0,
            "reverse-sde": lambda: s / (1 - s),
        }[self.form]()

    def nfe(self, path: Path) -> int:
        return len(path) - 1 - free_evaluations(path)
