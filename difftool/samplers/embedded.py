"""Embedded Runge-Kutta pairs on the probability-flow ODE, with per-sample step sizes.

The variable is the flow time s = sigma / (alpha + sigma) with y = x / (alpha + sigma),
dy/ds = eps - x0: regular from pure noise down. A pair has two sets of weights on the same
stages. The difference of their results is the error of the lower order; the higher-order result
is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of
from difftool.samplers.options import check_choice
from difftool.samplers.per_sample import (
    PI,
    Host,
    Walk,
    check_tolerances,
    choose,
    column,
    error_norm,
)
from difftool.schedules.path import Path

Method = Literal["dopri5", "bosh3", "heun-euler"]


class Pair(NamedTuple):
    """An embedded pair: one set of stages, two sets of weights.

    a: the rows below the diagonal; the last row holds the weights of the result. other: the
    weights of the other result. The last stage is evaluated at the result: it is the first one
    of the next step.
    """

    a: tuple[tuple[float, ...], ...]
    other: tuple[float, ...]
    order: int  # of the result

    @property
    def c(self) -> tuple[float, ...]:
        """The positions of the stages as fractions of the step, without the first."""
        return (*(sum(row) for row in self.a[:-1]), 1.0)

    @property
    def error(self) -> tuple[float, ...]:
        """The weights of the difference of the two results."""
        return tuple(b - other for b, other in zip((*self.a[-1], 0.0), self.other, strict=True))


PAIRS = {
    "heun-euler": Pair(a=((1.0,), (1 / 2, 1 / 2)), other=(1.0, 0.0, 0.0), order=2),
    "bosh3": Pair(
        a=((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
        other=(7 / 24, 1 / 4, 1 / 3, 1 / 8),
        order=3,
    ),
    "dopri5": Pair(
        a=(
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        other=(5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
        order=5,
    ),
}


@dataclass(frozen=True)
class EmbeddedRK(Sampler):
    """An embedded Runge-Kutta pair with per-sample adaptive step sizes and error control.

    A step is accepted if the RMS of error / (atol + rtol |y|) over the elements of the sample
    is at most 1; a PI controller sets the step sizes. Finished samples are not evaluated again,
    and no sample depends on its batch. Runs upwards too. Options: `method`, `dopri5` of orders
    5(4), `bosh3` 3(2) or `heun-euler` 2(1), with 6, 3 and 2 evaluations per attempted step and
    one at the start; `rtol`, `atol`, the relative and absolute tolerance per step (> 0);
    `h_init`, the first step size to try, in s (> 0). Only the ends of the path matter, and its
    last point above sigma = 0, where the mean takes over. Raises `DifftoolError` for other
    values, and if step sizes underflow or 20,000 steps are not enough.
    """

    method: Method = "dopri5"
    rtol: float = 1e-4
    atol: float = 1e-4
    h_init: float = 0.05

    name = "embedded"
    evaluations = None
    adaptive = True
    last = "mean"
    reference = (
        "Dormand & Prince 1980, A family of embedded Runge-Kutta formulae; Bogacki & Shampine 1989, A 3(2) pair of "
        "Runge-Kutta formulas; control: Gustafsson 1991"
    )

    def __post_init__(self) -> None:
        check_choice("embedded", "method", self.method, Method)
        check_tolerances("embedded", self.rtol, self.atol, self.h_init)

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        first, final, pair = path[0], path[-1], PAIRS[self.method]
        if final.sigma == 0:
            raise DifftoolError(
                "embedded must end above noise level 0; end it with last='mean'"
            )
        walk = Walk("embedded", model, x, (first.flow, final.flow), self.h_init, PI(pair.order))

        def slope(y: State, s: Host) -> State:
            p = path.schedule.at(path.schedule.t_at_flow(s), like=x)
            return (y - walk.model(column(p.alpha + p.sigma, y) * y, p)) / column(p.flow, y)

        x0 = model(x, first)
        y, k = x / (first.alpha + first.sigma), eps_of(x, x0, first) - x0
        while walk.going:
            h, ks = walk.step, [k]
            for c, row in zip(pair.c, pair.a, strict=True):
                new = y + column(h, y) * sum(w * d for w, d in zip(row, ks, strict=True) if w)
                ks.append(slope(new, walk.u + c * h))
            error = column(h, y) * sum(w * d for w, d in zip(pair.error, ks, strict=True) if w)
            accept = walk.judge(
                h, error_norm(error, self.atol + self.rtol * y.abs().maximum(new.abs()))
            )
            y, k = walk.leave(choose(accept, new, y), choose(accept, ks[-1], k))
        return (final.alpha + final.sigma) * walk.result()
