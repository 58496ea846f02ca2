"""One step of the probability flow with the model's answers interpolated: the arithmetic of all multistep methods.

With the noise level l = sigma / alpha, the flow time s = l / (1 + l) and an answer q in one of three currencies, the
step from a to b is exactly

    q      x_b
    eps    alpha_b (x_a / alpha_a + int_a^b eps dl)
    flow   (alpha_b + sigma_b) (x_a / (alpha_a + sigma_a) + int_a^b (eps - x0) ds)
    x0     sigma_b / sigma_a (l_b / l_a)^(k-1) x_a + alpha_b int_b^a x0 k (l_b / l)^k dl / l

(k = 1 for the ODE; k = 1 + tau^2 for the reverse SDE with noise tau, which adds sigma_b sqrt(1 - (l_b / l_a)^(2 tau^2))
of fresh noise.) Replacing q by the polynomial in a variable u (t, l, s or log l = -half_log_snr) through known answers
q_j gives x_b = A x_a + sum_j w_j q_j; `weights` returns A and w. Where u is infinite (log l at either end of a run) an
answer is left out, and a step from or to such a place holds the newest answer constant: no infinite half-log-SNR ever
enters. Sources: Adams 1883; Zhang & Chen 2022 (arXiv 2204.13902); Lu et al. 2022 (2211.01095); Xue et al. 2023
(2309.05019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from difftool.samplers.base import State, eps_of
from difftool.schedules.base import Point
from difftool.schedules.path import Path

Currency = Literal["eps", "x0", "flow"]
Variable = Literal["half-log-snr", "level", "flow", "t"]

# Gauss-Legendre, eight nodes on [-1, 1]: Abramowitz & Stegun 1964, table 25.4
_GAUSS = (
    (0.18343464249564980494, 0.36268378337836198297),
    (0.52553240991632898582, 0.31370664587788728734),
    (0.79666647741362673959, 0.22238103445337447054),
    (0.96028985649753623168, 0.10122853629037625915),
)
_PANEL = 1.0  # longest panel in log l: the integrands are analytic within pi of the real axis
_FAR = 40.0  # (l_b / l)^k is below e^-40 beyond this, less than the last bit
_NEAR = 0.25  # below this level integrals down to l = 0 run in l itself


def currency(interpolates: Currency, x: State, x0: State, p: Point) -> State:
    """The answer at p in that currency."""
    if interpolates == "x0":
        return x0
    eps = eps_of(x, x0, p)
    return eps if interpolates == "eps" else eps - x0


def coordinate(variable: Variable, p: Point) -> float:
    """u at p, growing with the noise; infinite where it is not defined."""
    if variable == "half-log-snr":
        return -float(p.half_log_snr)
    return float({"t": p.t, "level": p.level, "flow": p.flow}[variable])


def weights(
    now: Point,
    nxt: Point,
    nodes: Sequence[Point],
    path: Path,
    interpolates: Currency,
    variable: Variable,
    k: float = 1.0,
) -> tuple[float, list[float]]:
    """(A, w) of x_nxt = A x_now + sum_j w_j q_j, with q_j the answer at nodes[j], the newest first."""
    if (
        interpolates == "x0" and now.sigma == 0
    ):  # upwards from clean data: there is no noise in x yet
        return nxt.alpha / now.alpha, [0.0] * len(nodes)
    total, gain = _constant(now, nxt, interpolates, k)
    u = [coordinate(variable, p) for p in nodes]
    finite = [j for j, value in enumerate(u) if math.isfinite(value)]
    ends = (coordinate(variable, now), coordinate(variable, nxt))
    out = [0.0] * len(nodes)
    if len(finite) < 2 or not all(map(math.isfinite, ends)):
        out[finite[0] if finite else 0] = total
        return gain, out
    known = [u[j] for j in finite]
    if interpolates == "x0" and nxt.sigma == 0:  # all the weight is at the end
        values = [total * c for c in lagrange(known, ends[1])]
    else:
        values = [0.0] * len(known)
        for place, weight in _quadrature(now, nxt, path, interpolates, variable, k):
            for j, c in enumerate(lagrange(known, place)):
                values[j] += weight * c
    for j, value in zip(finite, values, strict=True):
        out[j] = value
    return gain, out


def lagrange(nodes: Sequence[float], u: float) -> list[float]:
    """The Lagrange basis polynomials of the nodes, at u."""
    out = []
    for j, a in enumerate(nodes):
        value = 1.0
        for m, b in enumerate(nodes):
            if m != j:
                value *= (u - b) / (a - b)
        out.append(value)
    return out


def step(gain: float, x: State, w: Sequence[float], q: Sequence[State]) -> State:
    """A x + sum_j w_j q_j."""
    x = gain * x
    for weight, answer in zip(w, q, strict=True):
        if weight:
            x = x + weight * answer
    return x


def noise_std(now: Point, nxt: Point, tau2: float) -> float:
    """The fresh noise of a step of the reverse SDE: sigma_b sqrt(1 - (l_b / l_a)^(2 tau^2))."""
    if tau2 == 0 or nxt.sigma == 0:
        return 0.0
    ratio = nxt.level / now.level  # 0 from pure noise
    return float(
        nxt.sigma
        if ratio == 0
        else nxt.sigma * math.sqrt(-math.expm1(2 * tau2 * math.log(ratio)))
    )


def _constant(now: Point, nxt: Point, interpolates: Currency, k: float) -> tuple[float, float]:
    """The weight of a constant answer, and A."""
    if interpolates == "eps":
        return nxt.alpha * (nxt.level - now.level), nxt.alpha / now.alpha
    if interpolates == "flow":
        scale = nxt.alpha + nxt.sigma
        return scale * (nxt.flow - now.flow), scale / (now.alpha + now.sigma)
    ratio = nxt.level / now.level  # 0 into sigma = 0, and from alpha = 0
    gain = nxt.sigma / now.sigma * ratio ** (k - 1)
    return (nxt.alpha if ratio == 0 else -nxt.alpha * math.expm1(k * math.log(ratio))), gain


def _quadrature(
    now: Point, nxt: Point, path: Path, interpolates: Currency, variable: Variable, k: float
) -> Iterator[tuple[float, float]]:
    """(u, weight) of a quadrature of the step's integral."""
    scale = {"eps": nxt.alpha, "flow": nxt.alpha + nxt.sigma, "x0": nxt.alpha}[interpolates]
    if (
        variable == {"eps": "level", "flow": "flow", "x0": ""}[interpolates]
    ):  # polynomials: exact
        yield from (
            (u, scale * w)
            for u, w in _gauss(coordinate(variable, now), coordinate(variable, nxt))
        )
        return
    place = _place(variable, path)
    high, low = now.level, nxt.level
    if interpolates == "x0":
        end = math.log(low)
        for v, w in panels(
            end, min(math.log(high) if high < math.inf else math.inf, end + _FAR / k)
        ):
            yield place(math.exp(v)), scale * w * k * math.exp(k * (end - v))
        return
    density = (
        (lambda level: 1.0) if interpolates == "eps" else (lambda level: 1 / (1 + level) ** 2)
    )
    a, b = max(high, low), min(high, low)
    sign = scale if low > high else -scale
    middle = b if b > 0 else min(a, _NEAR)
    if b == 0:
        yield from (
            (place(level), sign * w * density(level)) for level, w in _gauss(0.0, middle)
        )
    for v, w in panels(math.log(middle), math.log(a)):
        level = math.exp(v)
        yield place(level), sign * w * level * density(level)


def _place(variable: Variable, path: Path) -> Callable[[float], float]:
    """u as a function of the noise level."""
    if variable == "t":
        return path.schedule.t_at_level
    return {
        "level": lambda level: level,
        "flow": lambda level: level / (1 + level),
        "half-log-snr": math.log,
    }[variable]


def _gauss(a: float, b: float) -> Iterator[tuple[float, float]]:
    middle, half = (a + b) / 2, (b - a) / 2
    for x, w in _GAUSS:
        yield middle - half * x, half * w
        yield middle + half * x, half * w


def panels(a: float, b: float) -> Iterator[tuple[float, float]]:
    """Gauss-Legendre on panels of [a, b]."""
    count = max(1, math.ceil(abs(b - a) / _PANEL))
    for i in range(count):
        yield from _gauss(a + (b - a) * i / count, a + (b - a) * (i + 1) / count)
