"""Fixed-step methods on the probability-flow ODE, in one of three variables.

    variable   coordinate u               state y               dy/du
    t          t                          x                     f x + g^2 / (2 sigma) eps
    level      sigma / alpha              x / alpha             eps
    flow       s = sigma/(alpha+sigma)    x / (alpha + sigma)   eps - x0

with eps = (x - alpha x0) / sigma. `level` is the variable of EDM and k-diffusion; `flow`, the
default, is regular at both ends, pure noise included. Sources: Song et al. 2021 (arXiv
2011.13456), Karras et al. 2022 (arXiv 2206.00364), Lipman et al. 2022 (2210.02747).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from difftool.samplers.base import Last, Sampler, State, eps_of, name_of
from difftool.samplers.currencies import EPS, FLOW_VELOCITY
from difftool.samplers.options import check_choice
from difftool.samplers.variables import VARIABLES
from difftool.schedules.base import Point
from difftool.schedules.path import Path

ODEVariable = Literal["t", "level", "flow"]

VELOCITIES = {"level": EPS, "flow": FLOW_VELOCITY}  # answers that are dy/du


@dataclass(frozen=True)
class ProbabilityFlow(Sampler):
    """A method on the probability-flow ODE, in the variable `t`, `level` or `flow` (default).

    Raises `DifftoolError` for another variable.
    """

    variable: ODEVariable = "flow"

    def __post_init__(self) -> None:
        check_choice(name_of(self), "variable", self.variable, ODEVariable)

    @property
    def divides_by_alpha(self) -> bool:
        return self.variable != "flow"

    @property
    def point_mass(self) -> bool:
        return self.variable != "t"

    @property
    def last(self) -> Last:
        if self.variable == "t":
            return "mean"
        return "step"

    def coordinate(self, p: Point) -> float:
        """The coordinate u at p."""
        return VARIABLES[self.variable].coordinate(p)

    def scale(self, p: Point) -> float:
        """The scale x / y at p."""
        return VARIABLES[self.variable].scale(p)

    def place(self, u: float, path: Path) -> Point:
        """The point with coordinate u."""
        return path.at(VARIABLES[self.variable].time(u, path))

    def slope_of(self, x: State, x0: State, p: Point, path: Path) -> State:
        """dy/du at p, from the state and the model's answer."""
        if self.variable != "t":
            return VELOCITIES[self.variable].answer(x, x0, p)
        if p.sigma == 0:
            return path.drift(p) * x
        return path.drift(p) * x + path.diffusion2(p) / (2 * p.sigma) * eps_of(x, x0, p)
