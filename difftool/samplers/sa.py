"""SA-Solver: stochastic Adams methods on x0 in half-log-SNR, predictor and corrector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.currencies import X0
from difftool.samplers.interpolate import (
    History,
    combine,
    has_half_log_snr,
    midpoint,
    nodes_of,
    noise_std,
    weights,
)
from difftool.samplers.multistep import Multistep, starting_step
from difftool.samplers.options import check_choice, check_number, check_order
from difftool.samplers.variables import HALF_LOG_SNR
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class SASolver(Multistep):
    """SA-Solver: a stochastic Adams predictor-corrector, one evaluation per step.

    x_b = A x_a + sum_j w_j D_j + sigma_b sqrt(1 - e^(-2 tau^2 h)) z, w_j the integral of the
    j-th Lagrange polynomial in half-log-snr against alpha_b k e^(-k (half_log_snr_b - .)),
    k = 1 + tau^2. The predictor uses the newest estimates D_j of x0; the corrector uses those
    and the one at the predicted state, with the same noise. Options:

    order: the predictor's order, 1 to 4; none: 3, or the number of steps if smaller.
    start, taper: how a run begins and ends, see `adams`.
    corrector_order: estimates in the corrector's polynomial, including the new one; 0 (no
        corrector) to 5.
    tau: the noise (>= 0): 0 is the ODE, 1 the reverse SDE.
    level_min, level_max: noise is added only between these noise levels.
    variant: `exact`, or `published`: the authors' code, which takes alpha_b k h^2 / 2 for the
        integral of the linear part if there are two estimates (the order does not change).

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    corrector_order: int = 3
    tau: float = 1.0
    level_min: float = 0.0
    level_max: float = math.inf
    variant: Literal["exact", "published"] = "exact"

    name = "sa-solver"
    orders = range(1, 5)
    noise_option = "tau"
    reference = "Xue et al. 2023, SA-Solver, arXiv 2309.05019, algorithm 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(
            self.name, self.corrector_order, range(6), option="corrector_order", none=False
        )
        check_choice(self.name, "variant", self.variant, Literal["exact", "published"])
        check_number(self.name, "tau", self.tau, 0.0, 1000.0)
        check_number(self.name, "level_min", self.level_min, 0.0)
        check_number(
            self.name, "level_max", self.level_max, self.level_min, above=True, infinite=True
        )

    @property
    def accuracy(self) -> float | None:
        if self.corrector_order:
            return min(self.corrector_order, self.step_order + 1)
        return self.step_order

    @property
    def global_order(self) -> float | None:
        if self.start == "runge-kutta" and not self.taper:
            return self.accuracy
        return min(self.accuracy or 0, 3 if self.corrector_order else 2)

    @property
    def weak_order(self) -> float | None:
        if self.tau > 0:
            return min(self.accuracy or 0, 2)
        return None

    @property
    def stochastic(self) -> bool:
        return self.tau > 0

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        known: History = []
        y, k, fresh = x, 1.0, 0.0
        before: Point | None = None  # where the prediction to correct began
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now)
            known = [(now, x0), *known][: max(self.full, self.corrector_order)]
            if before is not None and self.corrector_order and has_half_log_snr(before):
                y = self._advance(y, before, now, known[: self.corrector_order], path, k)
                y = y + fresh
            else:
                y = x
            if self.starts(i, nxt):
                x, before = starting_step(model, y, x0, now, nxt, path), None
                continue
            tau2 = self._tau2(now)
            k, std, fresh = 1 + tau2, noise_std(now, nxt, tau2), 0.0
            if std > 0:
                fresh = std * noise(now, nxt)
            x = self._advance(y, now, nxt, known[: self.order_at(i, path)], path, k) + fresh
            before = now
        return x

    def _tau2(self, now: Point) -> float:
        """tau^2 in the step from now: 0 outside the interval of levels."""
        if self.level_min <= now.level <= self.level_max:
            return self.tau**2
        return 0.0

    def _advance(
        self, y: State, now: Point, nxt: Point, known: History, path: Path, k: float
    ) -> State:
        """The state at nxt from y at now by the known estimates, without noise."""
        nodes = nodes_of(known)
        gain, w = weights(now, nxt, nodes, path, X0, HALF_LOG_SNR, k)
        published = self.variant == "published" and len(known) == 2
        if published and has_half_log_snr(nxt, *nodes):
            h = nxt.half_log_snr - now.half_log_snr
            w = midpoint(now, nxt, nodes, constant=sum(w), slope=nxt.alpha * k * h)
        return combine(gain, y, w, known)
