"""Measuring orders, on an exact model whose probability flow is known without solving it.

In one dimension the probability flow carries quantiles to quantiles: the exact state at a point p is F_p^{-1}(u) for a
fixed u. The data is a mixture of two Gaussians, so the flow is not linear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from difftool.errors import NotAffine
from difftool.plan.analysis import Array, Gaussian, error
from difftool.plan.plan import Plan
from difftool.plan.trace import trace
from difftool.samplers.base import Sampler
from difftool.schedules import Path, Point, Schedule, VPLinear

WEIGHTS, MEANS, STD = np.array([0.4, 0.6]), np.array([-0.8, 0.6]), 0.5
NOTHING = 1e-8  # in half-log-snr
ROUNDING = 3e-14  # smaller errors are not looked at
MOST_STEPS, SETTLED = 1024, 0.02  # how far the limit of an order over a run is followed
PROBES = np.array([0.03, 0.11, 0.27, 0.42, 0.58, 0.76, 0.93])  # quantiles that are followed
DATA = Gaussian.of([0.3, -0.5, 0.0], [0.5, 0.05, 1.5])  # for the order of the law


def one_step_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of one full step with exact values in its history: slope of the defect over the step, less 1."""
    steps = 0.32 / 2 ** np.arange(7)
    defects = [_step_defect(sampler, float(h), schedule or VPLinear()) for h in steps]
    return _slope(steps, defects) - 1


def global_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of the end point over a fixed interval, from the exact state, start-up included."""

    def error_of(n: int) -> float:
        path = _path(schedule or VPLinear(), np.linspace(-0.4, 0.4, n + 1))
        out = _end(sampler, path)
        return float(np.sqrt(((out - _exact(path[-1])) ** 2).mean()))

    return _limit(error_of)


def _end(sampler: Sampler, path: Path) -> Array:
    """Where a run from the exact state ends, by the plan or, where there is none, by the plain loop."""
    import torch

    try:
        return _evaluate(trace(sampler, path, "step"), {0: _exact(path[0])})
    except NotAffine:
        model = lambda x, p, outputs=1: torch.from_numpy(_x0(x.numpy()[:, 0], p))[:, None]  # noqa: E731
        x = torch.from_numpy(_exact(path[0]).copy())[:, None]  # a loop may write into it
        return sampler(model, x, path, lambda now=None, nxt=None: 0.0 * x).numpy()[:, 0]


def weak_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of the law of the end point on Gaussian data (W2, exact), over a fixed interval from the exact law."""

    def error_of(n: int) -> float:
        path = _path(schedule or VPLinear(), np.linspace(-1.5, 1.5, n + 1))
        return error(trace(sampler, path, "step"), DATA)

    return _limit(error_of)


def _limit(error_of: Callable[[int], float]) -> float:
    """The slope of log error over log steps, with more steps until it settles; infinite if only rounding is left."""
    before, slope, n = error_of(16), math.inf, 32
    while n <= MOST_STEPS:
        after = error_of(n)
        if after < ROUNDING:
            break
        last, slope = slope, math.log2(before / after)
        if abs(slope - last) < SETTLED:
            break
        before, n = after, 2 * n
    return slope


def _path(schedule: Schedule, half_log_snrs: Sequence[float] | Array) -> Path:
    return Path(schedule, [schedule.t_at_half_log_snr(float(v)) for v in half_log_snrs])


def _step_defect(sampler: Sampler, h: float, schedule: Schedule) -> float:
    """The mean error of the last of eight uneven steps of about h, all before it being exact.

    A step so small that it adds nothing follows, so that what a method corrects at the end of a step is in it.
    """
    lengths = h * np.array([0.9, 1.1, 1.0, 1.2, 0.85, 1.05, 0.95, 1.0])
    path = _path(schedule, [*(np.concatenate([[0.0], lengths.cumsum()]) - lengths.sum()), NOTHING])
    plan = trace(sampler, path, "step")
    final = len(path) - 3
    given = {r: _exact(row.point) for r, row in enumerate(plan.rows) if _before(row.index, row.kind, final)}
    states = np.array([_exact(p) for p in path[:-2]])
    return float(np.abs(_evaluate(plan, given, states) - _exact(path[-1])).mean())


def _before(index: int, kind: str, final: int) -> bool:
    return kind != "register" and (index < final or (index == final and kind == "grid"))


def _snap(value: Array, states: Array) -> Array:
    """A carried state (a corrected one) is put to the exact state that it stands for; other registers are left."""
    distances = np.abs(states - value).max(1)
    near, gap = int(distances.argmin()), np.abs(np.diff(states, axis=0)).max(1).min()
    return states[near] if distances[near] < 0.1 * gap else value


def _evaluate(plan: Plan, given: dict[int, Array], states: Array | None = None) -> Array:
    """The result of a plan at zero noise on the exact model; the states in `given` are put in place of the table's."""
    x: dict[int, Array] = {}
    m: dict[int, Array] = {}
    for r, row in enumerate(plan.rows):
        if r in given:
            x[r] = given[r]
        else:
            x[r] = sum((c * x[k] for k, c in row.x), np.zeros_like(PROBES))
            x[r] = sum((c * m[k] for (k, _), c in row.m), x[r])
            if states is not None and row.kind == "register" and row.index < len(states):
                x[r] = _snap(x[r], states)
        if row.channels:
            m[r] = _x0(x[r], row.point)
    return x[len(plan.rows) - 1]


def _moments(p: Point) -> tuple[Array, float]:
    return p.alpha * MEANS, float(np.sqrt((p.alpha * STD) ** 2 + p.sigma**2))


def _x0(x: Array, p: Point) -> Array:
    """E[x_0 | x_t = x]."""
    centres, std = _moments(p)
    logits = np.log(WEIGHTS) - 0.5 * ((x[:, None] - centres) / std) ** 2
    r = np.exp(logits - logits.max(1, keepdims=True))
    r /= r.sum(1, keepdims=True)
    return (r * (MEANS + p.alpha * STD**2 / std**2 * (x[:, None] - centres))).sum(1)


def _exact(p: Point) -> Array:
    """The quantiles of x_t at the probes; read-only."""
    return _quantiles(float(p.alpha), float(p.sigma))


@lru_cache(maxsize=4096)  # every sampler is asked about the same points
def _quantiles(alpha: float, sigma: float) -> Array:
    """By bisection to the last bit."""
    from scipy.special import ndtr

    centres, std = _moments(Point(0.0, alpha, sigma))
    low, high = np.full_like(PROBES, centres.min() - 9 * std), np.full_like(PROBES, centres.max() + 9 * std)
    for _ in range(80):
        middle = (low + high) / 2
        below = (WEIGHTS * ndtr((middle[:, None] - centres) / std)).sum(1) < PROBES
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found = (low + high) / 2
    found.flags.writeable = False
    return found


def _slope(steps: Array, errors: Sequence[float]) -> float:
    """The slope of log error over log step at the smallest steps; infinite if nothing is left but rounding."""
    pairs = [(h, e) for h, e in zip(steps, errors, strict=True) if e > ROUNDING]
    if len(pairs) < 2:
        return float("inf")
    (h, e), (smaller, less) = pairs[-2:]
    return float(np.log(e / less) / np.log(h / smaller))
