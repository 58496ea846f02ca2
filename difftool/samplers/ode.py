"""Fixed-step methods on the probability-flow ODE, in one of three variables.

    variable   coordinate u               state y               dy/du
    t          t                          x                     f x + g^2 / (2 sigma) eps
    level      sigma / alpha              x / alpha             eps
    flow       s = sigma/(alpha+sigma)    x / (alpha + sigma)   eps - x0

with eps = (x - alpha x0) / sigma. `level` is the variable of EDM and k-diffusion; `flow` is regular at both ends,
pure noise included, and is the default. A last step into sigma = 0 is Euler's (nothing is evaluated there).
Sources: Song et al. 2021 (arXiv 2011.13456), Karras et al. 2022 (arXiv 2206.00364), Lipman et al. 2022 (2210.02747).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, Last, NoiseSource, Sampler, State, eps_of
from difftool.schedules.base import Point
from difftool.schedules.path import Path

Variable = Literal["t", "level", "flow"]


@dataclass(frozen=True)
class FlowODE(Sampler):
    """A method on the probability-flow ODE in the variable of your choice: `t`, `level` or `flow` (the default).

    Raises `DifftoolError` for another variable.
    """

    variable: Variable = "flow"

    def __post_init__(self) -> None:
        if self.variable not in ("t", "level", "flow"):
            raise DifftoolError(f"the variable is t, level or flow, got {self.variable!r}")

    @property
    def divides_by_alpha(self) -> bool:
        return self.variable != "flow"

    @property
    def point_mass(self) -> bool:  # type: ignore[override]
        return self.variable != "t"

    @property
    def last(self) -> Last:  # type: ignore[override]
        return "mean" if self.variable == "t" else "step"

    def coordinate(self, p: Point) -> float:
        """u at p."""
        return {"t": p.t, "level": p.level, "flow": p.flow}[self.variable]

    def scale(self, p: Point) -> float:
        """x / y at p."""
        return {"t": 1.0, "level": p.alpha, "flow": p.alpha + p.sigma}[self.variable]

    def slope(self, model: Denoiser, x: State, p: Point, path: Path) -> State:
        """dy/du at p."""
        x0 = model(x, p)
        eps = eps_of(x, x0, p)
        if self.variable == "level":
            return eps
        if self.variable == "flow":
            return eps - x0
        if p.sigma == 0:
            return path.drift(p) * x
        return path.drift(p) * x + path.diffusion2(p) / (2 * p.sigma) * eps


@dataclass(frozen=True)
class Euler(FlowODE):
    """Euler's method: y' = y + (u' - u) dy/du. One evaluation per step, order 1.

    In `level` and in `flow` it is DDIM with eta = 0; in t it is not.
    """

    accuracy = 1
    reference = "Euler 1768; Song et al. 2021, arXiv 2011.13456"

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            h = self.coordinate(nxt) - self.coordinate(now)
            x = self.scale(nxt) * (x / self.scale(now) + h * self.slope(model, x, now, path))
        return x


@dataclass(frozen=True)
class Heun(FlowODE):
    """Heun's method: an Euler step, then again with the mean of the slopes at both ends. Order 2.

    Two evaluations per step, one in a last step into sigma = 0. With `variable=level` on the karras grid this is the
    deterministic sampler of EDM.
    """

    accuracy = 2
    evaluations = 2
    reference = "Heun 1900; Karras et al. 2022, arXiv 2206.00364, algorithm 1"

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            h = self.coordinate(nxt) - self.coordinate(now)
            y, d = x / self.scale(now), self.slope(model, x, now, path)
            x = self.scale(nxt) * (y + h * d)
            if nxt.sigma > 0:
                d = (d + self.slope(model, x, nxt, path)) / 2
                x = self.scale(nxt) * (y + h * d)
        return x

    def nfe(self, path: Path) -> int:
        return sum((now.sigma > 0) + (nxt.sigma > 0) for now, nxt in pairwise(path))
