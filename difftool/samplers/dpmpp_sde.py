"""DPM-Solver++(SDE), singlestep: DPM-Solver++(2S) with ancestral noise in both stages.

This is k-diffusion's form. A step from a to b has r = l_b / l_a, the ratio of the noise levels,
and g = sqrt(1 - eta^2 (1 - r^2)):

    x_b = alpha_b g r / alpha_a x_a + alpha_b (1 - g r) x0 + sigma_b sqrt(1 - g^2) z
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.noised import NoisedSDE, staged_nfe, stages
from difftool.samplers.options import check_choice, check_number
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class DPMppSDE(NoisedSDE):
    """DPM-Solver++ for the SDE, singlestep: a stage at fraction r, then the whole step.

    x_m = A_m x_a + c_m x0_a + std_m z_m,   x_b = A_b x_a + c_b ((1 - 1/(2 r)) x0_a + 1/(2 r) x0_m) + std_b z_b

    (see the module). Two evaluations per step, one in a step into sigma = 0 or from alpha = 0.
    Order 2 without noise, where it is DPM-Solver++(2S); with eta = 1 and shared noise it is
    `seeds-2`. Options:

    eta: the share of fresh noise (0 <= eta <= 1).
    s_noise: noise multiplier (> 0); only 1 samples the right distribution.
    r: the position of the stage, as a fraction of the step in half-log-SNR (0.01 <= r <= 1).
    noise: `shared`, z_b continues z_m like one Brownian path: weak order 2 (measured 1.99);
        `independent`, as published and run with plain noise: z_b covers the whole step,
        independent of z_m (unless the run's noise is path noise): weak order 1 (measured 0.98).

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0
    r: float = 0.5
    noise: Literal["shared", "independent"] = "shared"

    name = "dpmpp-sde"
    accuracy = 2
    evaluations = 2
    most_eta = 1.0
    reference = (
        "Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, section 6; Crowson 2022, "
        "k-diffusion (sample_dpmpp_sde)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "r", self.r, 0.01, 1.0)
        check_choice(self.name, "noise", self.noise, Literal["shared", "independent"])

    @property
    def order_of_law(self) -> float:
        if self.noise == "shared":
            return 2
        return 1

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            d = model(x, now)
            gain, c, std = self._step(now, nxt)
            mid, z = nxt, None
            for mid in stages(now, nxt, path, (self.r,)):
                gain_m, c_m, std_m = self._step(now, mid)
                u = gain_m * x + c_m * d
                if std_m > 0:
                    z = std_m * noise(now, mid)
                    u = u + self.s_noise * z
                d = d + 1 / (2 * self.r) * (model(u, mid) - d)
            x = gain * x + c * d
            if std > 0:
                x = x + self.s_noise * self._noise(z, std, now, mid, nxt, noise)
        return x

    def _noise(
        self,
        z: State | None,
        std: float,
        now: Point,
        mid: Point,
        nxt: Point,
        noise: NoiseSource,
    ) -> State:
        """The noise of the whole step, given that of its stage, z."""
        if z is None or self.noise == "independent":
            return std * noise(now, nxt)
        carried, _, _ = self._step(mid, nxt)
        of_stage = carried * self._step(now, mid)[2]
        rest = math.sqrt(max((std - of_stage) * (std + of_stage), 0.0))
        if mid != nxt:
            return carried * z + rest * noise(mid, nxt)
        return carried * z

    def _step(self, now: Point, nxt: Point) -> tuple[float, float, float]:
        """A, the weight of x0, and the standard deviation of the noise of a step."""
        if now.sigma == 0:  # upwards from clean data
            return nxt.alpha / now.alpha, 0.0, 0.0
        r = nxt.sigma * now.alpha / (now.sigma * nxt.alpha)
        g = math.sqrt(1 - self.eta**2 * (1 - r * r))
        return (
            g * nxt.sigma / now.sigma,
            nxt.alpha * (1 - g * r),
            nxt.sigma * math.sqrt(max(1 - g * g, 0.0)),
        )

    def nfe(self, path: Path) -> int:
        return staged_nfe(path, (self.r,))
