"""stork: stabilized Runge-Kutta stages between evaluations, on extrapolated answers.

The stages of the Runge-Kutta-Gegenbauer method of order 2 (RKG2), for dy/du = f(u, y) over h
with s stages,

    Y_0 = y,    Y_1 = y + w h f_0,    Y_j = mu Y_{j-1} + nu Y_{j-2} + (1 - mu - nu) y + mu w h f_{j-1} + gamma h f_0

    w = 6 / ((s + 4) (s - 1)),    mu = (2 j + 1) b_j / (j b_{j-1}),    nu = -(j + 1) b_j / (j b_{j-2}),
    gamma = -mu w (1 - j (j + 1) b_{j-1} / 2),    b_0 = 1,  b_1 = 1/3,  b_j = 4 (j-1) (j+4) / (3 j (j+1) (j+2) (j+3))

at c_0 = 0, c_1 = c_2 and c_j = (j - 1) (j + 4) / ((s - 1) (s + 4)), have a stability interval
that grows as s^2. They do not evaluate the network: its answer there is extrapolated from the
answers at the grid points. In t the answer is eps, and the stages stabilize the linear part
f(t) y of the drift. In the flow time, dy/ds = eps - x0 has no linear part to stabilize: any
stages integrate the extrapolated polynomial, exactly up to their order, and the method is
Adams-Bashforth. Sources: Tan et al. 2025 (arXiv 2505.24210); Skaras et al. 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from difftool.samplers.adams import Adams, flow_ab
from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.currencies import EPS, FLOW_VELOCITY
from difftool.samplers.interpolate import History, combine, lagrange, nodes_of
from difftool.samplers.ode import ProbabilityFlow
from difftool.samplers.options import check_choice, check_order, check_whole
from difftool.schedules.base import Point
from difftool.schedules.path import Path

Array = Any  # of numpy, float64: one number for each stage


@dataclass(frozen=True)
class Stork(ProbabilityFlow):
    """STORK-2, stabilized Taylor orthogonal Runge-Kutta of order 2 on extrapolated answers.

    One evaluation per step, order 2; the first step has only one answer and is of order 1. The
    published code takes its RKG2 stages at c_j = (j^2 + j - 2) / (s^2 + s - 2), the times of
    another family (Legendre), and has order 1: it misses 2% of the second-order term with
    50 stages, 12% with 5. Here they are at the times of the recurrence itself. Options:

    variable: `t`, which extrapolates eps, or `flow`, which extrapolates the velocity and is
        then `flow-ab` of order 2 if derivatives = 1.
    stages: stages per step, s (3 to 1000).
    derivatives: degree of the extrapolation, 1, 2 or 3; lower while the history is short.

    Raises `DifftoolError` for other values.
    """

    variable: Literal["t", "flow"] = "t"
    stages: int = 50
    derivatives: int = 1

    name = "stork"
    accuracy = 2
    reference = (
        "Tan et al. 2025, STORK: Faster diffusion and flow matching sampling by resolving both stiffness and "
        "structure-dependence, arXiv 2505.24210; RKG2: Skaras et al. 2021, Journal of Computational Physics 425"
    )

    def __post_init__(self) -> None:
        check_choice("stork", "variable", self.variable, Literal["t", "flow"])
        check_order("stork", self.derivatives, range(1, 4), "derivatives", none=False)
        check_whole("stork", "stages", self.stages, 3, 1000)

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        currency = {"t": EPS, "flow": FLOW_VELOCITY}[self.variable]
        known: History = []
        for now, nxt in pairwise(path):
            answer = currency.answer(x, model(x, now), now)
            known = [(now, answer), *known][: self.derivatives + 1]
            kept, w = self._weights(now, nxt, nodes_of(known), path)
            x = combine(self.scale(nxt) * kept / self.scale(now), x, w, known)
        return x

    def _weights(
        self, now: Point, nxt: Point, nodes: list[Point], path: Path
    ) -> tuple[float, list[float]]:
        """The multiples of y and of each known answer that RKG2 makes from now to nxt."""
        import numpy as np

        u = self.coordinate(now)
        h = self.coordinate(nxt) - u
        times = u + np.array([0.0, *(stage.time for stage in rkg2(self.stages))]) * h
        drift, forcing = self._field(times, path)
        kept = _run(self.stages, h, 1.0, drift, 0.0 * drift)
        basis = lagrange([self.coordinate(p) for p in nodes], times)
        scale = self.scale(nxt)
        return kept, [
            scale * _run(self.stages, h, 0.0, drift, forcing * part) for part in basis
        ]

    def _field(self, times: Array, path: Path) -> tuple[Array, Array]:
        """dy/du = drift y + forcing q at the stages, q the answer extrapolated to them."""
        import numpy as np

        if self.variable == "flow":
            return np.zeros_like(times), np.ones_like(times)
        p = path.schedule.at(times)
        noisy = p.sigma > 0
        forcing = np.zeros_like(times)
        np.divide(path.diffusion2(p), 2 * p.sigma, out=forcing, where=noisy)
        return path.drift(p) + 0.0 * times, forcing


class Stage(NamedTuple):
    """A stage of RKG2: where its slope is, as a part of the step, and its coefficients."""

    time: float
    mu: float
    nu: float
    gamma: float


@cache
def rkg2(s: int) -> tuple[Stage, ...]:
    """The stages 2 .. s of the method with s stages."""
    w = _w(s)
    out = []
    for j in range(2, s + 1):
        time = (j - 2) * (j + 3) / ((s - 1) * (s + 4))
        if j == 2:
            time = w
        mu, nu = (2 * j + 1) * _b(j) / (j * _b(j - 1)), -(j + 1) * _b(j) / (j * _b(j - 2))
        gamma = -mu * w * (1 - j * (j + 1) * _b(j - 1) / 2)
        out.append(Stage(time, mu, nu, gamma))
    return tuple(out)


def _run(s: int, h: float, y: float, drift: Array, source: Array) -> float:
    """RKG2 on dy/du = drift y + source, with these at the stages."""
    w, slopes = _w(s) * h, zip(drift[1:].tolist(), source[1:].tolist(), strict=True)
    f0 = float(drift[0] * y + source[0])
    before, last = y, y + w * f0
    for (_, mu, nu, gamma), (a, b) in zip(rkg2(s), slopes, strict=True):
        f = a * last + b
        before, last = (
            last,
            mu * last + nu * before + (1 - mu - nu) * y + mu * w * f + gamma * h * f0,
        )
    return last


def _w(s: int) -> float:
    return 6 / ((s + 4) * (s - 1))


def _b(j: int) -> float:
    if j == 0:
        return 1.0
    if j == 1:
        return 1 / 3
    return 4 * (j - 1) * (j + 4) / (3 * j * (j + 1) * (j + 2) * (j + 3))


def stork_4(derivatives: int | None = None) -> Adams:
    """STORK-4 in the flow time, where its Runge-Kutta stages reduce to Adams-Bashforth.

    The ROCK4 stages of the stabilized Taylor orthogonal Runge-Kutta method of order 4 integrate
    the extrapolated velocity, a polynomial of degree `derivatives` (1, 2 or 3; none: 2, or
    lower in short runs), exactly: it is `flow-ab` of order derivatives + 1. (The published code
    takes second and third derivatives with the weights of equal steps.) Source: Tan et al.
    2025, arXiv 2505.24210.
    """
    check_order("stork-4", derivatives, range(1, 4), "derivatives")
    if derivatives is None:
        return flow_ab()
    return flow_ab(derivatives + 1)
