"""One step of the probability flow with the model's answers interpolated: multistep methods.

The step from a to b is exactly x_b = A x_a + an integral of the answer q, in one of three
currencies (see `currencies`). Replacing q by the polynomial in a variable u (t, l, s or log
l = -half_log_snr) through known answers q_j gives

    x_b = A x_a + sum_j w_j q_j

`weights` gives A and w, and `advance` x_b. Where u is infinite (log l at either end of a run),
an answer is left out, and a step from or to such a point holds the newest answer constant: no
infinite half-log-SNR is ever used. The reverse SDE with noise tau adds sigma_b
sqrt(1 - (l_b / l_a)^(2 tau^2)) of fresh noise. Sources: Adams 1883; Zhang & Chen 2022 (arXiv
2204.13902); Lu et al. 2022 (2211.01095); Xue et al. 2023 (2309.05019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from difftool.samplers.base import NoiseSource, State
from difftool.samplers.currencies import Currency
from difftool.samplers.variables import Variable
from difftool.schedules.base import Point
from difftool.schedules.path import Path

History = list[tuple[Point, State]]  # the known answers and their points, newest first


def advance(
    x: State,
    now: Point,
    nxt: Point,
    known: History,
    path: Path,
    currency: Currency,
    variable: Variable,
    k: float = 1.0,
) -> State:
    """x_nxt = A x_now + sum_j w_j q_j by the known answers, without fresh noise."""
    gain, w = weights(now, nxt, nodes_of(known), path, currency, variable, k)
    return combine(gain, x, w, known)


def weights(
    now: Point,
    nxt: Point,
    nodes: Sequence[Point],
    path: Path,
    currency: Currency,
    variable: Variable,
    k: float = 1.0,
) -> tuple[float, list[float]]:
    """(A, w) of x_nxt = A x_now + sum_j w_j q_j, q_j the answer at nodes[j], newest first."""
    constant, gain = currency.constant(now, nxt, k), currency.linear(now, nxt, k)
    u = [variable.coordinate(p) for p in nodes]
    finite = [j for j, value in enumerate(u) if math.isfinite(value)]
    ends = variable.coordinate(now), variable.coordinate(nxt)
    w = [0.0] * len(nodes)
    if len(finite) < 2 or not all(map(math.isfinite, ends)):
        newest = next(iter(finite), 0)
        w[newest] = constant
        return gain, w
    known = [u[j] for j in finite]
    for place, weight in currency.quadrature(now, nxt, variable, path, k):
        for j, c in zip(finite, lagrange(known, place), strict=True):
            w[j] += weight * c
    return gain, w


def combine(gain: float, x: State, w: Sequence[float], known: History) -> State:
    """A x + sum_j w_j q_j."""
    x = gain * x
    for weight, (_, answer) in zip(w, known, strict=True):
        if weight:
            x = x + weight * answer
    return x


def nodes_of(known: History) -> list[Point]:
    """The points of the known answers."""
    return [p for p, _ in known]


def lagrange(nodes: Sequence[float], u: Any) -> list[Any]:
    """The Lagrange basis polynomials of the nodes, at u."""
    out = []
    for j, a in enumerate(nodes):
        value = 1.0
        for m, b in enumerate(nodes):
            if m != j:
                value *= (u - b) / (a - b)
        out.append(value)
    return out


def midpoint(
    now: Point, nxt: Point, nodes: Sequence[Point], constant: float, slope: float
) -> list[float]:
    """The weights of two answers, with 1/2 as the weight of their difference.

        x_nxt = A x_now + constant q_now + slope (h / 2) (q_0 - q_1) / (lambda_0 - lambda_1)

    with lambda the half-log-SNR, finite at all points, and h = lambda_nxt - lambda_now. The
    newer answer q_0 is at `now` in a predictor and at `nxt` in a corrector. In
    DPM-Solver++(2M), constant and slope are both the weight of a constant answer.
    """
    newer, older = (p.half_log_snr for p in nodes)
    h = nxt.half_log_snr - now.half_log_snr
    difference = slope * h / (2 * (newer - older))
    if nodes[0] == now:
        return [constant + difference, -difference]
    return [difference, constant - difference]


def midpoint_inside(constant: float, r: float) -> list[float]:
    """The weights of `midpoint` with q_0 at r of the step, q_1 at its start, slope = constant.

    As in the papers, they are shares 1 / (2 r) and 1 - 1 / (2 r) of the constant's weight;
    `midpoint` differs in the last bit.
    """
    share = 1 / (2 * r)
    return [constant * share, constant * (1 - share)]


def has_half_log_snr(*where: Point) -> bool:
    """True if half-log-SNR is finite at all these points."""
    return all(math.isfinite(p.half_log_snr) for p in where)


def noise_std(now: Point, nxt: Point, tau2: float) -> float:
    """The noise of a reverse-SDE step: sigma_b sqrt(1 - (l_b / l_a)^(2 tau^2))."""
    if tau2 == 0 or nxt.sigma == 0:
        return 0.0
    ratio = nxt.level / now.level
    if ratio == 0:  # from pure noise
        return float(nxt.sigma)
    return float(nxt.sigma * math.sqrt(-math.expm1(2 * tau2 * math.log(ratio))))


def add_noise(
    x: State, now: Point, nxt: Point, tau2: float, noise: NoiseSource, s_noise: float = 1.0
) -> State:
    """x plus the fresh noise of a reverse-SDE step, scaled by s_noise."""
    std = noise_std(now, nxt, tau2)
    if std > 0:
        x = x + s_noise * std * noise(now, nxt)
    return x
