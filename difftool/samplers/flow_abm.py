"""flow-abm: Adams-Bashforth-Moulton in the flow time, one evaluation per step.

In s = sigma / (alpha + sigma) and y = x / (alpha + sigma) the probability flow is
dy/ds = v = eps - x0, regular at both ends. The velocity is evaluated at the predicted state and
never again (PEC mode). The corrector uses it; the result is the last prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from difftool.grids import FlowGrid, Grid
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State
from difftool.samplers.currencies import FLOW_VELOCITY
from difftool.samplers.interpolate import History, advance
from difftool.samplers.options import check_order
from difftool.samplers.variables import FLOW_TIME
from difftool.schedules.base import Point
from difftool.schedules.path import Path

HIGHER = 40, 80, 160  # numbers of steps from which one order more is stable


@dataclass(frozen=True)
class FlowABM(Sampler):
    """Adams-Bashforth-Moulton predictor-corrector on the flow velocity, in the flow time.

    predictor   yp_{i+1} = y_i + sum_j v_j int L_j ds      over [s_i, s_{i+1}], the newest min(p, i+1, N-i+1) velocities
    corrector   y_i = y_{i-1} + sum_j v_j int L_j ds       over [s_{i-1}, s_i], the newest min(p+1, i+1, N-i+2)

    with v_i = eps - x0 at the predicted state yp_i and L_j the Lagrange polynomials in
    s = sigma / (alpha + sigma). One evaluation per step. Order p + 1 within a run; order 3 in
    the last, tapered steps, and over a run that does not start in noise. Its default grid is
    flow with a = 4/3, b = 5/3. Option: `order`, p (1 to 5; none: 2 below 40 steps, 3 below 80,
    4 below 160, then 5, because each order halves the steepness that is stable: 1, 0.55, 0.30,
    0.16, 0.09 over the step). Raises `DifftoolError` for other orders.
    """

    order: int | None = None

    name = "flow-abm"
    grid: ClassVar[Grid | None] = FlowGrid(a=4 / 3, b=5 / 3)
    reference = (
        "this project; Adams, Bashforth & Moulton 1883, 1926; flow velocity: Lipman et "
        "al. 2022, arXiv 2210.02747"
    )

    def __post_init__(self) -> None:
        check_order("flow-abm", self.order, range(1, 6))

    @property
    def accuracy(self) -> float:
        if self.order == 1:
            return 2
        return 3  # of the last corrected step, which is tapered

    @property
    def needs_steps(self) -> int:
        return self.order or 1

    def order_for(self, steps: int) -> int:
        """The predictor's order p in a run of `steps` steps."""
        if self.order is not None:
            return self.order
        return 2 + sum(steps >= limit for limit in HIGHER)

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        n = len(path) - 1
        p = self.order_for(n)
        v: History = []
        y, before = x, None
        for i, (now, nxt) in enumerate(pairwise(path)):
            v = [(now, FLOW_VELOCITY.answer(x, model(x, now), now)), *v][: p + 1]
            if before is None:
                y = x
            else:
                y = _integrate(y, before, now, v[: min(p + 1, i + 1, n - i + 2)], path)
            x = _integrate(y, now, nxt, v[: min(p, i + 1, n - i + 1)], path)
            before = now
        return x


def _integrate(y: State, a: Point, b: Point, v: History, path: Path) -> State:
    """The state at b from y at a, by integrating the interpolated velocities."""
    return advance(y, a, b, v, path, FLOW_VELOCITY, FLOW_TIME)
