"""Exact analysis of a plan on Gaussian data, without a network and without sampling.

For x_0 ~ N(mu, lambda) (one eigendirection of the covariance; arrays hold all of them) the
exact model is affine at every point,

    x0(x) = mu + (alpha lambda / v) (x - alpha mu),     v = alpha^2 lambda + sigma^2,

so every value of a plan is a Gaussian whose mean and covariances follow from the table. Only
live values are tracked: a thousand steps in 64 directions take a tenth of a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from difftool.errors import DifftoolError
from difftool.plan.affine import Value
from difftool.plan.plan import Plan
from difftool.plan.rows import Row, last_uses
from difftool.schedules.base import Point

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with independent directions: mean and variance, arrays (D,)."""

    mean: Array
    variance: Array

    @classmethod
    def of(cls, mean: Any, variance: Any) -> Gaussian:
        """A Gaussian from numbers or sequences, broadcast to one length."""
        m, v = np.broadcast_arrays(np.asarray(mean, float), np.asarray(variance, float))
        return cls(np.atleast_1d(m).copy(), np.atleast_1d(v).copy())

    def at(self, p: Point) -> Gaussian:
        """The distribution of x_t = alpha x_0 + sigma eps."""
        return Gaussian(p.alpha * self.mean, p.alpha**2 * self.variance + p.sigma**2)

    def w2(self, other: Gaussian) -> float:
        """The 2-Wasserstein distance sqrt(sum (m - m')^2 + (s - s')^2); same directions."""
        std = np.sqrt(self.variance) - np.sqrt(other.variance)
        return float(np.sqrt(((self.mean - other.mean) ** 2 + std**2).sum()))


def exact_x0(data: Gaussian, p: Point) -> tuple[Array, Array]:
    """(a, b) of the exact model x0(x) = a + b x at p."""
    v = p.alpha**2 * data.variance + p.sigma**2
    b = p.alpha * data.variance / v
    return data.mean * (1 - p.alpha * b), b


def output_law(plan: Plan, data: Gaussian, start: Gaussian | None = None) -> Gaussian:
    """The distribution of the plan's result on the exact model of Gaussian data.

    start: that of the input state; default: the exact one at the plan's first point.
    """
    return _Carrier(plan, data, start or data.at(plan.rows[0].point)).result()


def laws(plan: Plan, data: Gaussian, start: Gaussian | None = None) -> Iterator[Gaussian]:
    """The distribution of every row's state in turn; otherwise like `output_law`."""
    return _Carrier(plan, data, start or data.at(plan.rows[0].point)).laws()


def output_map(plan: Plan, data: Gaussian) -> tuple[Array, Array]:
    """(offset, gain), each (D,), of the result as a function of the input, without noise."""
    size = len(data.mean)
    zero, one = np.zeros(size), np.ones(size)
    offset = _Carrier(plan, data, Gaussian(zero, zero)).result().mean
    return offset, _Carrier(plan, data, Gaussian(one, zero)).result().mean - offset


def exact_map(plan: Plan, data: Gaussian) -> tuple[Array, Array]:
    """(offset, gain) of the exact probability flow, which maps quantiles to quantiles."""
    first, final = data.at(plan.rows[0].point), data.at(plan.rows[-1].point)
    gain = np.sqrt(final.variance / first.variance)
    return final.mean - gain * first.mean, gain


def error(plan: Plan, data: Gaussian) -> float:
    """W2 from the plan's output, for an exact start, to the exact distribution at its end."""
    return output_law(plan, data).w2(data.at(plan.rows[-1].point))


def path_error(plan: Plan, data: Gaussian) -> float:
    """RMS distance per direction from a deterministic plan's end points to the exact flow's."""
    start = data.at(plan.rows[0].point)
    (o, g), (eo, eg) = output_map(plan, data), exact_map(plan, data)
    mean = (o - eo) + (g - eg) * start.mean
    return float(np.sqrt((mean**2 + (g - eg) ** 2 * start.variance).mean()))


def prior_mismatch(plan: Plan, data: Gaussian) -> float:
    """W2 between the prior N(0, sigma^2) and the true distribution at the plan's start."""
    p = plan.rows[0].point
    return Gaussian.of(np.zeros_like(data.mean), p.sigma**2).w2(data.at(p))


def beyond_x0(plan: Plan) -> str | None:
    """Why the analysis does not apply: an evaluation that asks for more than x0; else None."""
    more = next((row.request for row in plan.rows if row.request and not row.plain), None)
    if more is None:
        return None
    if len(more.answers) > 1:
        return "the Gaussian analysis needs one output per evaluation, but this plan has more"
    return f"the Gaussian analysis covers x0 under the run's own condition, but this plan asks for {more}"


def refuse_requests(plan: Plan) -> None:
    """Raise `DifftoolError` if an evaluation of the plan asks for more than x0."""
    reason = beyond_x0(plan)
    if reason is not None:
        raise DifftoolError(reason)


class _Carrier:
    """Tracks means and covariances of the live values, row by row."""

    def __init__(self, plan: Plan, data: Gaussian, start: Gaussian):
        self.plan, self.data = plan, data
        self.last_use = last_uses(plan.rows)
        self.slots: dict[Value, int] = {}
        self.mean = np.zeros((8, len(data.mean)))
        self.cov = np.zeros((8, 8, len(data.mean)))
        self._put(Value("x", 0), start.mean, np.zeros_like(self.mean), start.variance)

    def result(self) -> Gaussian:
        return deque(self.laws(), maxlen=1)[0]

    def laws(self) -> Iterator[Gaussian]:
        refuse_requests(self.plan)
        for r, row in enumerate(self.plan.rows):
            if r:
                self._row(r, row)
            i = self.slots[Value("x", r)]
            yield Gaussian(self.mean[i].copy(), np.maximum(self.cov[i, i], 0.0))
            if row.channels:
                a, b = exact_x0(self.data, row.point)
                i = self.slots[Value("x", r)]
                self._put(
                    Value("m", r),
                    a + b * self.mean[i],
                    b * self.cov[i],
                    b * b * self.cov[i, i],
                )
            for source in [s for s in self.slots if self.last_use.get(s, -1) <= r]:
                del self.slots[source]

    def _row(self, r: int, row: Row) -> None:
        zero = np.zeros_like(self.mean)
        for j, _ in row.z:
            if Value("z", j) not in self.slots:
                self._put(Value("z", j), zero[0], zero, np.ones_like(zero[0]))
                zero = np.zeros_like(self.mean)
        weights = np.zeros(len(self.mean))
        for source, c in row.terms():
            weights[self.slots[source]] = c
        cross = np.tensordot(weights, self.cov, 1)
        self._put(Value("x", r), weights @ self.mean, cross, weights @ cross)

    def _put(self, source: Value, mean: Array, cross: Array, variance: Array) -> None:
        """Store a new value with its covariances (slots, D) to the others."""
        used = set(self.slots.values())
        slot = next((i for i in range(len(self.mean)) if i not in used), len(self.mean))
        if slot == len(self.mean):
            self.mean = np.concatenate([self.mean, np.zeros_like(self.mean)])
            self.cov = np.pad(self.cov, ((0, slot), (0, slot), (0, 0)))
            cross = np.concatenate([cross, np.zeros_like(cross)])
        self.mean[slot] = mean
        self.cov[slot], self.cov[:, slot] = cross, cross
        self.cov[slot, slot] = variance
        self.slots[source] = slot
