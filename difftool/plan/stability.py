"""Stability of a plan, and its amplification of network errors, both from the table alone.

Stability. Over a few equal steps h, so short that all variables are linear in the flow time
s = sigma / (alpha + sigma), a method is characterized by its effect on the linear velocity
dy/ds = kappa y, the answer x0 = x - s v. The stability interval is the largest z = kappa h up
to which no mode of the method grows (the flow decays as e^-z):

    the real interval       z on the positive real line: real eigenvalues, as of an exact score
    the complex interval    z anywhere in a disc {|z - r| <= r}: its diameter 2 r

(Euler: 2 and 2.) A run is stable if the Lipschitz constant of the network's velocity eps - x0,
which guidance multiplies, times the step of s is below this interval. Sources: Hairer & Wanner
1996, Solving ordinary differential equations II, chapters IV.2 and V.1; the disc: Spijker 1983,
Contractivity in the numerical solution of initial value problems, Numerische Mathematik 42.

Errors of the network. An error e_k of the network's output at row k is an error |c_out e_k| of
x0 (c_out = sigma / alpha if the network predicts eps) and contributes g_k e_k to the result. On
Gaussian data of a given variance, the g_k follow from the table; independent errors of unit
size add up to sqrt(sum_k g_k^2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from difftool.errors import DifftoolError
from difftool.plan.affine import Value
from difftool.plan.analysis import Array, Gaussian, beyond_x0, exact_x0, refuse_requests
from difftool.plan.plan import Plan
from difftool.plan.rows import last_uses
from difftool.plan.trace import trace
from difftool.samplers.base import Sampler
from difftool.schedules import Flow, Path, Point

STEPS, STEP = 48, 1e-5  # number and size of the steps of s, centered at 1/2
PERIODS = (1, 2, 3, 4)  # numbers of steps after which a method may repeat itself
GROWTH = 1e-4  # growth of a mode per step that counts as none
SMALLEST, LARGEST = 0.01, 60.0  # limits of the search for intervals
CLASSES = np.array([0.02, 0.05, 0.1, 0.25])  # variances of a class, in data of variance 1/2
ANGLES = np.linspace(0.05, 1.0, 24) * np.pi  # on the upper half of a circle, as plans are real


class Stability(NamedTuple):
    """The real and complex stability intervals, 0 if below `SMALLEST`, at most `LARGEST`."""

    real: float
    disc: float


def stability(sampler: Sampler) -> Stability | None:
    """The stability intervals of a sampler, or None if they are not known.

    That is, if it has no plan, does not run on this path, or asks for more than x0.
    """
    flow = Flow()
    middle = 0.5 + STEP * STEPS / 2
    path = Path(flow, [middle - STEP * i for i in range(STEPS + 1)])
    try:
        plan = trace(sampler, path, "step")
    except DifftoolError:
        return None
    if beyond_x0(plan) is not None:
        return None
    step = _one_step(plan)
    if step is None:
        return None
    return Stability(
        _interval(step, np.ones(1)), _interval(step, 0.5 * (1 - np.exp(1j * ANGLES)))
    )


def _interval(step: Callable[[Array], Array], directions: Array) -> float:
    """The largest factor up to which no mode grows, over multiples of all directions."""
    low, high = SMALLEST, LARGEST
    for _ in range(2):  # coarse, then fine
        factors = np.geomspace(low, high, 128)
        modes = np.abs(np.linalg.eigvals(step(np.outer(factors, directions).ravel()))).max(1)
        grows = modes.reshape(len(factors), -1).max(1) > 1 + GROWTH
        if not grows.any():
            return high
        first = int(grows.argmax())
        if first == 0:
            return 0.0
        low, high = factors[first - 1], factors[first]
    return float(low)


def _one_step(plan: Plan) -> Callable[[Array], Array] | None:
    """z (Z,) -> the matrices (Z, L, L) from the L live values at a grid point to the next ones.

    The next grid point is one period later. None if the live values do not repeat.
    """
    grid = [r for r, row in enumerate(plan.rows) if row.kind == "grid"]
    last, n = last_uses(plan.rows), STEPS // 2
    if len(grid) <= n + max(PERIODS):  # it does not evaluate the model at the grid points
        return None

    def alive(r: int) -> list[Value]:
        """The live values by age, including the row itself and its answer."""
        return sorted(v for v, use in last.items() if v.kind != "z" and v.number <= r < use)

    def offsets(r: int) -> list[Value]:
        return [v._replace(number=v.number - r) for v in alive(r)]

    period = next((k for k in PERIODS if offsets(grid[n]) == offsets(grid[n + k])), None)
    if period is None:
        return None
    first, final = grid[n], grid[n + period]

    def matrices(z: Array) -> Array:
        begin = alive(first)
        unit = np.broadcast_to(np.eye(len(begin)), (len(z), len(begin), len(begin)))
        known = {value: unit[:, i] for i, value in enumerate(begin)}
        kappa = z[:, None] / STEP
        for r in range(first + 1, final + 1):
            row = plan.rows[r]
            terms = [c * known[value] for value, c in row.terms() if value.kind != "z"]
            known[Value("x", r)] = sum(terms, np.zeros_like(unit[:, 0]))
            if row.channels:
                known[Value("m", r, 0)] = known[Value("x", r)] * (1 - row.point.sigma * kappa)
        return np.stack([known[value] for value in alive(final)], 1)

    return matrices


def error_gains(plan: Plan, out: Callable[[Point], float], variance: float = 0.5) -> Array:
    """|g_k| for each evaluation of the plan: the effect of a network error of 1 on the result.

    out: |c_out| of the network at a point, the factor from its error to that of x0
    (`models.parametrization.errors_of`). variance: of the data, N(0, variance).
    """
    data = Gaussian.of(0.0, variance)
    _, answer, _ = _gains(plan, lambda p: exact_x0(data, p)[1])
    asked = [r for r, row in enumerate(plan.rows) if row.channels]
    return np.array([abs(answer[r, 0]) * out(plan.rows[r].point) for r in asked])


def amplification(plan: Plan, out: Callable[[Point], float], variance: float = 0.5) -> float:
    """The effect of independent unit errors of all answers on the result: sqrt(sum_k g_k^2)."""
    return float(np.sqrt((error_gains(plan, out, variance) ** 2).sum()))


def guided_growth(plan: Plan, scale: float) -> float:
    """The size of guided samples relative to the data, for Gaussian data and narrower classes.

    With the slopes b_u and b_c of the exact models of the data, N(0, 1/2), and of a class,
    N(0, v), the guided estimate is x0 = (w b_c - (w - 1) b_u) x, steeper by w where the noise
    is about as large as the data. The result is the standard deviation at the end, including
    all noise, divided by that of the data there, the largest over several v: at most 1 for a
    run that follows its flow, infinite if it overflows. On trained networks, runs with more
    than 1.5 are wrong by as much as the data are large. 0 for runs from data to noise, which
    are not covered.
    """
    first, final = plan.rows[0].point, plan.rows[-1].point
    if final.flow > first.flow:
        return 0.0
    narrow = Gaussian.of(0.0, CLASSES)
    wide = Gaussian.of(0.0, np.full(len(CLASSES), 0.5))

    def slopes(p: Point) -> Array:
        return scale * exact_x0(narrow, p)[1] - (scale - 1) * exact_x0(wide, p)[1]

    with np.errstate(over="ignore", invalid="ignore"):
        state, _, noise = _gains(plan, slopes)
        sources = np.concatenate([first.sigma * state[:1], noise])
        size = math.hypot(final.alpha * math.sqrt(0.5), final.sigma)
        growth = float(np.linalg.norm(sources, axis=0).max()) / size
    if math.isfinite(growth):
        return growth
    return math.inf


def _gains(plan: Plan, slopes: Callable[[Point], Array]) -> tuple[Array, Array, Array]:
    """The derivative of a plan's result by every state (rows, n), answer (rows, n) and noise.

    slopes: d x0 / d x at a point, of n linear models. One backward pass over the plan.
    `DifftoolError` if it asks for more than x0.
    """
    refuse_requests(plan)
    count = len(slopes(plan.rows[0].point))
    state, answer = np.zeros((2, len(plan.rows), count))
    noise = np.zeros((len(plan.noises), count))
    state[-1] = 1.0
    for r in reversed(range(len(plan.rows))):
        row = plan.rows[r]
        if row.channels:
            state[r] += answer[r] * slopes(row.point)
        for k, c in row.x:
            state[k] += c * state[r]
        for (k, _), c in row.m:
            answer[k] += c * state[r]
        for j, c in row.z:
            noise[j] += c * state[r]
    return state, answer, noise
