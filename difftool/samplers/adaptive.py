"""Adaptive solvers for the probability-flow ODE, through torchdiffeq and SciPy.

The variable is the flow time s = sigma / (alpha + sigma) with y = x / (alpha + sigma),
dy/ds = eps - x0: regular from pure noise down. The slope is not known at sigma = 0, so the
solver stops at the last point above it, and the mean takes the last step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import (
    Denoiser,
    NoiseSource,
    Sampler,
    State,
    eps_of,
    refuse_clean_ends,
)
from difftool.schedules.path import Path

METHODS = {
    "dopri5": "dopri5",
    "dopri8": "dopri8",
    "bosh3": "bosh3",
    "adaptive-heun": "adaptive_heun",
}
SCIPY = {
    "scipy-rk23": "RK23",
    "scipy-rk45": "RK45",
    "scipy-dop853": "DOP853",
    "scipy-lsoda": "LSODA",
}

MOST_EVALUATIONS = 20_000


@dataclass(frozen=True)
class AdaptiveODE(Sampler):
    """The probability-flow ODE, solved with adaptive steps by torchdiffeq or SciPy.

    Options: `method`, torchdiffeq's `dopri5`, `dopri8`, `bosh3`, `adaptive-heun`, or, through
    SciPy's solve_ivp (in float64 on the CPU, as a cross-check), `scipy-rk23`, `scipy-rk45`,
    `scipy-dop853`, `scipy-lsoda`; `rtol`, `atol`, the relative and absolute tolerance per step
    (> 0). One error norm controls the whole batch, so a sample depends on the others in its
    batch. Network evaluations are counted during the run. Only the ends of the path matter, and
    its last point above sigma = 0. Raises `DifftoolError` for other methods and tolerances, and
    if the step size underflows.
    """

    method: Literal[
        "dopri5",
        "dopri8",
        "bosh3",
        "adaptive-heun",
        "scipy-rk23",
        "scipy-rk45",
        "scipy-dop853",
        "scipy-lsoda",
    ] = "dopri5"
    rtol: float = 1e-4
    atol: float = 1e-4

    name = "ode"
    evaluations = None
    adaptive = True
    last = "mean"
    reference = "Chen et al. 2018, Neural ordinary differential equations, arXiv 1806.07366; Dormand & Prince 1980"

    def __post_init__(self) -> None:
        if self.method not in METHODS and self.method not in SCIPY:
            raise DifftoolError(
                f"ode takes method {', '.join([*METHODS, *SCIPY])}; got {self.method!r}"
            )
        if not (0 < self.rtol < math.inf and 0 < self.atol < math.inf):
            raise DifftoolError(
                f"ode takes rtol > 0 and atol > 0, got rtol={self.rtol}, atol={self.atol}"
            )

    @property
    def batch_independent(self) -> bool:
        return False

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        refuse_clean_ends(self, path)

        asked = count(1)

        def slope(s: Any, y: State) -> State:
            if next(asked) > MOST_EVALUATIONS:
                raise DifftoolError(
                    f"ode ({self.method}) has not arrived after {MOST_EVALUATIONS} evaluations; "
                    f"loosen rtol and atol"
                )
            p = path.at(path.schedule.t_at_flow(float(s)))
            x = (p.alpha + p.sigma) * y
            x0 = model(x, p)
            return eps_of(x, x0, p) - x0

        first, final = path[0], path[-1]
        y = x / (first.alpha + first.sigma)
        solve = self._torchdiffeq
        if self.method in SCIPY:
            solve = self._scipy
        return (final.alpha + final.sigma) * solve(slope, y, first.flow, final.flow)

    def _torchdiffeq(self, slope: Any, y: State, s0: float, s1: float) -> State:
        import torch
        from torchdiffeq import odeint

        span = torch.tensor([s0, s1], dtype=torch.float64, device=y.device)
        options = {"step_t": span[1:]}  # else the solver steps past the end and interpolates
        try:
            out = odeint(
                slope,
                y,
                span,
                rtol=self.rtol,
                atol=self.atol,
                method=METHODS[self.method],
                options=options,
            )
        except AssertionError as error:
            if "underflow" not in str(error):
                raise  # from the network
            raise DifftoolError(
                f"ode ({self.method}) gave up: {error}; loosen rtol and atol"
            ) from None
        return out[-1]

    def _scipy(self, slope: Any, y: State, s0: float, s1: float) -> State:
        import torch
        from scipy.integrate import solve_ivp

        def flat(s: float, state: Any) -> Any:
            return (
                slope(s, torch.from_numpy(state).to(y.device, y.dtype).reshape(y.shape))
                .double()
                .cpu()
                .numpy()
                .ravel()
            )

        start = y.double().cpu().numpy().ravel()
        out = solve_ivp(
            flat, (s0, s1), start, method=SCIPY[self.method], rtol=self.rtol, atol=self.atol
        )
        if not out.success:
            raise DifftoolError(
                f"ode ({self.method}) gave up: {out.message}; loosen rtol and atol"
            )
        return torch.from_numpy(out.y[:, -1].copy()).to(y.device, y.dtype).reshape(y.shape)
