"""What the multistep families share: the order, how the history starts, and how the run ends.

    order   the most answers in one polynomial; none: the family's default, lower in short runs
    start   ramp: orders 1, 2, 3, .. until the history is long enough, at no extra cost
            runge-kutta: the first steps by the classical method of order 4 in the flow time, as
            accurate as the method itself, at three extra evaluations per step
    taper   orders .., 3, 2, 1 in the last steps, which reduces the amplification of the
            network's error at the end

A step of order p < order at either end adds an error of O(h^(p+1)) once. With `ramp` a run
therefore has order 2 however high `order` is, unless it starts in pure noise, where everything
is constant and nothing is lost; `runge-kutta` keeps the order.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, free_evaluations
from difftool.samplers.interpolate import History
from difftool.samplers.ode import ProbabilityFlow
from difftool.samplers.options import check_choice, check_order
from difftool.samplers.runge_kutta import Euler
from difftool.samplers.tableau import CLASSICAL, rk_step
from difftool.schedules.base import Point
from difftool.schedules.path import Path

Start = Literal["ramp", "runge-kutta"]

_FLOW_TIME: ProbabilityFlow = Euler()  # the ODE in the flow time


@dataclass(frozen=True)
class Multistep(Sampler):
    """A method that keeps a history of answers; families define their name and orders."""

    order: int | None = None
    start: Start = "ramp"
    taper: bool = False

    orders: ClassVar[range] = range(1, 6)

    def __post_init__(self) -> None:
        check_order(self.name, self.order, self.orders)
        check_choice(self.name, "start", self.start, Start)
        if self.stochastic and self.start != "ramp":
            raise DifftoolError(
                f"{self.name} takes start ramp with noise, got {self.start}; turn the noise off to use it"
            )

    @property
    def usual(self) -> int:
        """The order if none is given."""
        return 3

    @property
    def full(self) -> int:
        """The order once the history is long enough."""
        if self.order is None:
            return self.usual
        return self.order

    @property
    def step_order(self) -> int:
        """The order of one step, including the last ones: at most 2 if they taper."""
        if self.taper:
            return min(self.full, 2)
        return self.full

    @property
    def accuracy(self) -> float | None:
        return self.step_order

    @property
    def global_order(self) -> float | None:
        if self.accuracy is None:
            return None
        if self.taper or self.start == "ramp":
            return min(self.full, 2)
        return self.full

    @property
    def needs_steps(self) -> int:
        return self.order or 1

    @property
    def evaluations(self) -> int | None:
        return 1

    def order_at(self, i: int, path: Path) -> int:
        """The order of step i = 0, 1, .. of the path."""
        order = min(self.full, i + 1)
        if self.taper:
            order = min(order, len(path) - 1 - i)
        return order

    def starts(self, i: int, nxt: Point) -> bool:
        """Whether step i is one of the accurate starting steps."""
        return self.start == "runge-kutta" and i < self.full - 1 and nxt.sigma > 0

    def nfe(self, path: Path) -> int:
        """One evaluation per step, four in accurate starting steps; none at sigma = 0."""
        total = 0
        for i, nxt in enumerate(path[1:]):
            total += 4 if self.starts(i, nxt) else 1
        return total - free_evaluations(path)


class Predictor(Multistep):
    """A multistep method without a corrector: a family defines what it keeps, and its step."""

    def answer(self, x: State, x0: State, p: Point) -> State:
        """The quantity kept in the history, from the estimate of x0 at p."""
        return x0

    @abstractmethod
    def step(
        self, x: State, now: Point, nxt: Point, known: History, path: Path, noise: NoiseSource
    ) -> State:
        """The state at nxt from x at now; `known` has as many answers as the step's order."""

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        known: History = []
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now)
            known = [(now, self.answer(x, x0, now)), *known][: self.full]
            if self.starts(i, nxt):
                x = starting_step(model, x, x0, now, nxt, path)
            else:
                x = self.step(x, now, nxt, known[: self.order_at(i, path)], path, noise)
        return x


def starting_step(
    model: Denoiser, x: State, x0: State, now: Point, nxt: Point, path: Path
) -> State:
    """A classical Runge-Kutta step in the flow time; x0 is the answer at `now`."""
    return rk_step(_FLOW_TIME, CLASSICAL, model, x, now, nxt, path, x0)
