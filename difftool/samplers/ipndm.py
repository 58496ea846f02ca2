"""ipndm and ipndm-v: Adams-Bashforth on eps in the noise level, with weights that may be wrong.

    x_b = phi(x_a, sum_j c_j eps_j),      phi(x, eps) = alpha_b (x / alpha_a + (l_b - l_a) eps),      l = sigma / alpha

is Adams-Bashforth (`lms`) if the c_j are integrals of Lagrange polynomials in l. `ipndm` uses
those of equal steps, whatever the grid:

    1,   (3, -1) / 2,   (23, -16, 5) / 12,   (55, -59, 37, -9) / 24

`ipndm-v` is meant to use the right ones, which makes it `lms`; its authors' code, which is
copied everywhere, gets them wrong. Sources: Liu et al. 2022 (arXiv 2202.09778); Zhang & Chen
2022 (arXiv 2204.13902).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.samplers.adams import Adams, lms
from difftool.samplers.base import NoiseSource, State, eps_of
from difftool.samplers.interpolate import History, combine, nodes_of
from difftool.samplers.multistep import Predictor, Start
from difftool.samplers.options import check_choice
from difftool.schedules.base import Point
from difftool.schedules.path import Path

UNIFORM = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
Coefficients = Literal["uniform", "published"]


def phi(x: State, eps: History, c: Sequence[float], now: Point, nxt: Point) -> State:
    """DDIM's step with sum_j c_j eps_j in place of eps."""
    h = nxt.alpha * (nxt.level - now.level)
    return combine(nxt.alpha / now.alpha, x, [h * weight for weight in c], eps)


@dataclass(frozen=True)
class IPNDM(Predictor):
    """Improved PNDM (iPNDM): Adams-Bashforth weights of equal steps on eps, with DDIM's step.

    x_b = alpha_b (x_a / alpha_a + (l_b - l_a) sum_j c_j eps_j), l = sigma / alpha. One
    evaluation per step. It reaches the order of its name only where the noise level falls in
    equal steps. On any other smooth grid it has order 2 over a run, and order 1 in one of
    several uneven steps, which is what it claims. diffusers runs it on a grid uniform in
    arctan(sigma / alpha), ComfyUI on any grid, with the mean as the last step. Options:

    order: answers in a step, 1 to 4; none: 4, or the number of steps if smaller.
    start, taper: as in `adams`.
    coefficients: `uniform`, or `published`: those of the published code of `ipndm-v`.

    Raises `DifftoolError` for other values.
    """

    coefficients: Coefficients = "uniform"

    name = "ipndm"
    orders = range(1, 5)
    reference = "Liu et al. 2022, Pseudo numerical methods for diffusion models on manifolds, arXiv 2202.09778"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.name, "coefficients", self.coefficients, Coefficients)

    @property
    def usual(self) -> int:
        return 4

    @property
    def accuracy(self) -> float:
        if self.full == 1 or self.coefficients == "uniform":
            return 1
        if self.full == 4 and not self.taper:
            return 0
        return 2

    @property
    def point_mass(self) -> bool:
        return self.coefficients == "uniform" or self.full < 4

    @property
    def global_order(self) -> float:
        return min(self.full, 2)

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def answer(self, x: State, x0: State, p: Point) -> State:
        return eps_of(x, x0, p)

    def step(
        self, x: State, now: Point, nxt: Point, known: History, path: Path, noise: NoiseSource
    ) -> State:
        if self.coefficients == "uniform":
            c = UNIFORM[len(known)]
        else:
            c = published([nxt, *nodes_of(known)][::-1])
        return phi(x, known, c, now, nxt)


def ipndm_v(
    order: int | None = None,
    start: Start = "ramp",
    taper: bool = False,
    published: bool = False,
) -> Adams | IPNDM:
    """iPNDM with variable steps (iPNDM-v): the same as `lms`; order 4 by default.

    With `published`, the coefficients are those of its authors' code (and of ComfyUI). For
    order 3 they are right for equal steps only (a bracket in the wrong place), else of order 2.
    For order 4 they are of order 3 for equal steps (a wrong sign); else they do not sum to
    1 and have order 0 in one step. Over a run on a smooth grid both have order 2. Other options
    as in `adams`, orders 1 to 4. Source: Liu et al. 2022, arXiv 2202.09778; Zhang & Chen 2022,
    arXiv 2204.13902.
    """
    as_published = IPNDM(order, start, taper, "published")
    if published:
        return as_published
    return lms(order, start, taper)


def published(points: Sequence[Point]) -> tuple[float, ...]:
    """The published coefficients of `ipndm-v` for the last step of these points, newest first.

    Each order adds a divided difference to the one before. The third has (1 - h / (3 (h + h1))
    r) / 2 where (1 - h / (3 (h + h1))) r / 2 is right; the fourth has a plus in t where minus
    is right, and ends with h1 / h2 where h2 / h3 is right.
    """
    h, h1, h2, h3 = ([a.level - b.level for a, b in pairwise(points)][::-1] + [1.0] * 3)[:4]
    c = [1.0]
    if len(points) > 2:
        c = [1 + h / h1 / 2, -h / h1 / 2]
    q, r = h1 / h2, h * (h + h1) / (h1 * (h1 + h2))
    if len(points) > 3:
        t = (1 - h / (3 * (h + h1)) * r) / 2
        c = [c[0] + t, c[1] - (1 + q) * t, q * t]
    if len(points) > 4:
        t = (1 - h / (3 * (h + h1))) / 2 + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))
        t *= r * (h + h1 + h2) / (h1 + h2 + h3)
        k = h1 * (h1 + h2) / (h2 * (h2 + h3))
        c = [c[0] + t, c[1] - (1 + q + k) * t, c[2] + (q + k * (1 + h2 / h3)) * t, -k * q * t]
    return tuple(c)
