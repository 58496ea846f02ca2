"""UniPC: a predictor, and a corrector without extra evaluations, on x0 in half-log-SNR.

    UniP-p   x_b from x_a by the p newest answers
    UniC-p   x_b again, by these and the answer at the predicted x_b (not evaluated again)

Both integrate the polynomial through the answers exactly. Where there is only one difference
(UniP-2, UniC-1), the paper puts the weight 1/2 in front of B(h), with B = h (bh1) or
e^h - 1 (bh2), h the step in half-log-SNR.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.currencies import X0
from difftool.samplers.interpolate import (
    History,
    combine,
    has_half_log_snr,
    midpoint,
    nodes_of,
    weights,
)
from difftool.samplers.multistep import Multistep, Start, starting_step
from difftool.samplers.options import check_choice
from difftool.samplers.variables import HALF_LOG_SNR
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class UniPC(Multistep):
    """UniPC: UniP of order p with its corrector of order p + 1, one evaluation per step.

    x_b = sigma_b / sigma_a x_a + alpha_b (1 - e^-h) D_0 + alpha_b B(h) sum_m rho_m
    (D_m - D_0) / r_m, with rho_m such that polynomials of degree p - 1 (with the corrector: p)
    are integrated exactly. The last step is not corrected. Options:

    order: p, 1 to 4; none: 3, or the number of steps if smaller. The accuracy is p + 1 with the
        corrector, p without.
    start, taper: how a run begins and ends, see `adams`.
    corrector: whether to correct (`unip`: no).
    bh: `bh1`, B = h, or `bh2`, B = e^h - 1; they differ in UniP-2 and UniC-1 only.

    Raises `DifftoolError` for other values.
    """

    corrector: bool = True
    bh: Literal["bh1", "bh2"] = "bh2"

    name = "unipc"
    orders = range(1, 5)
    reference = "Zhao et al. 2023, UniPC, arXiv 2302.04867"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.name, "bh", self.bh, Literal["bh1", "bh2"])

    @property
    def accuracy(self) -> float | None:
        return self._corrected(self.step_order)

    @property
    def global_order(self) -> float | None:
        if self.taper:  # the last step is of order 1, and nothing corrects it
            return min(self._corrected(self.full), 2)
        if self.start == "runge-kutta":
            return self._corrected(self.full)
        return self._corrected(min(self.full, 2))

    def _corrected(self, order: int) -> int:
        """One order more with the corrector."""
        if self.corrector:
            return order + 1
        return order

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        known: History = []
        # the corrected state, and the order of the step from it; 0: none to correct
        y, p = (
            x,
            0,
        )
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now)
            if p and self.corrector and has_half_log_snr(path[i - 1]):
                y = self._advance(y, path[i - 1], now, [(now, x0), *known[:p]], path)  # UniC-p
            else:
                y = x
            known = [(now, x0), *known][: self.full]
            if self.starts(i, nxt):
                x, p = starting_step(model, y, x0, now, nxt, path), 0
            else:
                p = self.order_at(i, path)
                x = self._advance(y, now, nxt, known[:p], path)  # UniP-p
        return x

    def _advance(self, y: State, now: Point, nxt: Point, known: History, path: Path) -> State:
        """The state at nxt from y at now by the known answers; a corrector's include nxt."""
        nodes = nodes_of(known)
        gain, w = weights(now, nxt, nodes, path, X0, HALF_LOG_SNR)
        if len(known) == 2 and has_half_log_snr(nxt, *nodes):  # one difference: the paper's 1/2
            slope = sum(w)
            if self.bh == "bh1":
                slope = nxt.alpha * (nxt.half_log_snr - now.half_log_snr)
            w = midpoint(now, nxt, nodes, constant=sum(w), slope=slope)
        return combine(gain, y, w, known)


def unip(
    order: int | None = None,
    start: Start = "ramp",
    taper: bool = False,
    bh: Literal["bh1", "bh2"] = "bh2",
) -> UniPC:
    """UniP: the predictor of UniPC, without the corrector.

    Options as in `unipc`; the accuracy is the order. UniP-2 with bh2 is DPM-Solver++(2M),
    UniP-3 its 3M with the factor 2, except in the second step of a run. Source: Zhao et al.
    2023, arXiv 2302.04867.
    """
    return UniPC(order, start, taper, False, bh)
