"""The reverse SDE with adaptive steps, by Euler-Maruyama and stochastic improved Euler.

dx = (f x + g^2 / sigma eps) dt + g dW, run from noise to data. An attempted step of length h
with the Brownian increment w, N(0, h), gives

    x'  = x - h (f x + g^2 / sigma eps)(x, t) + g(t) w                                 Euler-Maruyama
    x'' = (x' + x - h (f x + g^2 / sigma eps)(x', t - h) + g(t - h) w) / 2             improved Euler, which is kept.

A step that was rejected because of its w must not draw a new one: such increments would become
rare, however small the tolerance. Here the Brownian motion is remembered wherever it was
sampled, and other steps are drawn from the Brownian bridges in between (as in the rejection
sampling with memory of Rackauckas & Nie 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, refuse_clean_ends
from difftool.samplers.options import check_choice, check_number
from difftool.samplers.per_sample import (
    Host,
    Walk,
    check_tolerances,
    choose,
    column,
    error_norm,
    to_device_of,
)
from difftool.schedules.path import Path

Rejected = Literal["kept", "fresh"]


class Brownian:
    """A Brownian motion per sample, from its current time on, with all drawn values remembered.

    times: (B, K), 0, the known times ahead in order, and infinity; values: (B, K, ...), the
    motion there.
    """

    def __init__(self, x: State):
        import torch

        self.times = torch.tensor([[0.0, torch.inf]], dtype=torch.float64).repeat(len(x), 1)
        self.values = x.new_zeros(len(x), 2, *x.shape[1:])

    def draw(self, h: Host, z: State) -> State:
        """The motion at h, from unit normals z: a bridge between the known times around it."""
        import torch

        each, right = torch.arange(len(h)), (self.times <= h[:, None]).sum(1)
        start, end = self.times[each, right - 1], self.times[each, right]
        share = (h - start) / (end - start)
        std = ((h - start) * (1 - share)).sqrt()
        before, after = (
            self.values[to_device_of(each, z), to_device_of(i, z)] for i in (right - 1, right)
        )
        return before + column(share, z) * (after - before) + column(std, z) * z

    def move(self, accept: Host, h: Host, w: State) -> None:
        """Remember the motion w at h, and move there where the step was accepted."""
        import torch

        times = torch.cat([self.times, h[:, None]], 1) - h.where(accept, 0.0)[:, None]
        values = torch.cat([self.values, w[:, None]], 1) - choose(accept, w, 0 * w)[:, None]
        times, order = times.where(times >= 0, torch.inf).sort(dim=1, stable=True)
        width = int(times.isfinite().sum(1).max()) + 1
        each = torch.arange(len(w), device=w.device)[:, None]
        self.times, self.values = (
            times[:, :width],
            values[each, to_device_of(order[:, :width], w)],
        )


@dataclass(frozen=True)
class GottaGoFast(Sampler):
    """The reverse SDE with per-sample adaptive step sizes and error control.

    A step is accepted if E, the RMS over the elements of the sample of (x' - x'') / max(atol,
    rtol max(|x'|, |x' of the step before|)), is at most 1 (x' and x'' as in the module). The
    next step to try is theta h E^-r, rounded down to h times a power of 2^(1/4) between 1/4 and
    4. The paper's step has no bounds and is not rounded, so that floating-point rounding
    decides the run: where both estimates agree, E is rounding error itself; elsewhere, a change
    in the last bit of E moves all later times, and w there, until paths diverge. Two
    evaluations per attempted step. Options:

    rtol, atol: the relative and absolute tolerance per step, in units of x (> 0).
    h_init: the first step size to try, as a fraction of the whole range in t (> 0).
    theta, r: safety factor and exponent of the step-size control (in (0, 1]).
    rejected: what happens to the noise of a rejected step: `kept` (see the module) or, as in
        the authors' code, drawn `fresh`. On unit Gaussian data with the default tolerances,
        `kept` ends with 1.00 of the variance, and `fresh` with 2.75 of it in one dimension and
        1.02 in 64.

    Only the ends of the path matter, and its last point above sigma = 0, where the mean takes
    over. Raises `DifftoolError` for other values, for upward grids, and if step sizes underflow
    or 20,000 steps are not enough.
    """

    rtol: float = 0.02
    atol: float = 0.0078
    h_init: float = 0.01
    theta: float = 0.9
    r: float = 0.9
    rejected: Rejected = "kept"

    name = "gotta-go-fast"
    evaluations = None
    adaptive = True
    last = "mean"
    point_mass = False
    reference = (
        "Jolicoeur-Martineau et al. 2021, Gotta go fast when generating data with score-based models, "
        "arXiv 2105.14080, algorithm 1; rejected noise: Rackauckas & Nie 2017"
    )

    def __post_init__(self) -> None:
        check_tolerances("gotta-go-fast", self.rtol, self.atol, self.h_init)
        check_number("gotta-go-fast", "theta", self.theta, 0.0, 1.0, above=True)
        check_number("gotta-go-fast", "r", self.r, 0.0, 1.0, above=True)
        check_choice("gotta-go-fast", "rejected", self.rejected, Rejected)

    @property
    def weak_order(self) -> float | None:
        if self.rejected == "fresh":
            return 0
        return None  # whether a step is accepted depends on its noise

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        refuse_clean_ends(self, path)
        way = (path[0].t, path[-1].t)
        walk = Walk(
            "gotta-go-fast", model, x, way, self.h_init * (way[0] - way[1]), self.control
        )
        motion, before = Brownian(x), x
        while walk.going:
            h = -walk.step
            w = motion.draw(h, noise()[to_device_of(walk.rows, x)])
            low = x + self.change(walk, x, walk.u, h, w, path)
            high = (low + x + self.change(walk, low, walk.u - h, h, w, path)) / 2
            tolerance = (self.rtol * low.abs().maximum(before.abs())).clamp_min(self.atol)
            accept = walk.judge(-h, error_norm(high - low, tolerance))
            motion.move(accept | (self.rejected == "fresh"), h, w)
            x, before, motion.times, motion.values = walk.leave(
                choose(accept, high, x),
                choose(accept, low, before),
                motion.times,
                motion.values,
            )
        return walk.result()

    def control(self, inverse: Host, past: Host | None) -> tuple[Host, Host]:
        """Acceptance, and the next step's factor: theta E^-r, down to a power of 2^(1/4)."""
        quarters = (4 * (self.theta * inverse**self.r).log2()).floor().clamp(-8, 8)
        return inverse >= 1 / (1 + 1e-8), 2 ** (quarters / 4)

    def change(self, walk: Walk, x: State, t: Host, h: Host, w: State, path: Path) -> State:
        """The change of x in an Euler-Maruyama step, with the coefficients at (x, t)."""
        p = path.schedule.at(t, like=x)
        f, g2 = path.drift(p), path.diffusion2(p)
        h = h.reshape(p.t.shape)
        return (
            column(g2.sqrt(), x) * w
            - column(h * f, x) * x
            - column(h * g2 / p.sigma, x) * walk.eps(x, p)
        )
