"""reab: Rosenbrock-type exponential Adams-Bashforth, linear part from unit Gaussian data.

In y = x / alpha and u = log l, l = sigma / alpha, the probability flow is dy/du = y - x0. For
data N(0, I) the answer is x0 = y / (1 + l^2). With that part solved exactly, f is left to
interpolate:

    dy/du = a y + b f,      a = l^2 / (1 + l^2),      b = sqrt(a),      f = (y / (1 + l^2) - x0) / b

and f is the v of Salimans & Ho: with r^2 = alpha^2 + sigma^2 the method reads

    x_b / r_b = x_a / r_a + sum_j v_j int L_j dphi,     v = (alpha eps - sigma x0) / r,     tan(phi) = l

with L_j Lagrange polynomials in u. azula's REAB has sigma_a in place of sigma_b in r_b, and has
order 1 whatever its order option. Sources: Hochbruck et al. 2009; Zheng et al. 2023 (arXiv
2310.13268); azula's documentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from difftool.samplers.base import NoiseSource, State, eps_of
from difftool.samplers.interpolate import History, combine, lagrange, nodes_of
from difftool.samplers.multistep import Predictor
from difftool.samplers.quadrature import panels
from difftool.samplers.variables import HALF_LOG_SNR
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class REAB(Predictor):
    """Rosenbrock-type exponential Adams-Bashforth on v, exact for unit Gaussian data.

    x_b / r_b = x_a / r_a + sum_j v_j int L_j dphi, v = (alpha eps - sigma x0) / r,
    r^2 = alpha^2 + sigma^2, tan(phi) = sigma / alpha: v is interpolated in half-log-SNR and
    integrated over the angle phi. One evaluation per step. Exact for data N(0, I) in any number
    of steps, but not for a single point. Where half-log-SNR is infinite, an answer is left out,
    and steps from or to such points hold the newest v constant. Options:

    order: answers in the polynomial, 1 to 5; none: 3, or the number of steps if smaller.
    start, taper: as in `adams`.

    Raises `DifftoolError` for other values.
    """

    name = "reab"
    point_mass = False  # its linear part is that of unit Gaussian data
    reference = (
        "Hochbruck, Ostermann & Schweitzer 2009, Exponential Rosenbrock-type methods, SIAM Journal on Numerical "
        "Analysis 47; for diffusion: azula's REABSampler, after Zheng et al. 2023, arXiv 2310.13268"
    )

    def answer(self, x: State, x0: State, p: Point) -> State:
        r = math.hypot(p.alpha, p.sigma)
        return p.alpha / r * eps_of(x, x0, p) - p.sigma / r * x0  # v

    def step(
        self, x: State, now: Point, nxt: Point, known: History, path: Path, noise: NoiseSource
    ) -> State:
        r_a, r_b = math.hypot(now.alpha, now.sigma), math.hypot(nxt.alpha, nxt.sigma)
        w = [r_b * weight for weight in angle_weights(now, nxt, nodes_of(known))]
        return combine(r_b / r_a, x, w, known)


def angle_weights(now: Point, nxt: Point, nodes: Sequence[Point]) -> list[float]:
    """The weights int L_j dphi over the step, with dphi = du / (2 cosh u).

    L_j are the Lagrange polynomials in log l through the nodes.
    """
    total = math.atan2(nxt.sigma, nxt.alpha) - math.atan2(now.sigma, now.alpha)
    u = [HALF_LOG_SNR.coordinate(p) for p in nodes]
    known = [value for value in u if math.isfinite(value)]
    a, b = HALF_LOG_SNR.coordinate(now), HALF_LOG_SNR.coordinate(nxt)
    if len(known) < 2 or not (math.isfinite(a) and math.isfinite(b)):
        return [total] + [0.0] * (len(u) - 1)
    out = dict.fromkeys(known, 0.0)
    for place, weight in panels(a, b):
        for node, c in zip(known, lagrange(known, place), strict=True):
            out[node] += weight / (2 * math.cosh(place)) * c
    return [out.get(value, 0.0) for value in u]
