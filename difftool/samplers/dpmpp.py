"""DPM-Solver++ and DPM-Solver, multistep, for the ODE and the SDE.

With h = half_log_snr_b - half_log_snr_a, k = 1 + eta and D_j the answers (x0, or eps for
DPM-Solver), newest first,

    x_b = sigma_b / sigma_a e^(-eta h) x_a + alpha_b (1 - e^(-k h)) D + sigma_b sqrt(1 - e^(-2 eta h)) z

    2m       D = D_0 + (D_0 - D_1) / (2 r),    r = (h of the step before) / h
    3m       D_j interpolated in half-log-snr and integrated exactly: the paper's expansion, of any order

2M is the paper's second-order method; it replaces the exact integral of the linear part with
that of its midpoint. The third-order method is `3m`. In the authors' code, and in all libraries
that follow it, the second difference lacks a factor 2, so that the nominal order 3 is order
2 (`3m-published`: measured 2.0 in one step; `3m`: 3.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import NoiseSource, State
from difftool.samplers.currencies import CURRENCIES
from difftool.samplers.interpolate import (
    History,
    add_noise,
    combine,
    has_half_log_snr,
    midpoint,
    nodes_of,
    weights,
)
from difftool.samplers.multistep import Predictor, Start
from difftool.samplers.options import check_choice, check_number
from difftool.samplers.variables import HALF_LOG_SNR
from difftool.schedules.base import Point
from difftool.schedules.path import Path

Variant = Literal["2m", "2m-exact", "3m", "3m-published"]


@dataclass(frozen=True)
class Rule:
    """A variant: the most answers in its polynomial, and how the polynomial is integrated."""

    order: int
    integral: Literal["exact", "midpoint", "published"]  # published: midpoint for 2 answers


RULES: dict[Variant, Rule] = {
    "2m": Rule(2, "midpoint"),
    "2m-exact": Rule(2, "exact"),
    "3m": Rule(3, "exact"),
    "3m-published": Rule(3, "published"),
}


@dataclass(frozen=True)
class DPMpp(Predictor):
    """DPM-Solver++ multistep of order 1, 2 or 3, with an adjustable share of the SDE's noise.

    x_b = sigma_b / sigma_a e^(-eta h) x_a + alpha_b (1 - e^(-(1+eta) h)) D + sigma_b
    sqrt(1 - e^(-2 eta h)) z, with D from the newest answers (see the module). One evaluation
    per step; the step into sigma = 0 is of order 1. Options:

    order: 1, 2 or 3, up to that of the variant; none: that of the variant, or the number of
        steps if smaller.
    start, taper: how a run begins and ends, see `adams`.
    variant: `2m`, the paper's DPM-Solver++(2M); `2m-exact`, the exact integral of the line
        (`solver_type="heun"` elsewhere); `3m`, the exact integral of the parabola, with the
        factor 2; `3m-published`, as in all other libraries, without that factor: measured order
        2 instead of 3. none: 3m for order 3, else 2m.
    eta: the noise, from 0 (the ODE) to 1 (the reverse SDE) and beyond (>= 0).
    interpolates: `x0` (DPM-Solver++) or `eps` (DPM-Solver; for eta = 0).

    Raises `DifftoolError` for other values, and for upward grids if there is noise.
    """

    variant: Variant | None = None
    eta: float = 0.0
    interpolates: Literal["x0", "eps"] = "x0"

    name = "dpmpp"
    orders = range(1, 4)
    noise_option = "eta"
    reference = (
        "Lu et al. 2022, DPM-Solver++, arXiv 2211.01095, algorithm 2 and appendix B; "
        "DPM-Solver, arXiv 2206.00927"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant is not None:
            check_choice(self.name, "variant", self.variant, Variant)
        check_choice(self.name, "interpolates", self.interpolates, Literal["x0", "eps"])
        check_number(self.name, "eta", self.eta, 0.0)
        if self.full > self.rule.order:
            raise DifftoolError(
                f"dpmpp takes order 1 or 2 with variant {self.variant}, got 3; use dpmpp-3m for order 3"
            )
        if self.eta > 0 and self.interpolates == "eps":
            raise DifftoolError(
                f"dpmpp takes eta = 0 with interpolates eps, got {self.eta}; use interpolates x0"
            )

    @property
    def rule(self) -> Rule:
        """The rule of the variant, given or default."""
        if self.variant is not None:
            return RULES[self.variant]
        if self.order == 3:
            return RULES["3m"]
        return RULES["2m"]

    @property
    def usual(self) -> int:
        return self.rule.order

    @property
    def accuracy(self) -> float | None:
        if self.rule.integral == "published":
            return min(self.full, 2)
        return super().accuracy

    @property
    def weak_order(self) -> float | None:
        if self.eta > 0:
            return min(self.full, 2)
        return None

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    @property
    def divides_by_alpha(self) -> bool:
        return self.interpolates == "eps"

    def answer(self, x: State, x0: State, p: Point) -> State:
        return CURRENCIES[self.interpolates].answer(x, x0, p)

    def step(
        self, x: State, now: Point, nxt: Point, known: History, path: Path, noise: NoiseSource
    ) -> State:
        currency, k, nodes = CURRENCIES[self.interpolates], 1 + self.eta, nodes_of(known)
        gain, w = weights(now, nxt, nodes, path, currency, HALF_LOG_SNR, k)
        if self.rule.integral != "exact" and has_half_log_snr(nxt, *nodes):
            if len(known) == 2:
                w = midpoint(now, nxt, nodes, constant=sum(w), slope=sum(w))
            elif len(known) == 3:
                w = self._without_the_factor(now, nxt, nodes, w)
        return add_noise(combine(gain, x, w, known), now, nxt, self.eta, noise)

    def _without_the_factor(
        self, now: Point, nxt: Point, nodes: list[Point], w: list[float]
    ) -> list[float]:
        """The published weights: the exact ones less half of D2's, which lacks its factor 2."""
        h, h0, h1 = (b.half_log_snr - a.half_log_snr for b, a in pairwise([nxt, *nodes]))
        scale, z = nxt.alpha, -(1 + self.eta) * h
        if self.interpolates == "eps":
            scale, z = nxt.sigma, h
        half = scale * h * h / (h0 + h1) * (0.5 - (math.expm1(z) - z) / (z * z))
        second = 1 / h0, -1 / h0 - 1 / h1, 1 / h1
        return [a - half * b for a, b in zip(w, second, strict=True)]


