"""DPM-Solver and DPM-Solver++, singlestep: all stages lie inside the step, in half-log-SNR.

    order 2   one stage at r1 h;  order 3  stages at r1 h and r2 h, h the step in half-log-snr

The answers (eps for DPM-Solver, x0 for DPM-Solver++) are interpolated linearly in half-log-SNR
through the first and the newest stage. For order 2 the paper replaces the exact integral with
that of the midpoint rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, free_evaluations
from difftool.samplers.currencies import CURRENCIES
from difftool.samplers.interpolate import History, combine, midpoint_inside, nodes_of, weights
from difftool.samplers.options import check_choice, check_number, check_order
from difftool.samplers.variables import HALF_LOG_SNR
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class Singlestep(Sampler):
    """DPM-Solver singlestep, on x0 or eps: `order` evaluations per step, no history.

    order 1   x_b by the answer at a; order 2: a stage at r1, then
              x_b = A x_a + c ((1 - 1/(2 r1)) q_a + 1/(2 r1) q_1)            c the weight of a constant answer
    order 3   stages at r1 and r2, then the line through q_a and q_2, integrated exactly

    A step into sigma = 0 or from alpha = 0, where half-log-SNR is infinite, is of order 1.
    Options:

    order: 1, 2 or 3.
    interpolates: `x0` (DPM-Solver++) or `eps` (DPM-Solver).
    r1, r2: the positions of the stages, as fractions of the step in half-log-SNR
        (0.01 <= r1 < r2 <= 1; none: 1/2 for order 2, 1/3 and 2/3 for order 3; any other
        r2 reduces order 3 to 2).
    variant: `midpoint`, the paper's order 2, or `exact`, the exact integral (res-2s: refined
        exponential).
    ending: orders of the last steps, as in DPM-Solver-fast (`2+1`: order 2 in the last step but
        one, order 1 in the last).

    Raises `DifftoolError` for other values.
    """

    order: int = 2
    interpolates: Literal["x0", "eps"] = "x0"
    r1: float | None = None
    r2: float | None = None
    variant: Literal["midpoint", "exact"] = "midpoint"
    ending: tuple[int, ...] = ()

    name = "singlestep"
    reference = "Lu et al. 2022, DPM-Solver, arXiv 2206.00927, algorithms 1 and 2; DPM-Solver++, arXiv 2211.01095"

    def __post_init__(self) -> None:
        check_order("singlestep", self.order, range(1, 4), none=False)
        check_choice("singlestep", "interpolates", self.interpolates, Literal["x0", "eps"])
        check_choice("singlestep", "variant", self.variant, Literal["midpoint", "exact"])
        for option, value, least in (("r1", self.r1, 2), ("r2", self.r2, 3)):
            if value is not None:
                check_number("singlestep", option, value, 0.01, 1.0)
            if value is not None and self.order < least:
                raise DifftoolError(
                    f"singlestep of order {self.order} has no stage at {option}; leave {option} out"
                )
        if self.order == 3 and self.first >= self.second:
            raise DifftoolError(
                f"singlestep takes r1 < r2, got {self.first:g} and {self.second:g}"
            )
        if not isinstance(self.ending, tuple):
            raise DifftoolError(
                f"singlestep takes the orders of its last steps as ending=(2, 1), got {self.ending!r}"
            )
        for order in self.ending:
            check_order(
                "singlestep", order, range(1, self.order + 1), option="ending", none=False
            )

    @property
    def first(self) -> float:
        """The position r1 of the first stage."""
        if self.r1 is not None:
            return self.r1
        if self.order == 3:
            return 1 / 3
        return 1 / 2

    @property
    def second(self) -> float:
        """The position r2 of the second stage."""
        if self.r2 is None:
            return 2 / 3
        return self.r2

    @property
    def accuracy(self) -> float:
        return min([self._full_order, *self.ending[:-1]])  # of the last full step

    @property
    def global_order(self) -> float:
        return min([self._full_order, *(order + 1 for order in self.ending)])

    @property
    def _full_order(self) -> int:
        """The order of the steps before the ending: order 3 needs its second stage at 2/3."""
        if self.order == 3 and self.second != 2 / 3:
            return 2
        return self.order

    @property
    def evaluations(self) -> int:
        return self.order

    @property
    def divides_by_alpha(self) -> bool:
        return self.interpolates == "eps"

    def orders(self, path: Path) -> list[int]:
        """The order of each step."""
        n = len(path) - 1
        wanted = [*[self.order] * max(n - len(self.ending), 0), *self.ending[-n:]][:n]
        finite = [math.isfinite(p.half_log_snr) for p in path]
        return [
            order if a and b else 1
            for order, a, b in zip(wanted, finite, finite[1:], strict=False)
        ]

    def nfe(self, path: Path) -> int:
        return sum(self.orders(path)) - free_evaluations(path)

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for (now, nxt), order in zip(pairwise(path), self.orders(path), strict=True):
            x = self._step(model, x, now, nxt, path, order)
        return x

    def _step(
        self, model: Denoiser, x: State, now: Point, nxt: Point, path: Path, order: int
    ) -> State:
        """One step of the given order."""
        currency, parts = CURRENCIES[self.interpolates], self._parts(order)
        h = nxt.half_log_snr - now.half_log_snr
        stages = [path.at_half_log_snr(now.half_log_snr + r * h) for r in parts]
        y, p = x, now  # the newest stage and its point
        known: History = []  # the answers at that stage and at now
        for q in [*stages, nxt]:
            known = [(p, currency.answer(y, model(y, p), p)), *known[-1:]]
            gain, w = weights(now, q, nodes_of(known), path, currency, HALF_LOG_SNR)
            if order == 2 and q is nxt and self.variant == "midpoint":
                w = midpoint_inside(sum(w), parts[0])
            y, p = combine(gain, x, w, known), q
        return y

    def _parts(self, order: int) -> tuple[float, ...]:
        """The stages of a step of the given order, as fractions of it in half-log-SNR."""
        if order == 1:
            return ()
        if order == 3:
            return (self.first, self.second)
        if self.order == 2:
            return (self.first,)
        return (1 / 2,)  # a step of the ending


def dpm_solver_1() -> Singlestep:
    """DPM-Solver-1: one evaluation per step; identical to DDIM.

    Source: Lu et al. 2022, arXiv 2206.00927, eq. 3.7.
    """
    return Singlestep(1, "eps")


def dpm_solver_2(r1: float = 1 / 2) -> Singlestep:
    """DPM-Solver-2: two evaluations per step on eps, the second at fraction r1 of it.

    Option: `r1`, the position of the stage as a fraction of the step in half-log-SNR
    (0.01 <= r1 <= 1). Source: Lu et al. 2022, arXiv 2206.00927, algorithm 1.
    """
    return Singlestep(2, "eps", r1)


def dpm_solver_3(r1: float = 1 / 3, r2: float = 2 / 3) -> Singlestep:
    """DPM-Solver-3: three evaluations per step on eps, two of them at fractions r1 and r2.

    Options: `r1`, `r2`, the positions of the stages as fractions of the step in half-log-SNR
    (0.01 <= r1 < r2 <= 1; order 3 for r2 = 2/3). Source: Lu et al. 2022, arXiv 2206.00927,
    algorithm 2.
    """
    return Singlestep(3, "eps", r1, r2)


def dpmpp_2s(r1: float = 1 / 2) -> Singlestep:
    """DPM-Solver++(2S): two evaluations per step on x0, the second at fraction r1 of it.

    Option: `r1`, the position of the stage as a fraction of the step in half-log-SNR
    (0.01 <= r1 <= 1). Source: Lu et al. 2022, arXiv 2211.01095, algorithm 1.
    """
    return Singlestep(2, "x0", r1)


def dpmpp_3s(r1: float = 1 / 3, r2: float = 2 / 3) -> Singlestep:
    """DPM-Solver++(3S): three evaluations per step on x0, two of them at fractions r1 and r2.

    Options: `r1`, `r2`, the positions of the stages as fractions of the step in half-log-SNR
    (0.01 <= r1 < r2 <= 1; order 3 for r2 = 2/3). Source: Lu et al. 2022, arXiv 2211.01095,
    appendix B.
    """
    return Singlestep(3, "x0", r1, r2)


def res_2s(r1: float = 1 / 2) -> Singlestep:
    """Refined exponential solver of order 2 (RES), singlestep: two evaluations per step on x0.

    The line through both answers is integrated exactly. Option: `r1`, the position of the stage
    as a fraction of the step in half-log-SNR (0.01 <= r1 <= 1). Source: Zhang et al. 2023, RES,
    arXiv 2308.02157.
    """
    return Singlestep(2, "x0", r1, variant="exact")


def dpm_fast(ending: tuple[int, ...] = (2, 1)) -> Singlestep:
    """DPM-Solver-fast: order 3, ending with orders 2 and 1; N steps cost 3 N - 3 evaluations.

    Option: `ending`, the orders of the last steps: 2+1, 1 or 2, so that any number of
    evaluations is possible. The paper's grid is `half-log-snr`. Source: Lu et al. 2022, arXiv
    2206.00927, section 3.4.
    """
    return Singlestep(3, "eps", ending=tuple(ending))
