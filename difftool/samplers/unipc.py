"""UniPC: a predictor and a corrector that costs no evaluation, on x0 in half-log-snr.

    UniP-p   x_b from x_a by the p newest answers
    UniC-p   x_b once more, by these and the answer at the predicted x_b, which is not asked again

Both integrate the polynomial through the answers exactly; where one difference is all there is (UniP-2, UniC-1) the
paper takes the weight 1/2 in front of B(h), with B = h (bh1) or e^h - 1 (bh2), h the step in half-log-snr.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from difftool.samplers.base import Denoiser, NoiseSource, State
from difftool.samplers.interpolate import step, weights
from difftool.samplers.multistep import Multistep, Start, accurate_step
from difftool.samplers.options import check_choice
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class UniPC(Multistep):
    """UniPC: UniP of order p and its corrector of order p + 1, one evaluation per step.

    x_b = sigma_b / sigma_a x_a + alpha_b (1 - e^-h) D_0 + alpha_b B(h) sum_m rho_m (D_m - D_0) / r_m, the rho_m such
    that polynomials of degree p - 1 (with the corrector: p) are integrated exactly. The last step is not corrected.
    Options:

    order: p, 1 to 4; none: 3, or what the steps allow. The accuracy is p + 1 with the corrector, p without.
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
        return (min(self.full, 2) if self.taper else self.full) + self.corrector

    @property
    def global_order(self) -> float | None:
        if self.taper:
            return min(
                self.full + self.corrector, 2
            )  # the last step is of order 1, and nothing corrects it
        return (
            self.full if self.start == "runge-kutta" else min(self.full, 2)
        ) + self.corrector

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        past: list[Any] = []
        y, used = x, 0
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now)
            if used and self.corrector and math.isfinite(past[0][0].half_log_snr):
                y = self._advance(y, past[0][0], now, [(now, x0), *past[:used]], path)
            else:
                y = x
            past = [(now, x0), *past][: self.full]
            if self.begins(i, nxt):
                x, used = accurate_step(model, y, x0, now, nxt, path), 0
            else:
                used = self.reach(i, len(path) - 1)
                x = self._advance(y, now, nxt, past[:used], path)
        return x

    def _advance(self, y: State, a: Point, b: Point, known: list[Any], path: Path) -> State:
        """The state at b from that at a by the known answers, newest first."""
        nodes, answers = zip(*known, strict=True)
        gain, w = weights(a, b, nodes, path, "x0", "half-log-snr")
        lambdas = [p.half_log_snr for p in (b, *nodes)]
        if len(nodes) == 2 and all(
            map(math.isfinite, lambdas)
        ):  # one difference: the paper's 1/2
            h = b.half_log_snr - a.half_log_snr
            scale = sum(w) if self.bh == "bh2" else b.alpha * h
            slope = scale * h / (2 * (nodes[0].half_log_snr - nodes[1].half_log_snr))
            newest = nodes[0] == a
            w = [sum(w) * newest + slope, sum(w) * (not newest) - slope]
        return step(gain, y, w, answers)


def unip(
    order: int | None = None,
    start: Start = "ramp",
    taper: bool = False,
    bh: Literal["bh1", "bh2"] = "bh2",
) -> UniPC:
    """UniP: the predictor of UniPC alone.

    Options as of `unipc`; the accuracy is the order. UniP-2 with bh2 is DPM-Solver++(2M), UniP-3 its 3M with the factor
    2, the second step of a run aside. Source: Zhao et al. 2023, arXiv 2302.04867.
    """
    return UniPC(order, start, taper, False, bh)
