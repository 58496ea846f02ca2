"""The currencies in which answers are interpolated, and a step of the probability flow in each.

With the noise level l = sigma / alpha, the flow time s = l / (1 + l) and an answer q, the step
from a to b is exactly

    q           x_b
    eps         alpha_b (x_a / alpha_a + int_a^b eps dl)
    eps - x0    (alpha_b + sigma_b) (x_a / (alpha_a + sigma_a) + int_a^b (eps - x0) ds)
    x0          sigma_b / sigma_a (l_b / l_a)^(k-1) x_a
                + alpha_b int_b^a x0 k (l_b / l)^k dl / l

(k = 1 for the ODE; k = 1 + tau^2 for the reverse SDE with noise tau, x0 only.) The first two
are velocities: q = dy/du of the state y = x / c, in the variable u in which polynomials are
integrated exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from difftool.samplers.base import State, eps_of
from difftool.samplers.quadrature import gauss, panels
from difftool.samplers.variables import FLOW_TIME, LEVEL, Variable
from difftool.schedules.base import Point
from difftool.schedules.path import Path

CurrencyName = Literal["eps", "x0", "flow"]

FAR = 40.0  # beyond this distance in log l, (l_b / l)^k is less than the last bit
NEAR = 0.25  # below this level, integrals down to l = 0 are taken in l itself


@dataclass(frozen=True)
class Currency(ABC):
    """What is interpolated: x_b = A x_a + an integral of q, the answer in this currency."""

    name: CurrencyName

    @abstractmethod
    def answer(self, x: State, x0: State, p: Point) -> State:
        """q at p, from the state and the estimate of x0."""

    @abstractmethod
    def linear(self, now: Point, nxt: Point, k: float) -> float:
        """The factor A."""

    @abstractmethod
    def constant(self, now: Point, nxt: Point, k: float) -> float:
        """The integral for q = 1."""

    @abstractmethod
    def quadrature(
        self, now: Point, nxt: Point, variable: Variable, path: Path, k: float
    ) -> Iterator[tuple[float, float]]:
        """Pairs (u, weight) of a quadrature of the integral, for q as a function of u."""


@dataclass(frozen=True)
class Velocity(Currency):
    """q = dy/du of y = x / c in a variable u: x_b = c_b (x_a / c_a + int_a^b q du).

    variable: u, with c its scale. density: du/dl at a noise level l. convert: computes q from
    x, x0 and the point.
    """

    variable: Variable
    density: Callable[[float], float]
    convert: Callable[[State, State, Point], State]

    def answer(self, x: State, x0: State, p: Point) -> State:
        return self.convert(x, x0, p)

    def linear(self, now: Point, nxt: Point, k: float) -> float:
        return self.variable.scale(nxt) / self.variable.scale(now)

    def constant(self, now: Point, nxt: Point, k: float) -> float:
        u = self.variable.coordinate
        return self.variable.scale(nxt) * (u(nxt) - u(now))

    def quadrature(
        self, now: Point, nxt: Point, variable: Variable, path: Path, k: float
    ) -> Iterator[tuple[float, float]]:
        scale = self.variable.scale(nxt)
        if variable is self.variable:  # polynomials: exact
            for u, w in gauss(variable.coordinate(now), variable.coordinate(nxt)):
                yield u, scale * w
            return
        high, low = max(now.level, nxt.level), min(now.level, nxt.level)
        if nxt.level < now.level:
            scale = -scale
        middle = low
        if low == 0:
            middle = min(high, NEAR)
            for level, w in gauss(0.0, middle):
                yield variable.at_level(level, path), scale * w * self.density(level)
        for v, w in panels(math.log(middle), math.log(high)):
            level = math.exp(v)
            yield variable.at_level(level, path), scale * w * level * self.density(level)


@dataclass(frozen=True)
class CleanData(Currency):
    """q = x0, the estimate of the clean data.

    x_b = sigma_b / sigma_a (l_b / l_a)^(k-1) x_a + alpha_b int_b^a x0 k (l_b / l)^k dl / l

    A step into sigma = 0 puts all the weight at its end. A step from there is
    x_b = alpha_b / alpha_a x_a, because x holds no noise yet.
    """

    def answer(self, x: State, x0: State, p: Point) -> State:
        return x0

    def linear(self, now: Point, nxt: Point, k: float) -> float:
        if now.sigma == 0:
            return nxt.alpha / now.alpha
        ratio = nxt.level / now.level  # 0 into sigma = 0, and from alpha = 0
        return nxt.sigma / now.sigma * ratio ** (k - 1)

    def constant(self, now: Point, nxt: Point, k: float) -> float:
        if now.sigma == 0:
            return 0.0
        ratio = nxt.level / now.level
        if ratio == 0:
            return nxt.alpha
        return -nxt.alpha * math.expm1(k * math.log(ratio))

    def quadrature(
        self, now: Point, nxt: Point, variable: Variable, path: Path, k: float
    ) -> Iterator[tuple[float, float]]:
        if now.sigma == 0:
            return
        if nxt.sigma == 0:
            yield variable.coordinate(nxt), nxt.alpha
            return
        end = math.log(nxt.level)
        start = end + FAR / k
        if now.level < math.inf:
            start = min(math.log(now.level), start)
        for v, w in panels(end, start):
            weight = nxt.alpha * w * k * math.exp(k * (end - v))
            yield variable.at_level(math.exp(v), path), weight


EPS = Velocity("eps", LEVEL, density=lambda level: 1.0, convert=eps_of)
FLOW_VELOCITY = Velocity(
    "flow",
    FLOW_TIME,
    density=lambda level: 1 / (1 + level) ** 2,
    convert=lambda x, x0, p: eps_of(x, x0, p) - x0,
)
X0 = CleanData("x0")

CURRENCIES: dict[str, Currency] = {c.name: c for c in (EPS, X0, FLOW_VELOCITY)}
