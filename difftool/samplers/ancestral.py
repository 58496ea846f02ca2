"""Ancestral sampling: a deterministic step below the next noise level, then noise up to it.

With l_a and l_b the noise levels of this point and the next, r = l_b / l_a, and eta the share
of fresh noise,

    down = level    l_down = l_b sqrt(1 - eta^2 (1 - r^2)),    l_up^2 = l_b^2 - l_down^2    k-diffusion
    down = flow     s_down = s_b (1 - eta (1 - s_b / s_a)),    s = l / (1 + l)              ComfyUI, for flow models
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from difftool.samplers.base import Sampler
from difftool.samplers.ddim import DDIM
from difftool.samplers.karras import DPM2
from difftool.samplers.options import check_choice, check_number
from difftool.samplers.runge_kutta import Euler
from difftool.samplers.singlestep import Singlestep
from difftool.samplers.wrapper import Wrapper, time_at
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class Ancestral(Wrapper):
    """Ancestral sampling: step below the next noise level with any solver, then add noise.

    x_down = solver(x_a, from l_a to l_down),   x_b = alpha_b (x_down / alpha_down + s_noise sqrt(l_b^2 - l_down^2) z)

    Evaluations per step: the solver's. The weak order is the solver's order. Options:

    eta: the share of fresh noise (0 <= eta <= 1); 0 is the solver itself, 1 adds as much noise
        as ddpm with the small variance.
    s_noise: noise multiplier (> 0); only 1 samples the right distribution.
    down: how l_down follows from eta: `level`, l_b sqrt(1 - eta^2 (1 - (l_b / l_a)^2)), or
        `flow`, by the flow time s = l / (1 + l), s_b (1 - eta (1 - s_b / s_a)).
    solver: any single-step sampler; with euler this is `euler-a`.

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0
    down: Literal["level", "flow"] = "level"
    solver: Sampler = field(default_factory=Euler)

    name = "ancestral"
    option = "eta"
    own_interval = True
    reference = "Crowson 2022, k-diffusion (get_ancestral_step); with euler: Song et al. 2020, arXiv 2010.02502"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "eta", self.eta, 0.0, 1.0)
        check_choice(self.name, "down", self.down, Literal["level", "flow"])

    @property
    def own_noise(self) -> bool:
        return self.eta > 0

    def ways(self, path: Path) -> Iterator[Path]:
        for now, nxt in pairwise(path):
            yield Path(path.schedule, (now.t, time_at(self.lower(now, nxt), path)))

    def lower(self, now: Point, nxt: Point) -> float:
        """The noise level l_down at the end of the deterministic step."""
        if self.down == "level":
            ratio = nxt.level / now.level  # 0 from pure noise
            return float(nxt.level * math.sqrt(1 - self.eta**2 * (1 - ratio * ratio)))
        s = nxt.flow * (1 - self.eta * (1 - nxt.flow / now.flow))
        return float(s / (1 - s))


def euler_a(eta: float = 1.0) -> DDIM:
    """Euler ancestral: identical to `ddim` with the same eta.

    Option: `eta`, the share of fresh noise (0 <= eta <= 1). Source: Crowson 2022, k-diffusion;
    Song et al. 2020, arXiv 2010.02502.
    """
    return DDIM(eta)


def dpm_2_a(eta: float = 1.0, s_noise: float = 1.0) -> Ancestral:
    """DPM-2 ancestral: `ancestral` with the solver `dpm-2`, two evaluations per step.

    Options as in `ancestral`. Source: Crowson 2022, k-diffusion.
    """
    return Ancestral(eta, s_noise, solver=DPM2())


def dpmpp_2s_a(
    eta: float = 1.0, s_noise: float = 1.0, down: Literal["level", "flow"] = "level"
) -> Ancestral:
    """DPM-Solver++(2S) ancestral: `ancestral` with `dpmpp-2s`, two evaluations per step.

    Options as in `ancestral`. Source: Crowson 2022, k-diffusion; Lu et al. 2022, arXiv
    2211.01095, for the solver.
    """
    return Ancestral(eta, s_noise, down, Singlestep(2, "x0"))
