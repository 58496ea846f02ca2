"""Measuring orders, on an exact model whose probability flow is known without solving it.

In one dimension the probability flow carries quantiles to quantiles: the exact state at a point p is F_p^{-1}(u) for a
fixed u. The data is a mixture of two Gaussians, so the flow is not linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from difftool.plan.analysis import Array, Gaussian, error
from difftool.plan.plan import Plan
from difftool.plan.trace import trace
from difftool.samplers.base import Sampler
from difftool.schedules import Path, Point, Schedule, VPLinear

WEIGHTS, MEANS, STD = np.array([0.4, 0.6]), np.array([-0.8, 0.6]), 0.5
PROBES = np.array([0.03, 0.11, 0.27, 0.42, 0.58, 0.76, 0.93])  # quantiles that are followed
DATA = Gaussian.of([0.3, -0.5, 0.0], [0.5, 0.05, 1.5])  # for the order of the law


def one_step_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of one full step with exact values in its history: slope of the defect over the step, less 1."""
    steps = np.array([0.32, 0.16, 0.08, 0.04])
    defects = [_step_defect(sampler, float(h), schedule or VPLinear()) for h in steps]
    return _slope(steps, defects) - 1


def global_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of the end point over a fixed interval, from the exact state, start-up included."""
    counts = np.array([16, 32, 64, 128])
    errors = []
    for n in counts:
        path = _path(schedule or VPLinear(), np.linspace(-1.5, 1.5, n + 1))
        out = _evaluate(trace(sampler, path, "step"), {0: _exact(path[0])})
        errors.append(float(np.sqrt(((out - _exact(path[-1])) ** 2).mean())))
    return _slope(3.0 / counts, errors)


def weak_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of the law of the end point on Gaussian data (W2, exact), over a fixed interval from the exact law."""
    counts = np.array([32, 64, 128, 256])
    errors = []
    for n in counts:
        path = _path(schedule or VPLinear(), np.linspace(-1.5, 1.5, n + 1))
        errors.append(error(trace(sampler, path, "step"), DATA))
    return _slope(3.0 / counts, errors)


def _path(schedule: Schedule, half_log_snrs: Sequence[float] | Array) -> Path:
    return Path(schedule, [schedule.t_at_half_log_snr(float(v)) for v in half_log_snrs])


def _step_defect(sampler: Sampler, h: float, schedule: Schedule) -> float:
    """The mean error of the last of eight uneven steps of about h, all before it being exact."""
    lengths = h * np.array([0.9, 1.1, 1.0, 1.2, 0.85, 1.05, 0.95, 1.0])
    path = _path(schedule, np.concatenate([[0.0], lengths.cumsum()]) - lengths.sum())
    plan = trace(sampler, path, "step")
    final = len(path) - 2
    given = {r: _exact(row.point) for r, row in enumerate(plan.rows) if _before(row.index, row.kind, final)}
    return float(np.abs(_evaluate(plan, given) - _exact(path[-1])).mean())


def _before(index: int, kind: str, final: int) -> bool:
    return index < final or (index == final and kind == "grid")


def _evaluate(plan: Plan, given: dict[int, Array]) -> Array:
    """The result of a plan at zero noise on the exact model; the states in `given` are put in place of the table's."""
    x: dict[int, Array] = {}
    m: dict[int, Array] = {}
    for r, row in enumerate(plan.rows):
        if r in given:
            x[r] = given[r]
        else:
            x[r] = sum((c * x[k] for k, c in row.x), np.zeros_like(PROBES))
            x[r] = sum((c * m[k] for (k, _), c in row.m), x[r])
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
    """The quantiles of x_t at the probes, by bisection to the last bit."""
    from scipy.special import ndtr

    centres, std = _moments(p)
    low, high = np.full_like(PROBES, centres.min() - 9 * std), np.full_like(PROBES, centres.max() + 9 * std)
    for _ in range(80):
        middle = (low + high) / 2
        below = (WEIGHTS * ndtr((middle[:, None] - centres) / std)).sum(1) < PROBES
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _slope(steps: Array, errors: Sequence[float]) -> float:
    """The median local slope of log error over log step; infinite if nothing is left but rounding."""
    pairs = [(h, e) for h, e in zip(steps, errors, strict=True) if e > 1e-14]
    if len(pairs) < 2:
        return float("inf")
    local = [np.log(a[1] / b[1]) / np.log(a[0] / b[0]) for a, b in pairwise(pairs)]
    return float(np.median(local[-2:]))
