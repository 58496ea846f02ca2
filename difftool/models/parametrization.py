"""What a network predicts, F, and the time that is passed to it.

x0 is affine in F at every point p = (t, alpha, sigma), and F is trained towards F*:

    x0 = c_skip x + c_out F(c_in x, c_noise),     F* = a x_0 + b eps

    predicts   F estimates                   c_skip          c_out            c_in   a              b
    eps        eps                           1 / alpha       -sigma / alpha   1      0              1
    x0         x_0                           0               1                1      1              0
    v          alpha eps - sigma x_0         alpha / n       -sigma / n       1      -sigma         alpha
    flow       eps - x_0                     1 / k           -sigma / k       1      -1             1
    score      grad log p_t = -eps / sigma   1 / alpha       sigma^2 / alpha  1      0              -1 / sigma
    edm        (Karras et al. 2022, tab. 1)  alpha s^2 / m   sigma s / r      1 / r  sigma / (s r)  -alpha s / r

with n = alpha^2 + sigma^2, k = alpha + sigma, m = sigma^2 + alpha^2 s^2, r = sqrt(m), s the
standard deviation of the data. Sources: Ho et al. 2020 (arXiv 2006.11239), Salimans & Ho 2022
(v, arXiv 2202.00512), Lipman et al. 2022 (flow, arXiv 2210.02747), Song et al. 2021 (score,
arXiv 2011.13456).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from difftool.schedules._math import log, sqrt
from difftool.schedules.base import Point, Schedule


@dataclass(frozen=True)
class Parametrization:
    """What a network predicts, as functions of a point and the standard deviation of the data.

    coefficients: (c_skip, c_out, c_in); target: (a, b), undefined at sigma = 0.
    """

    coefficients: Callable[[Point, float], tuple[Any, Any, Any]]
    target: Callable[[Point, float], tuple[Any, Any]]
    divides_by_alpha: bool = False


def _eps(p: Point, std: float) -> tuple[Any, Any, Any]:
    return 1 / p.alpha, -p.sigma / p.alpha, 1.0


def _x0(p: Point, std: float) -> tuple[Any, Any, Any]:
    return 0.0, 1.0, 1.0


def _v(p: Point, std: float) -> tuple[Any, Any, Any]:
    norm = p.alpha**2 + p.sigma**2
    return p.alpha / norm, -p.sigma / norm, 1.0


def _flow(p: Point, std: float) -> tuple[Any, Any, Any]:
    return 1 / (p.alpha + p.sigma), -p.sigma / (p.alpha + p.sigma), 1.0


def _score(p: Point, std: float) -> tuple[Any, Any, Any]:
    return 1 / p.alpha, p.sigma**2 / p.alpha, 1.0


def _edm(p: Point, std: float) -> tuple[Any, Any, Any]:
    m = p.sigma**2 + (p.alpha * std) ** 2
    return p.alpha * std**2 / m, p.sigma * std / sqrt(m), 1 / sqrt(m)


def _edm_target(p: Point, std: float) -> tuple[Any, Any]:
    r = sqrt(p.sigma**2 + (p.alpha * std) ** 2)
    return p.sigma / (std * r), -p.alpha * std / r


PARAMETRIZATIONS = {
    "eps": Parametrization(_eps, lambda p, std: (0.0, 1.0), divides_by_alpha=True),
    "x0": Parametrization(_x0, lambda p, std: (1.0, 0.0)),
    "v": Parametrization(_v, lambda p, std: (-p.sigma, p.alpha)),
    "flow": Parametrization(_flow, lambda p, std: (-1.0, 1.0)),
    "score": Parametrization(_score, lambda p, std: (0.0, -1 / p.sigma), divides_by_alpha=True),
    "edm": Parametrization(_edm, _edm_target),
}


def errors_of(predicts: str, data_std: float = 0.5) -> Callable[[Point], float]:
    """The error of x0 per unit error of the prediction: |c_out|, or inf if unbounded."""
    form = PARAMETRIZATIONS[predicts]

    def size(p: Point) -> float:
        if form.divides_by_alpha and p.alpha == 0:
            return math.inf
        return abs(float(form.coefficients(p, data_std)[1]))

    return size


def _rounded(i: Any, last: int) -> Any:
    if isinstance(i, (float, int)):
        return min(max(round(i), 0), last)
    return i.round().clip(0, last).long()


TIMES: dict[
    str, Callable[[Point, int], Any]
] = {  # functions of a point and the number of entries in the schedule's table
    "t": lambda p, entries: p.t * 1.0,
    "index": lambda p, entries: entries * p.t - 1.0,
    "rounded-index": lambda p, entries: _rounded(entries * p.t - 1.0, entries - 1),
    "level": lambda p, entries: p.level,
    "log-level": lambda p, entries: log(p.level) / 4,
}


def network_time(
    time: str | Callable[[Point], Any], schedule: Schedule
) -> Callable[[Point], Any]:
    """The time passed to a network on that schedule: by name, or the user's own function."""
    if isinstance(time, str):
        return lambda p: TIMES[time](p, schedule.entries)
    return time
