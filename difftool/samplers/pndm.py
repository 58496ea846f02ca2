"""Pseudo-numerical methods for diffusion: classical weights on eps, with DDIM's step in place of the classical one.

    phi(x, eps, a, b) = alpha_b (x / alpha_a + (l_b - l_a) eps),      l = sigma / alpha

carries x from a to b exactly if eps does not change; the eps it is given is a combination of answers with the weights
of equal steps in t. They differ in how the history is started, and then are the linear multistep method `ipndm`.
Source: Liu et al. 2022 (arXiv 2202.09778), who show that they are of order 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.samplers.base import (
    Denoiser,
    NoiseSource,
    Sampler,
    State,
    eps_of,
    free_evaluations,
)
from difftool.samplers.ipndm import UNIFORM
from difftool.samplers.options import check_choice
from difftool.schedules.base import Point
from difftool.schedules.path import Path

Begin = Literal["prk", "plms"]


@dataclass(frozen=True)
class PNDM(Sampler):
    """Pseudo-numerical method: three pseudo Runge-Kutta steps, then pseudo linear multistep (F-PNDM).

    prk     e = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6 with the stages phi(x, e_1), phi(x, e_2) half way in t, phi(x, e_3) at b
    plms    e = (55 e_a - 59 e_a' + 37 e_a'' - 9 e_a''') / 24
    both    x_b = phi(x_a, e, a, b)

    Four evaluations in each of the first three steps, one in the others. For grids uniform in t: on those, and all
    other smooth ones, of order 2; in one of several uneven steps of order 1, which is what it claims. A first step that
    cuts the noise level by more than about 10 overshoots in either start: few steps from high levels are not for it.
    Option: `begin`, the first steps: `prk`, or `plms`, as by `pndm-plms`. Raises `DifftoolError` for others.
    """

    begin: Begin = "prk"

    name = "pndm-prk"
    accuracy = 1
    global_order = 2
    reference = "Liu et al. 2022, Pseudo numerical methods for diffusion models on manifolds, arXiv 2202.09778"

    def __post_init__(self) -> None:
        check_choice("pndm", "begin", self.begin, Begin)

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        past: list = []
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now)
            e = eps_of(x, x0, now)
            past = [e, *past][:4]
            if self.begin == "prk" and i < 3:
                d = _runge_kutta(model, x0, e, now, nxt, path)
            elif i == 0 and nxt.sigma > 0:
                d = _stage(model, x0, e, 0.0, now, nxt) / 2
            else:
                older = zip(UNIFORM[len(past)][1:], past[1:], strict=True)
                d = sum(c * (old - e) for c, old in older)
            x = _phi(x0, e, d, now, nxt)
        return x

    def nfe(self, path: Path) -> int:
        """One evaluation a step; three more in the first three, or one more in the first; none at sigma = 0."""
        if self.begin == "prk":
            more = sum(3 if p.sigma > 0 else 1 for p in path[1:4])
        else:
            more = int(path[1].sigma > 0)
        return len(path) - 1 + more - free_evaluations(path)


def _phi(x0: State, e: State, d: State, a: Point, b: Point) -> State:
    """phi(x, e + d, a, b) with e, x0 the answer at x: no large numbers that cancel at a high noise level."""
    return b.alpha * x0 + b.sigma * e + b.alpha * (b.level - a.level) * d


def _stage(model: Denoiser, x0: State, e: State, d: State, a: Point, b: Point) -> State:
    """The eps at b, less e, that follows from e + d."""
    return (x0 - model(_phi(x0, e, d, a, b), b)) / b.level + (1 - a.level / b.level) * d


def _runge_kutta(
    model: Denoiser, x0: State, e: State, now: Point, nxt: Point, path: Path
) -> State:
    """The eps of a pseudo Runge-Kutta step, less e; that half way if it ends at sigma = 0, where nothing is known."""
    half = path.at((now.t + nxt.t) / 2)
    d2 = _stage(model, x0, e, 0.0, now, half)
    if nxt.sigma == 0:
        return d2
    d3 = _stage(model, x0, e, d2, now, half)
    return (2 * d2 + 2 * d3 + _stage(model, x0, e, d3, now, nxt)) / 6


def pndm_plms() -> PNDM:
    """Pseudo linear multistep, whose first step is a pseudo Heun step: the PLMS of latent diffusion.

    The first step averages eps at its start and at the end of DDIM's step, and its end is then evaluated again: one
    evaluation per step, two in the first (diffusers' `skip_prk_steps`). Order 2 over a run on smooth grids. Source:
    Liu et al. 2022, arXiv 2202.09778; Rombach et al. 2022, arXiv 2112.10752, for the first step.
    """
    return PNDM("plms")
