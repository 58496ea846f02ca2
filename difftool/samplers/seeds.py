"""SEEDS: stochastic exponential Runge-Kutta methods on x0, with all stages inside one step.

The reverse SDE with noise eta between a and b, h = half_log_snr_b - half_log_snr_a,
k = 1 + eta, is exactly

    x_b = sigma_b / sigma_a e^(-eta h) x_a + alpha_b int x0 k e^(-k (half_log_snr_b - .))
          + sigma_b sqrt(1 - e^(-2 eta h)) z

and every stage is such a step from a, with x0 constant or on the line through two answers. Its
noise is that of the previous stage, carried forward, plus fresh noise for the rest: all stages
of a step share one Brownian path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.currencies import X0
from difftool.samplers.interpolate import (
    History,
    combine,
    midpoint_inside,
    nodes_of,
    noise_std,
    weights,
)
from difftool.samplers.noised import NoisedSDE, staged_nfe, stages
from difftool.samplers.options import check_choice, check_number
from difftool.samplers.variables import HALF_LOG_SNR
from difftool.schedules.base import Point
from difftool.schedules.path import Path


class _Seeds(NoisedSDE):
    """The loop that the three methods share."""

    order: ClassVar[int] = 1
    reference = "Gonzalez et al. 2023, SEEDS, arXiv 2305.14267"

    @property
    def parts(self) -> tuple[float, ...]:
        """The positions of the stages, as fractions of the step in half-log-SNR."""
        return ()

    @property
    def middle(self) -> float | None:
        """The position of the stage in the final midpoint rule; None: exact integration."""
        return None

    @property
    def accuracy(self) -> float:
        return self.order

    @property
    def order_of_law(self) -> float:
        return min(self.order, 2)

    @property
    def evaluations(self) -> int:
        return self.order

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            y, p, z = x, now, None  # the newest stage, its point, and its noise since now
            known: History = []  # the answers at that stage and at now
            for q in [*stages(now, nxt, path, self.parts), nxt]:
                known = [(p, model(y, p)), *known[-1:]]
                y = self._advance(x, now, q, known, path, last=q is nxt)
                z = self._noise(z, p, q, noise)
                if z is not None:
                    y = y + self.s_noise * z
                p = q
            x = y
        return x

    def _advance(
        self, x: State, now: Point, q: Point, known: History, path: Path, last: bool
    ) -> State:
        """The state at q from x at now by the known answers, without noise."""
        gain, w = weights(now, q, nodes_of(known), path, X0, HALF_LOG_SNR, 1 + self.eta)
        if last and self.middle is not None and len(known) == 2:
            w = midpoint_inside(sum(w), self.middle)
        return combine(gain, x, w, known)

    def _noise(self, z: State | None, p: Point, q: Point, noise: NoiseSource) -> State | None:
        """The step's noise at q: what is left of z, its noise at p, and fresh noise."""
        if z is not None:
            z = (q.sigma / p.sigma) * (q.level / p.level) ** self.eta * z
        if p == q:
            return z
        std = noise_std(p, q, self.eta)
        if std == 0:
            return z
        fresh = std * noise(p, q)
        if z is None:
            return fresh
        return z + fresh

    def nfe(self, path: Path) -> int:
        return staged_nfe(path, self.parts)


@dataclass(frozen=True)
class Seeds1(_Seeds):
    """SEEDS-1: the exact solution of the reverse SDE with x0 held constant over each step.

    x_b = sigma_b / sigma_a e^(-eta h) x_a + alpha_b (1 - e^(-(1+eta) h)) x0 + sigma_b sqrt(1 - e^(-2 eta h)) z

    The same as SDE-DPM-Solver++(1); with eta = 1, DDPM with the small variance; with eta = 0,
    DDIM. One evaluation per step, order and weak order 1. Options:

    eta: the noise (>= 0; 1 is the reverse SDE, 0 the ODE).
    s_noise: noise multiplier (> 0); only 1 samples the right distribution.

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0

    name = "seeds-1"


@dataclass(frozen=True)
class Seeds2(_Seeds):
    """SEEDS-2: a stage at fraction r of the step, then the whole step with both x0 estimates.

    Two evaluations per step, order 2, weak order 2; a step into sigma = 0 or from alpha = 0 is
    of order 1. With eta = 0 it is DPM-Solver++(2S). Options:

    eta: the noise (>= 0; 1 is the reverse SDE, 0 the ODE).
    s_noise: noise multiplier (> 0); only 1 samples the right distribution.
    r: the position of the stage, as a fraction of the step in half-log-SNR (0.01 <= r <= 1).
    variant: `midpoint`, the answers weighted by 1 - 1/(2 r) and 1/(2 r), as in the paper
        (phi_1 in ComfyUI), or `exact`, the line through both, integrated exactly (phi_2).

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0
    r: float = 0.5
    variant: Literal["midpoint", "exact"] = "midpoint"

    name = "seeds-2"
    order = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "r", self.r, 0.01, 1.0)
        check_choice(self.name, "variant", self.variant, Literal["midpoint", "exact"])

    @property
    def parts(self) -> tuple[float, ...]:
        return (self.r,)

    @property
    def middle(self) -> float | None:
        if self.variant == "exact":
            return None
        return self.r


@dataclass(frozen=True)
class Seeds3(_Seeds):
    """SEEDS-3: stages at r1 and r2, then the line through the first and last x0 estimate.

    Three evaluations per step. Order 3 without noise, where it is DPM-Solver++(3S); with noise,
    weak order 2 (measured 1.99). A step into sigma = 0 or from alpha = 0 is of order 1.
    Options:

    eta: the noise (>= 0; 1 is the reverse SDE, 0 the ODE).
    s_noise: noise multiplier (> 0); only 1 samples the right distribution.
    r1, r2: the positions of the stages, as fractions of the step in half-log-SNR
        (0.01 <= r1 < r2 <= 1; order 3 for r2 = 2/3, else 2).

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0
    r1: float = 1 / 3
    r2: float = 2 / 3

    name = "seeds-3"
    order = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.name, "r1", self.r1, 0.01, 1.0)
        check_number(self.name, "r2", self.r2, 0.01, 1.0)
        if self.r1 >= self.r2:
            raise DifftoolError(f"seeds-3 takes r1 < r2, got {self.r1:g} and {self.r2:g}")

    @property
    def accuracy(self) -> float:
        if math.isclose(self.r2, 2 / 3):
            return 3
        return 2

    @property
    def parts(self) -> tuple[float, ...]:
        return (self.r1, self.r2)


def exp_heun(eta: float = 0.0, s_noise: float = 1.0) -> Seeds2:
    """Exponential Heun on x0: a step, redone with the line through the x0 at both ends.

    The same as `seeds-2` with r = 1 and variant exact. Two evaluations per step, order 2.
    Options: `eta`, the noise (0, the ODE, is ComfyUI's exp_heun_2_x0, 1 its exp_heun_2_x0_sde),
    and `s_noise`, its multiplier. Sources: Hochbruck & Ostermann 2005, exponential Runge-Kutta
    methods; Gonzalez et al. 2023, arXiv 2305.14267.
    """
    return Seeds2(eta, s_noise, 1.0, "exact")
