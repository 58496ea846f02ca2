"""DPM-Solver with step sizes controlled by its own error estimate: DPM-Solver-12 and -23.

In lambda = log(alpha / sigma), a step of length h from s to t passes lambda_s + r_1 h and, for
order 3, lambda_s + r_2 h, with r_1 = 1/2 for order 2, r_1 = 1/3 and r_2 = 2/3 for order 3:

    x_1 = alpha_1 / alpha_s x - sigma_1 (e^(r_1 h) - 1) eps
    x_2 = alpha_2 / alpha_s x - sigma_2 (e^(r_2 h) - 1) eps - sigma_2 (r_2 / r_1) phi(r_2 h) (eps_1 - eps)

    order 1   alpha_t / alpha_s x - sigma_t (e^h - 1) eps
    order 2   ... - sigma_t / (2 r_1) (e^h - 1) (eps_1 - eps)
    order 3   ... - sigma_t / r_2 phi(h) (eps_2 - eps),                        phi(h) = (e^h - 1) / h - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, refuse_clean_ends
from difftool.samplers.options import check_number, check_order
from difftool.samplers.per_sample import (
    Host,
    Walk,
    check_tolerances,
    choose,
    column,
    error_norm,
)
from difftool.schedules.path import Path


@dataclass(frozen=True)
class PID:
    """Step-size control by a digital filter with a smooth limiter.

    A step's size is multiplied by 1 + atan(e_n^-a e_(n-1)^-b e_(n-2)^-c - 1), with (a, b,
    c) = (P + I + D, -(P + 2 D), D) / order; the step is accepted if this factor is at least
    `safety`. Soederlind 2003, Digital filters in adaptive time-stepping; Soederlind & Wang
    2006.
    """

    gains: tuple[float, ...]
    order: int
    safety: float

    def __call__(self, inverse: Host, past: Host | None) -> tuple[Host, Host]:
        p, i, d = self.gains
        last = before = inverse
        if past is not None:
            last, before = past.unbind(1)
        product = inverse ** ((p + i + d) / self.order) * last ** (-(p + 2 * d) / self.order)
        factor = 1 + (product * before ** (d / self.order) - 1).atan()
        return factor >= self.safety, factor


@dataclass(frozen=True)
class DPMAdaptive(Sampler):
    """DPM-Solver-12 or -23 with per-sample adaptive step sizes and error control.

    The error of a step is the difference between the results of two orders (see the module):
    the RMS over the elements of the sample of that difference over max(atol, rtol max(|x_low|,
    |x_low of the step before|)). The higher-order result is kept. Finished samples are not
    evaluated again, and no sample depends on its batch; in the published method, one norm and
    one step hold for the whole batch. `order` evaluations per attempted step. Runs upwards too.
    Options:

    order: the higher of the two orders, 2 or 3.
    rtol, atol: the relative and absolute tolerance per step, in units of x (> 0).
    h_init: the first step size to try, in lambda (> 0).
    pid: the gains P, I and D of the step-size control (the default halves a step of order 3 for
        8 times the error).
    safety: the lowest step-size factor at which a step is accepted (0.01 <= safety <= 0.99).

    Only the ends of the path matter, and its last point above sigma = 0, where the mean takes
    over. Raises `DifftoolError` for other values, and if step sizes underflow or 20,000 steps
    are not enough.
    """

    order: int = 3
    rtol: float = 0.05
    atol: float = 0.0078
    h_init: float = 0.05
    pid: tuple[float, ...] = (0.0, 1.0, 0.0)
    safety: float = 0.81

    name = "dpm-adaptive"
    evaluations = None
    adaptive = True
    last = "mean"
    reference = (
        "Lu et al. 2022, DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling in around 10 steps, "
        "arXiv 2206.00927, appendix C; control: k-diffusion, sample_dpm_adaptive"
    )

    def __post_init__(self) -> None:
        check_order("dpm-adaptive", self.order, range(2, 4), none=False)
        check_tolerances("dpm-adaptive", self.rtol, self.atol, self.h_init)
        three = isinstance(self.pid, tuple) and len(self.pid) == 3
        if not three or not all(map(_is_gain, self.pid)):
            raise DifftoolError(
                f"dpm-adaptive takes the three gains of its step-size control as pid=P+I+D, got {self.pid}"
            )
        check_number("dpm-adaptive", "safety", self.safety, 0.01, 0.99)

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        refuse_clean_ends(self, path)
        way = path[0].half_log_snr, path[-1].half_log_snr
        walk = Walk(
            "dpm-adaptive", model, x, way, self.h_init, PID(self.pid, self.order, self.safety)
        )
        before = x
        while walk.going:
            h = walk.step
            low, high = self.attempt(walk, x, h, path)
            tolerance = (self.rtol * low.abs().maximum(before.abs())).clamp_min(self.atol)
            accept = walk.judge(h, error_norm(high - low, tolerance))
            x, before = walk.leave(choose(accept, high, x), choose(accept, low, before))
        return walk.result()

    def attempt(self, walk: Walk, x: State, h: Host, path: Path) -> tuple[State, State]:
        """The results of the lower and the higher order."""
        if self.order == 2:
            r1 = 1 / 2
        else:
            r1 = 1 / 3
        now, p1, p2, nxt = (
            path.schedule.at(path.schedule.t_at_half_log_snr(walk.u + r * h), like=x)
            for r in (0, r1, 2 / 3, 1)
        )
        h = h.reshape(now.alpha.shape)
        eps = walk.eps(x, now)
        x1 = column(p1.alpha / now.alpha, x) * x - column(p1.sigma * (r1 * h).expm1(), x) * eps
        d1 = walk.eps(x1, p1) - eps
        first = column(nxt.alpha / now.alpha, x) * x - column(nxt.sigma * h.expm1(), x) * eps
        second = first - column(nxt.sigma / (2 * r1) * h.expm1(), x) * d1
        if self.order == 2:
            return first, second
        phi, phi2 = h.expm1() / h - 1, (2 / 3 * h).expm1() / (2 / 3 * h) - 1
        x2 = (
            column(p2.alpha / now.alpha, x) * x
            - column(p2.sigma * (2 / 3 * h).expm1(), x) * eps
        )
        d2 = walk.eps(x2 - column(p2.sigma * 2 * phi2, x) * d1, p2) - eps
        return second, first - column(nxt.sigma * 1.5 * phi, x) * d2


def _is_gain(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
