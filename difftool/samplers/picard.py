"""picard: all steps of a run at once, in repeated sweeps (ParaDiGMS).

Euler's method in the variable u of `difftool.samplers.ode` is y_{i+1} = y_0 + sum_{j <= i} h_j
f(u_j, y_j). Picard iteration puts the states of the previous sweep on the right,

    y^0_i = y_0,      y^{k+1}_{i+1} = y_0 + sum_{j <= i} h_j f(u_j, y^k_j)

so that the evaluations of a sweep do not depend on each other and can run in parallel. After k
sweeps, the first k steps are exactly those of the sequential run; they are not evaluated again.
Source: Shih et al. 2023 (arXiv 2305.16317).
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, State, free_evaluations
from difftool.samplers.ode import ProbabilityFlow
from difftool.schedules.path import Path


@dataclass(frozen=True)
class Picard(ProbabilityFlow):
    """Parallel-in-time sampling (ParaDiGMS): Picard sweeps over windows of Euler steps.

    y^{k+1}_{i+1} = y_0 + sum_{j <= i} h_j f(u_j, y^k_j), from y^0_i = y_0, for the steps of one
    window after the other. With `variable` flow or level, Euler's method is DDIM. In a window
    of W steps, sweep k makes W - k + 1 evaluations, which do not depend on each other; as many
    sweeps as steps give exactly the sequential result. Order 1 with windows of a fixed number
    of steps. With the whole run as one window, a fixed number of sweeps does not converge, and
    no order is claimed. (Here the evaluations of a sweep run one after the other: the sampler
    shows what a parallel run computes.) Options:

    variable: the variable of the ODE: `flow`, `level` or `t`.
    sweeps: sweeps over each window (>= 1).
    window: steps per window (>= 1); none: the whole run.

    Raises `DifftoolError` for other values.
    """

    sweeps: int = 4
    window: int | None = 8

    name = "picard"
    reference = "Shih et al. 2023, Parallel sampling of diffusion models, arXiv 2305.16317"

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, value in (("sweeps", self.sweeps), ("window", self.window)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (option, value) != ("window", None):
                raise DifftoolError(
                    f"picard takes {option} >= 1 (a whole number), got {value!r}"
                )

    @property
    def accuracy(self) -> float | None:
        if self.window is None:
            return None
        return 1

    @property
    def weak_order(self) -> float | None:
        if self.window is None:
            return 0
        return None

    @property
    def point_mass(self) -> bool:
        sequential = self.window is not None and self.sweeps >= self.window
        return sequential and super().point_mass  # else the sweeps have not converged

    @property
    def evaluations(self) -> int:
        return self.sweeps

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for piece in self._windows(path):
            u, scale = [self.coordinate(p) for p in piece], [self.scale(p) for p in piece]
            steps = len(piece) - 1
            states = [x] + [scale[i] / scale[0] * x for i in range(1, steps + 1)]
            slopes: list[State] = [None] * steps
            for k in range(min(self.sweeps, steps)):
                for j in range(k, steps):
                    slopes[j] = self.slope_of(
                        states[j], model(states[j], piece[j]), piece[j], path
                    )
                y = states[0] / scale[0]
                for j in range(steps):
                    y = y + (u[j + 1] - u[j]) * slopes[j]
                    states[j + 1] = scale[j + 1] * y
            x = states[-1]
        return x

    def nfe(self, path: Path) -> int:
        """steps - k in sweep k = 0, 1, .. of a window; none at sigma = 0."""
        total = -free_evaluations(path)
        for piece in self._windows(path):
            steps = len(piece) - 1
            total += sum(steps - k for k in range(min(self.sweeps, steps)))
        return total

    def _windows(self, path: Path) -> list[Path]:
        steps = len(path) - 1
        size = self.window or steps
        return [path[i : min(i + size, steps) + 1] for i in range(0, steps, size)]
