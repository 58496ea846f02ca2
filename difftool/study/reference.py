"""End points of the probability flow: the reference for deterministic samplers.

With flow time s = sigma / (alpha + sigma) and y = x / (alpha + sigma), the flow is the same
along every schedule,

    dy/ds = eps - x0 = (y - x0) / s = -(y + s score) / (1 - s),        y = (1 - s) x0 + s eps,

and regular from pure noise to sigma = 0, so only the two ends of a path matter. The method
depends on the model:

    one Gaussian N(m, v)    closed form: (x - alpha m) / sqrt(alpha^2 v + sigma^2) is constant
    a Gaussian mixture      DOP853 in float64, using the score below s = 1/2
    any other model         the classical Runge-Kutta method, with N doubled until the end point
                            converges. A third of the points is at s_i ~ (1 - i/N)^2; a third at
                            t_i ~ (1 - i/N)^2, because a network is smooth in its time t, which
                            the first third resolves poorly near s = 1; a third in equal steps of
                            log SNR, because eps networks are steep in it at high noise. The last
                            step, into sigma = 0, is the mean, with local error s_{N-1}^2 ~ N^-4
                            like the others

Sources: Prince & Dormand 1981 (DOP853: Hairer, Norsett & Wanner 1993, Solving ordinary
differential equations I); Kutta 1901. The flow: Song et al. 2021, arXiv 2011.13456; in s: Lipman
et al. 2022, arXiv 2210.02747.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.grids import FlowGrid, HalfLogSNR, Quadratic
from difftool.models import GaussianMixture
from difftool.models.base import BoundModel, Model
from difftool.schedules import Path, Point
from difftool.study.errors import Errors, errors

RTOL = 1e-10  # of DOP853; atol is RTOL / 100; the error is estimated by a run at 30 RTOL


@dataclass(frozen=True, eq=False)
class Reference:
    """End points (B, ...), float64; estimated errors; how: `exact`, `dop853` or `doubling`."""

    x: Tensor
    error: Errors
    how: str


def reference(
    model: Model,
    x: Tensor,
    path: Path,
    *,
    cond: Mapping[str, Any] | None = None,
    tolerance: float = 1e-5,
    most: int = 1024,
    strict: bool = True,
) -> Reference:
    """The end points of the probability flow of `model` from states x (B, ...) along `path`.

    path: only its two ends matter; it may run upwards. cond: conditioning, as in `sample`.
    tolerance: for models other than mixtures: the largest RMS change of the end points, in
        units of the data, when the number of steps is doubled (the remaining error is smaller:
        about 1/15 of it if the model is smooth).
    most: the largest number of steps, of four evaluations each.
    strict: whether to raise if that does not reach the tolerance; if not, see the estimated
        error.

    Everything is in float64, except inside a network. The error estimate of `exact` is 0, of
    `dop853` the change at 30 times the tolerance, of `doubling` the last change. Raises
    `DifftoolError` if the tolerance is not reached, with the last change, and for bad options.
    """
    if not (0 < tolerance < math.inf and isinstance(most, int) and most >= 32):
        raise DifftoolError(
            f"a reference takes a tolerance > 0 and most >= 32 steps, got tolerance={tolerance}, most={most}"
        )
    x = x.detach().double()
    if not bool(torch.isfinite(x).all()):
        raise DifftoolError("the states x to start from are not finite")
    smooth = isinstance(model, GaussianMixture) and bool((model.variance > 0).all())
    with torch.no_grad():
        if not smooth:
            return _doubled(model.bind(path.schedule, cond), x, path, tolerance, most, strict)
        assert isinstance(model, GaussianMixture)
        if len(model.means) == 1 and not cond:
            return _closed(model, x, path[0], path[-1])
        model.bind(path.schedule, cond)(
            x, path[0]
        )  # raises for conditioning that it does not take
        return _dop853(model, x, path[0], path[-1], (cond or {}).get("label"))


def _closed(model: GaussianMixture, x: Tensor, first: Point, final: Point) -> Reference:
    m, v = model.means[0].to(x.device), model.variance[0].to(x.device)
    gain = (
        (final.alpha**2 * v + final.sigma**2) / (first.alpha**2 * v + first.sigma**2)
    ).sqrt()
    out = final.alpha * m + gain * (x - first.alpha * m)
    return Reference(out, errors(out, out), "exact")


def _dop853(
    model: GaussianMixture, x: Tensor, first: Point, final: Point, label: Any
) -> Reference:
    from scipy.integrate import solve_ivp

    def slope(s: float, state: Any) -> Any:
        y, p = torch.from_numpy(state).to(x.device).reshape(x.shape), Point(s, 1 - s, s)
        if s < 0.5:
            out = -(y + s * model.score(y, p, label)) / (1 - s)
        else:
            out = (y - model.x0(y, p, label)) / s
        return out.cpu().numpy().ravel()

    def solve(rtol: float) -> Tensor:
        start = (x / (first.alpha + first.sigma)).cpu().numpy().ravel()
        run = solve_ivp(
            slope, (first.flow, final.flow), start, method="DOP853", rtol=rtol, atol=rtol / 100
        )
        if not run.success:
            raise DifftoolError(f"no reference: {run.message}")
        return (final.alpha + final.sigma) * torch.from_numpy(run.y[:, -1].copy()).to(
            x.device
        ).reshape(x.shape)

    out = solve(RTOL)
    return Reference(out, errors(solve(30 * RTOL), out), "dop853")


def _doubled(
    model: BoundModel, x: Tensor, path: Path, tolerance: float, most: int, strict: bool
) -> Reference:
    low, high = sorted((path.times[0], path.times[-1]))
    noisiest = max(min(high, path.schedule.t_start(divides_by_alpha=True)), (low + high) / 2)
    ends = {"start": high, "end": low}

    def solve(steps: int) -> Tensor:
        grids = (
            FlowGrid(b=2.0, **ends),
            Quadratic(**ends),
            HalfLogSNR(start=noisiest, end=low, level_min=1e-3),
        )
        times = sorted(
            {t for grid in grids for t in grid(path.schedule, steps // 3)},
            reverse=path.downwards,
        )
        return _runge_kutta(model, x, Path(path.schedule, times))

    steps, coarse = 16, solve(16)
    while 2 * steps <= most:
        steps, before = 2 * steps, coarse
        coarse = solve(steps)
        change = errors(before, coarse)
        if change.rms <= tolerance or (not strict and 2 * steps > most):
            return Reference(coarse, change, "doubling")
    raise DifftoolError(
        f"no reference: the end points still move by {change.rms:.3g} (RMS; median {change.median:.3g}) from "
        f"{steps // 2} to {steps} steps, more than tolerance={tolerance:g}; raise tolerance or most={most}"
    )


def _runge_kutta(model: Callable[[Tensor, Point], Tensor], x: Tensor, path: Path) -> Tensor:
    """The classical Runge-Kutta method of order 4 for dy/ds."""

    def slope(y: Tensor, p: Point) -> Tensor:
        x0 = model((p.alpha + p.sigma) * y, p)
        # at sigma = 0 eps is 0, its limit for a smooth density
        if p.sigma > 0:
            return (y - x0) / p.flow
        return -y

    y = x / (path[0].alpha + path[0].sigma)
    for now, nxt in pairwise(path):
        h = nxt.flow - now.flow
        k1 = slope(y, now)
        if nxt.sigma == 0:
            y = y + h * k1
            continue
        middle = path.at(path.schedule.t_at_flow((now.flow + nxt.flow) / 2))
        k2 = slope(y + h / 2 * k1, middle)
        k3 = slope(y + h / 2 * k2, middle)
        k4 = slope(y + h * k3, nxt)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return (path[-1].alpha + path[-1].sigma) * y
