"""flow-sde: second-order exponential Adams on x0 with noise that fades toward the data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from difftool.grids import FlowGrid, Grid
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State
from difftool.samplers.currencies import X0
from difftool.samplers.interpolate import History, add_noise, advance
from difftool.samplers.options import check_number
from difftool.samplers.variables import FLOW_TIME
from difftool.schedules.path import Path


@dataclass(frozen=True)
class FlowSDE(Sampler):
    """Second-order stochastic exponential Adams on x0; its noise fades toward the data.

    x_b = sigma_b / sigma_a (l_b / l_a)^(k-1) x_a + alpha_b int_b^a x0(s) k (l_b / l)^k dl / l
          + sigma_b sqrt(1 - (l_b / l_a)^(2 (k-1))) z,        k = 1 + tau^2 s_a,

    with l = sigma / alpha, s = sigma / (alpha + sigma) and x0(s) the line through the two
    newest answers. The first step holds x0 constant; the last one, into sigma = 0, draws no
    noise. One evaluation per step. Its default grid is flow with b = 2. Option: `tau` (0 to
    1000), the noise: 1 is that of the reverse SDE at the start, 0 none. Raises `DifftoolError`
    for other values, and for upward grids if there is noise.
    """

    tau: float = 1.0

    name = "flow-sde"
    accuracy = 2
    weak_order = 2
    grid: ClassVar[Grid | None] = FlowGrid(b=2.0)
    noise_option = "tau"
    reference = (
        "this project; exponential Adams: Lu et al. 2022, arXiv 2211.01095; tau: Xue et "
        "al. 2023, arXiv 2309.05019"
    )

    def __post_init__(self) -> None:
        check_number("flow-sde", "tau", self.tau, 0.0, 1000.0)

    @property
    def stochastic(self) -> bool:
        return self.tau > 0

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        known: History = []
        for now, nxt in pairwise(path):
            known = [(now, model(x, now)), *known][:2]
            tau2 = self.tau**2 * now.flow
            x = advance(x, now, nxt, known, path, X0, FLOW_TIME, 1 + tau2)
            x = add_noise(x, now, nxt, tau2, noise)
        return x
