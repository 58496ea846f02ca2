"""Explicit Runge-Kutta methods on the probability-flow ODE, in a variable of `samplers.ode`.

A method is its tableau; `difftool.samplers.tableau` takes the steps and has the rule for the
last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.ode import ProbabilityFlow
from difftool.samplers.tableau import (
    CLASSICAL,
    EULER,
    HEUN,
    HEUN3,
    KUTTA3,
    MIDPOINT,
    RALSTON,
    Tableau,
    inner,
    rk_step,
)
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class _RungeKutta(ProbabilityFlow):
    """The loop that all these methods share."""

    @property
    def tableau(self) -> Tableau:
        """The Butcher tableau of the method."""
        return EULER

    @property
    def accuracy(self) -> float:
        return self.tableau.order

    @property
    def evaluations(self) -> int:
        return len(self.tableau.b)

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            x = rk_step(self, self._tableau_into(nxt), model, x, now, nxt, path)
        return x

    def nfe(self, path: Path) -> int:
        """The stages of all steps, except those at sigma = 0."""
        total = 0
        for now, nxt in pairwise(path):
            tableau = self._tableau_into(nxt)
            total += len(tableau.b)
            if now.sigma == 0:
                total -= tableau.c.count(0.0)
        return total

    def _tableau_into(self, nxt: Point) -> Tableau:
        """The tableau for a step that ends at nxt."""
        if nxt.sigma == 0:
            return inner(self.tableau)
        return self.tableau


@dataclass(frozen=True)
class Euler(_RungeKutta):
    """Euler's method: y' = y + (u' - u) dy/du. One evaluation per step, order 1.

    With `variable` level or flow it is DDIM with eta = 0; with t it is not. Option: `variable`,
    the variable of the ODE.
    """

    name = "euler"
    tableau = EULER
    reference = "Euler 1768; Song et al. 2021, arXiv 2011.13456"


@dataclass(frozen=True)
class Heun(_RungeKutta):
    """Heun's method: an Euler step, redone with the mean of the slopes at both ends. Order 2.

    Two evaluations per step, one in a last step into sigma = 0. With `variable=level` on the
    karras grid this is the deterministic sampler of EDM. Option: `variable`, the variable of
    the ODE.
    """

    name = "heun"
    tableau = HEUN
    reference = "Heun 1900; Karras et al. 2022, arXiv 2206.00364, algorithm 1"


@dataclass(frozen=True)
class Midpoint(_RungeKutta):
    """The midpoint method: half an Euler step, then the whole step with the slope found there.

    Order 2, two evaluations per step. Option: `variable`, the variable of the ODE.
    """

    name = "midpoint"
    tableau = MIDPOINT
    reference = "Runge 1895, On the numerical solution of differential equations"


@dataclass(frozen=True)
class Ralston(_RungeKutta):
    """Ralston's method: a stage at 2/3 of the step, weights 1/4 and 3/4. Order 2.

    Two evaluations per step, with the smallest error bound among two-stage methods. Option:
    `variable`, the variable of the ODE.
    """

    name = "ralston"
    tableau = RALSTON
    reference = "Ralston 1962, Runge-Kutta methods with minimum error bounds, Mathematics of Computation 16"


@dataclass(frozen=True)
class Heun3(_RungeKutta):
    """Heun's method of order 3: stages at 0, 1/3 and 2/3, weights 1/4, 0 and 3/4.

    Three evaluations per step. Option: `variable`, the variable of the ODE.
    """

    name = "heun3"
    tableau = HEUN3
    reference = (
        "Heun 1900, New methods for the approximate integration of differential equations"
    )


@dataclass(frozen=True)
class Kutta3(_RungeKutta):
    """Kutta's method of order 3: stages at 0, 1/2 and 1, weights 1/6, 2/3 and 1/6.

    Three evaluations per step, two in a last step into sigma = 0. Option: `variable`, the
    variable of the ODE.
    """

    name = "kutta3"
    tableau = KUTTA3
    reference = "Kutta 1901, Contribution to the approximate integration of total differential equations"


@dataclass(frozen=True)
class RK4(_RungeKutta):
    """The classical Runge-Kutta method of order 4.

    Stages at 0, 1/2, 1/2 and 1, weights 1/6, 1/3, 1/3 and 1/6. Four evaluations per step, three
    in a last step into sigma = 0. Option: `variable`, the variable of the ODE.
    """

    name = "rk4"
    tableau = CLASSICAL
    reference = "Kutta 1901, Contribution to the approximate integration of total differential equations"


@dataclass(frozen=True)
class RungeKutta(_RungeKutta):
    """A custom explicit Runge-Kutta method, given by its Butcher tableau.

    One evaluation per stage. Options: `variable`, the variable of the ODE; `a`, the rows of the
    tableau below the diagonal one after another (n (n - 1) / 2 numbers for n stages), and `b`,
    the n weights; default: the 3/8 rule of order 4. The order is found from the order
    conditions, up to 4. Raises `DifftoolError` for numbers that do not form a tableau.
    """

    a: tuple[float, ...] = (1 / 3, -1 / 3, 1.0, 1.0, -1.0, 1.0)
    b: tuple[float, ...] = (1 / 8, 3 / 8, 3 / 8, 1 / 8)

    name = "runge-kutta"
    reference = "Butcher 2016, Numerical methods for ordinary differential equations; the 3/8 rule: Kutta 1901"

    def __post_init__(self) -> None:
        super().__post_init__()
        n = len(self.b)
        if len(self.a) != n * (n - 1) // 2:
            raise DifftoolError(
                f"runge-kutta takes {n * (n - 1) // 2} numbers in a for {n} weights in b, got {len(self.a)}"
            )
        _ = self.tableau

    @property
    def tableau(self) -> Tableau:
        rows = [self.a[i * (i - 1) // 2 : i * (i + 1) // 2] for i in range(len(self.b))]
        return Tableau(tuple(tuple(row) for row in rows), tuple(self.b))
