"""An exact model whose probability flow is known in closed form, on which orders are measured.

In one dimension the probability flow carries quantiles to quantiles: the exact state at a point
p is F_p^{-1}(u) for a fixed u. The data is a mixture of two Gaussians, so the flow is not
linear. Data scaled by c behaves at noise level c as unscaled data does at level 1, so a sampler
can be measured equally well at every level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from difftool.plan.analysis import Array, Gaussian, laws
from difftool.plan.plan import Plan
from difftool.schedules import Path, Point

WEIGHTS, MEANS, STD = np.array([0.4, 0.6]), np.array([-0.8, 0.6]), 0.5
PROBES = np.array([0.03, 0.11, 0.27, 0.42, 0.58, 0.76, 0.93])  # quantiles
# how close a register must be to a state, or to a multiple of one, to count as that
A_STATE, A_MULTIPLE = 0.01, 1e-9


@dataclass(frozen=True)
class Mixture:
    """A mixture of two Gaussians in one dimension, scaled by `scale`."""

    scale: float = 1.0

    def x0(self, x: Array, p: Point) -> Array:
        """E[x_0 | x_t = x], (N,); p holds numbers or arrays (N,)."""
        alpha, sigma = (
            np.asarray(p.alpha).reshape(-1, 1) * self.scale,
            np.asarray(p.sigma).reshape(-1, 1),
        )
        centres, std = alpha * MEANS, np.sqrt((alpha * STD) ** 2 + sigma**2)
        logits = np.log(WEIGHTS) - 0.5 * ((x[:, None] - centres) / std) ** 2
        r = np.exp(logits - logits.max(1, keepdims=True))
        r /= r.sum(1, keepdims=True)
        means = MEANS + alpha * STD**2 / std**2 * (x[:, None] - centres)
        return self.scale * (r * means).sum(1)

    def at(self, p: Point) -> Array:
        """The quantiles of x_t at `PROBES`; read-only."""
        return _quantiles(float(p.alpha * self.scale), float(p.sigma))

    def error(self, x: Array, p: Point) -> Array:
        """The distance of states from the exact ones at p, in units of the data."""
        return np.abs(x - self.at(p)) / (p.alpha * self.scale)


@lru_cache(maxsize=4096)  # all samplers share the same points
def _quantiles(alpha: float, sigma: float) -> Array:
    """Quantiles of the mixture, by bisection to the last bit."""
    from scipy.special import ndtr

    centres, std = alpha * MEANS, math.hypot(alpha * STD, sigma)
    low, high = (
        np.full_like(PROBES, centres.min() - 9 * std),
        np.full_like(PROBES, centres.max() + 9 * std),
    )
    for _ in range(80):
        middle = (low + high) / 2
        below = (WEIGHTS * ndtr((middle[:, None] - centres) / std)).sum(1) < PROBES
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found = (low + high) / 2
    found.flags.writeable = False
    return found


def run(plan: Plan, data: Mixture, history: dict[int, Array]) -> Array:
    """The result of a plan without noise; rows in `history` take their state from there."""
    x: dict[int, Array] = {}
    m: dict[int, Array] = {}
    for r, row in enumerate(plan.rows):
        if r in history:
            x[r] = history[r]
        else:
            x[r] = sum((c * x[k] for k, c in row.x), np.zeros_like(PROBES))
            x[r] = sum((c * m[k] for (k, _), c in row.m), x[r])
        if row.channels:
            m[r] = data.x0(x[r], row.point)
    return x[len(plan.rows) - 1]


def exact_history(plan: Plan, path: Path, final: int, data: Mixture) -> dict[int, Array]:
    """The exact states of all rows that hold a state of the path, up to its point `final`."""
    held = {
        r: path[row.index]
        for r, row in enumerate(plan.rows)
        if row.kind == "grid" and row.index <= final
    }
    held |= {
        r: row.point
        for r, row in enumerate(plan.rows)
        if row.kind == "stage" and row.index < final
    }
    carried = {
        r: scale * data.at(path[i]) for r, i, scale in _stand_ins(plan, path) if i <= final
    }
    return {r: data.at(p) for r, p in held.items()} | carried


def _stand_ins(plan: Plan, path: Sequence[Point]) -> list[tuple[int, int, float]]:
    """Registers that hold a multiple of a state, as (row, point of the path, multiple).

    The state is that of their own point or of the next, for example one that was corrected, or
    x / (alpha + sigma) as a loop may carry it. They are recognized on data that is a single
    point. Other registers hold combinations that are not states.
    """
    if all(row.kind != "register" for row in plan.rows):
        return []
    point = Gaussian.of(1.0, 0.0)
    out = []
    for r, (row, law) in enumerate(
        zip(plan.rows, laws(plan, point, point.at(path[0])), strict=True)
    ):
        if row.kind == "register":
            mean, std = float(law.mean[0]), float(np.sqrt(law.variance[0]))
            found = [(*_multiple(path[i], mean, std), i) for i in (row.index, row.index + 1)]
            far, scale, i = min(found)
            here = _apart(path[row.index], mean, std, 1.0)
            if far < A_MULTIPLE:
                out.append((r, i, scale))
            elif here < A_STATE:
                out.append((r, row.index, 1.0))
    return out


def _multiple(p: Point, mean: float, std: float) -> tuple[float, float]:
    """(distance, c): the multiple c of the state at p that is nearest to mean and std."""
    if mean < 0:
        sign = -1.0
    else:
        sign = 1.0
    c = (sign * mean * p.alpha + std * p.sigma) / (p.alpha**2 + p.sigma**2)
    return _apart(p, sign * mean, std, c), sign * c


def _apart(p: Point, mean: float, std: float, c: float) -> float:
    """The distance of mean and std from c alpha and c sigma, in units of c times the state."""
    far = max(abs(mean - c * p.alpha), abs(std - c * p.sigma))
    if c:
        return far / (c * (p.alpha + p.sigma))
    return math.inf