def dpmpp_2m(
    order: int | None = None,
    start: Start = "ramp",
    taper: bool = False,
    variant: Literal["midpoint", "exact"] = "midpoint",
    eta: float = 0.0,
) -> DPMpp:
    """DPM-Solver++(2M): multistep on the two newest estimates of x0.

    Options as in `dpmpp`; `variant=midpoint` is the paper's, `exact` the exact integral of the
    line, `solver_type="heun"` elsewhere. Source: Lu et al. 2022, arXiv 2211.01095.
    """
    check_choice("dpmpp-2m", "variant", variant, Literal["midpoint", "exact"])
    names: dict[str, Variant] = {"midpoint": "2m", "exact": "2m-exact"}
    return DPMpp(order, start, taper, names[variant], eta)


def dpmpp_3m(
    order: int | None = None,
    start: Start = "ramp",
    taper: bool = False,
    variant: Literal["exact", "published"] = "exact",
    eta: float = 0.0,
) -> DPMpp:
    """DPM-Solver++(3M): three estimates of x0, with the factor 2 that published code lacks.

    x_b = sigma_b / sigma_a x_a + alpha_b ((1 - e^-h) D0 + (1 - (1 - e^-h) / h)
    D1 + 2 (1/2 - (e^-h - 1 + h) / h^2) D2), with D1 and D2 the first and second differences in
    half-log-snr per step. The measured order of one step is 3.0; with `variant=published`, the
    code of its authors and of every library, which lacks the 2 before D2, it is 2.0.

    Options as in `dpmpp`. Source: Lu et al. 2022, arXiv 2211.01095, appendix B.
    """
    check_choice("dpmpp-3m", "variant", variant, Literal["exact", "published"])
    names: dict[str, Variant] = {"exact": "3m", "published": "3m-published"}
    return DPMpp(order, start, taper, names[variant], eta)


def dpmpp_2m_sde(
    order: int | None = None,
    variant: Literal["midpoint", "exact"] = "midpoint",
    eta: float = 1.0,
) -> DPMpp:
    """SDE-DPM-Solver++(2M): `dpmpp-2m` with the noise of the reverse SDE.

    Options as in `dpmpp-2m`. Source: Lu et al. 2022, arXiv 2211.01095, section 6.
    """
    return dpmpp_2m(order, variant=variant, eta=eta)


def dpmpp_3m_sde(
    order: int | None = None, variant: Literal["exact", "published"] = "exact", eta: float = 1.0
) -> DPMpp:
    """SDE-DPM-Solver++(3M): `dpmpp-3m` with the noise of the reverse SDE; weak order 2.

    Options as in `dpmpp-3m`. Source: Lu et al. 2022, arXiv 2211.01095; Crowson 2023,
    k-diffusion.
    """
    return dpmpp_3m(order, variant=variant, eta=eta)
