"""Pseudo-numerical methods for diffusion: classical weights on eps, with DDIM's step.

    phi(x, eps, a, b) = alpha_b (x / alpha_a + (l_b - l_a) eps),      l = sigma / alpha

carries x from a to b exactly if eps does not change. The eps passed to it combines answers with
the weights of equal steps in t. The methods differ in how the history starts; after that they
are the linear multistep method `ipndm`. Source: Liu et al. 2022 (arXiv 2202.09778), who show
that they are of order 2.
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
    """Pseudo-numerical method (F-PNDM): pseudo Runge-Kutta steps, then pseudo multistep.

    prk     e = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6 with the stages phi(x, e_1), phi(x, e_2) half way in t, phi(x, e_3) at b
    plms    e = (55 e_a - 59 e_a' + 37 e_a'' - 9 e_a''') / 24
    both    x_b = phi(x_a, e, a, b)

    Four evaluations in each of the first three steps, one in the others. Made for grids uniform
    in t: on those, and on all other smooth grids, it has order 2 over a run; in one of several
    uneven steps it has order 1, which is what it claims. With either start, a first step that
    divides the noise level by more than about 10 overshoots: do not use it for few steps from
    high levels. Option: `begin`, the first steps: `prk`, or `plms`, as in `pndm-plms`. Raises
    `DifftoolError` for other values.
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
        """One evaluation per step, none at sigma = 0; more in the first steps.

        prk: three more in each of the first three. plms: one more in the first.
        """
        if self.begin == "prk":
            more = sum(3 if p.sigma > 0 else 1 for p in path[1:4])
        else:
            more = int(path[1].sigma > 0)
        return len(path) - 1 + more - free_evaluations(path)


def _phi(x0: State, e: State, d: State, a: Point, b: Point) -> State:
    """phi(x, e + d, a, b), e and x0 the answer at x; nothing large cancels at high levels."""
    return b.alpha * x0 + b.sigma * e + b.alpha * (b.level - a.level) * d


def _stage(model: Denoiser, x0: State, e: State, d: State, a: Point, b: Point) -> State:
    """The eps at b, minus e, that follows from e + d."""
    return (x0 - model(_phi(x0, e, d, a, b), b)) / b.level + (1 - a.level / b.level) * d


def _runge_kutta(
    model: Denoiser, x0: State, e: State, now: Point, nxt: Point, path: Path
) -> State:
    """The eps of a pseudo Runge-Kutta step, minus e.

    If the step ends at sigma = 0, where eps is not known, it is that halfway.
    """
    half = path.at((now.t + nxt.t) / 2)
    d2 = _stage(model, x0, e, 0.0, now, half)
    if nxt.sigma == 0:
        return d2
    d3 = _stage(model, x0, e, d2, now, half)
    return (2 * d2 + 2 * d3 + _stage(model, x0, e, d3, now, nxt)) / 6


def pndm_plms() -> PNDM:
    """Pseudo linear multistep, started by a pseudo Heun step: the PLMS of latent diffusion.

    The first step averages eps at its start and at the end of DDIM's step; its end is then
    evaluated again. One evaluation per step, two in the first (diffusers' `skip_prk_steps`).
    Order 2 over a run on smooth grids. Source: Liu et al. 2022, arXiv 2202.09778; Rombach et
    al. 2022, arXiv 2112.10752, for the first step.
    """
    return PNDM("plms")
