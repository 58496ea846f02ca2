"""SA-Solver: stochastic Adams methods on x0 in half-log-snr, predictor and corrector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.interpolate import noise_std, step, weights
from difftool.samplers.multistep import Multistep, accurate_step
from difftool.samplers.options import check_choice, check_number, check_order
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class SASolver(Multistep):
    """SA-Solver: a stochastic Adams predictor and corrector, one evaluation per step.

    x_b = A x_a + sum_j w_j D_j + sigma_b sqrt(1 - e^(-2 tau^2 h)) z, w_j the integral of the j-th Lagrange polynomial
    in half-log-snr against alpha_b k e^(-k (half_log_snr_b - .)), k = 1 + tau^2. The predictor uses the newest
    estimates D_j of x0, the corrector those and the one at the predicted state, with the same noise. Options:

    order: of the predictor, 1 to 4; none: 3, or what the steps allow.
    start, taper: how a run begins and ends, see `adams`.
    corrector_order: estimates in the corrector's polynomial, the new one included, 0 (none) to 5.
    tau: the noise (>= 0): 0 the ODE, 1 the reverse SDE.
    level_min, level_max: the noise levels between which there is noise.
    variant: `exact`, or `published`: the code of its authors, which takes alpha_b k h^2 / 2 for the integral of the
        linear part where there are two estimates (the order stays).

    Raises `DifftoolError` for other values, and with noise for grids that run upwards.
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
        full = min(self.full, 2) if self.taper else self.full
        return min(self.corrector_order, full + 1) if self.corrector_order else full

    @property
    def global_order(self) -> float | None:
        ramped = self.start == "ramp" or self.taper
        return (
            min(self.accuracy or 0, 3 if self.corrector_order else 2)
            if ramped
            else self.accuracy
        )

    @property
    def weak_order(self) -> float | None:
        return min(self.accuracy or 0, 2) if self.tau > 0 else None

    @property
    def stochastic(self) -> bool:
        return self.tau > 0

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        past: list[Any] = []
        y, k, fresh = x, 1.0, 0.0
        before: Point | None = None
        for i, (now, nxt) in enumerate(pairwise(path)):
            past = [(now, model(x, now)), *past][: max(self.full, self.corrector_order)]
            if (
                before is None
                or not self.corrector_order
                or not math.isfinite(before.half_log_snr)
            ):
                y = x  # nothing to correct by
            else:
                y = self._advance(y, before, now, past[: self.corrector_order], path, k) + fresh
            if self.begins(i, nxt):
                x, before = accurate_step(model, y, past[0][1], now, nxt, path), None
                continue
            tau2 = self.tau**2 * (self.level_min <= now.level <= self.level_max)
            k, std = 1 + tau2, noise_std(now, nxt, tau2)
            fresh = std * noise(now, nxt) if std > 0 else 0.0
            x = (
                self._advance(y, now, nxt, past[: self.reach(i, len(path) - 1)], path, k)
                + fresh
            )
            before = now
        return x

    def _advance(
        self, y: State, a: Point, b: Point, known: list[Any], path: Path, k: float
    ) -> State:
        """The state at b from that at a by the known estimates, newest first; without the noise."""
        nodes, answers = zip(*known, strict=True)
        gain, w = weights(a, b, nodes, path, "x0", "half-log-snr", k)
        lambdas = [p.half_log_snr for p in (b, *nodes)]
        if self.variant == "published" and len(nodes) == 2 and all(map(math.isfinite, lambdas)):
            newest, h = nodes[0] == a, b.half_log_snr - a.half_log_snr
            slope = b.alpha * k * h * h / (2 * (lambdas[1] - lambdas[2]))
            w = [sum(w) * newest + slope, sum(w) * (not newest) - slope]
        return step(gain, y, w, answers)
