"""Gradient estimation: Euler steps with eps extrapolated from the previous step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from difftool.samplers.base import (
    Denoiser,
    NoiseSource,
    Sampler,
    State,
    eps_of,
    free_evaluations,
)
from difftool.samplers.options import check_number
from difftool.schedules.path import Path


@dataclass(frozen=True)
class GradientEstimation(Sampler):
    """Gradient estimation: DDIM with eps extrapolated from its two newest estimates.

    x_{i+1} = alpha_{i+1} (x_i / alpha_i + (l_{i+1} - l_i) e_i),   e_i = gamma eps_i + (1 - gamma) eps_{i-1},

    with the noise level l = sigma / alpha, eps = (x - alpha x0) / sigma, and e_0 = eps_0. One
    evaluation per step. The weights do not depend on the steps, so that its order is 1 (with
    gamma = 3/2, order 2 over a run whose steps change little from one to the next, as in
    Adams-Bashforth). Option: `gamma`, the weight of the newest eps (>= 0; 1 is DDIM, 2 the
    paper's choice). Its last step into sigma = 0 is like the others; in ComfyUI it is the mean
    E[x_0 | x] (a run's `last=mean`). Raises `DifftoolError` for other values.
    """

    gamma: float = 2.0

    name = "gradient-estimation"
    accuracy = 1
    reference = (
        "Permenter & Yuan 2023, Interpreting and improving diffusion models, arXiv 2306.04848"
    )

    def __post_init__(self) -> None:
        check_number("gradient-estimation", "gamma", self.gamma, 0.0)

    @property
    def global_order(self) -> float:
        if self.gamma == 1.5:
            return 2
        return 1

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        old: State | None = None
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            eps = eps_of(x, x0, now)
            x = nxt.alpha * x0 + nxt.sigma * eps  # the Euler step, defined at alpha = 0 as well
            if old is not None:
                x = x + nxt.alpha * (nxt.level - now.level) * (self.gamma - 1) * (eps - old)
            if now.sigma > 0:
                old = eps
        return x

    def nfe(self, path: Path) -> int:
        return len(path) - 1 - free_evaluations(path)
