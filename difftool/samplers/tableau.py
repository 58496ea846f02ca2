"""Butcher tableaux: explicit Runge-Kutta methods as data, and a step by one of them.

    k_i = f(u + c_i h, y + h sum_j a_ij k_j),     y' = y + h sum_i b_i k_i,     c_i = sum_j a_ij

in the variable u of `difftool.samplers.ode`. The slope is not known at sigma = 0, so a step
that ends there is taken by a method of one order less without a stage at its end (`inner`); the
order of the run stays the same. Source: Butcher 2016, Numerical methods for ordinary
differential equations.
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, State
from difftool.samplers.ode import ProbabilityFlow
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class Tableau:
    """The coefficients of an explicit method: the rows of a (row i has i entries) and b.

    Raises `DifftoolError` if their lengths do not match or b does not sum to 1.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    def __post_init__(self) -> None:
        if [len(row) for row in self.a] != [*range(len(self.b))]:
            raise DifftoolError(
                f"a tableau of {len(self.b)} stages must have rows of 0, 1, ... {len(self.b) - 1} entries, "
                f"got {[len(row) for row in self.a]}"
            )
        if abs(sum(self.b) - 1) > 1e-9:
            raise DifftoolError(
                f"the weights b of a tableau must sum to 1, got {sum(self.b):g}"
            )

    @property
    def c(self) -> tuple[float, ...]:
        """The positions of the stages, as fractions of the step."""
        return tuple(sum(row) for row in self.a)

    @property
    def order(self) -> int:
        """The order, from the order conditions up to 4."""
        rows, b, c = self.a, self.b, self.c
        ac = [sum(w * c[j] for j, w in enumerate(row)) for row in rows]
        ac2 = [sum(w * c[j] ** 2 for j, w in enumerate(row)) for row in rows]
        aac = [sum(w * ac[j] for j, w in enumerate(row)) for row in rows]

        def total(*factors: list[float] | tuple[float, ...]) -> float:
            out = 0.0
            for i, value in enumerate(b):
                for factor in factors:
                    value *= factor[i]
                out += value
            return out

        conditions = (
            [(total(c), 1 / 2)],
            [(total(c, c), 1 / 3), (total(ac), 1 / 6)],
            [
                (total(c, c, c), 1 / 4),
                (total(c, ac), 1 / 8),
                (total(ac2), 1 / 12),
                (total(aac), 1 / 24),
            ],
        )
        order = 1
        for group in conditions:
            if any(abs(value - wanted) > 1e-9 for value, wanted in group):
                break
            order += 1
        return order


EULER = Tableau(((),), (1.0,))
HEUN = Tableau(((), (1.0,)), (1 / 2, 1 / 2))
MIDPOINT = Tableau(((), (1 / 2,)), (0.0, 1.0))
RALSTON = Tableau(((), (2 / 3,)), (1 / 4, 3 / 4))
HEUN3 = Tableau(((), (1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4))
KUTTA3 = Tableau(((), (1 / 2,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6))
CLASSICAL = Tableau(((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
# methods without a stage at the end of their step, by order
INNER = {
    1: EULER,
    2: MIDPOINT,
    3: HEUN3,
}


def inner(tableau: Tableau) -> Tableau:
    """The tableau for a step into sigma = 0.

    The method itself, or one of one order less without a stage at the end of the step.
    """
    if 1.0 not in tableau.c:
        return tableau
    return INNER[max(tableau.order - 1, 1)]


def rk_step(
    ode: ProbabilityFlow,
    tableau: Tableau,
    model: Denoiser,
    x: State,
    now: Point,
    nxt: Point,
    path: Path,
    x0: State | None = None,
) -> State:
    """Take one step; x0 is the model's answer at `now`, if already known."""
    u, h = ode.coordinate(now), ode.coordinate(nxt) - ode.coordinate(now)
    y = x / ode.scale(now)
    slopes: list[State] = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        if c == 0:
            p, state = now, x
        else:
            if c == 1:
                p = nxt
            else:
                p = ode.place(u + c * h, path)
            state = ode.scale(p) * _sum(y, h, row, slopes)
        if c == 0 and x0 is not None:
            answer = x0
        else:
            answer = model(state, p)
        slopes.append(ode.slope_of(state, answer, p, path))
    return ode.scale(nxt) * _sum(y, h, tableau.b, slopes)


def _sum(y: State, h: float, factors: tuple[float, ...], slopes: list[State]) -> State:
    for factor, slope in zip(factors, slopes, strict=True):
        if factor:
            y = y + h * factor * slope
    return y
