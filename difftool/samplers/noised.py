"""The common part of samplers that add noise: their claims, and the stages of their steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from difftool.samplers.base import Sampler, free_evaluations
from difftool.samplers.options import check_number
from difftool.schedules.base import Point
from difftool.schedules.path import Path


class Noised(Sampler):
    """A sampler with a noise multiplier `s_noise`; only 1 keeps the distribution."""

    s_noise: float

    def __post_init__(self) -> None:
        check_number(self.name, "s_noise", self.s_noise, 0.0, above=True)
        super().__post_init__()

    @property
    def order_of_law(self) -> float | None:
        """The weak order with s_noise = 1."""
        return 1

    @property
    def weak_order(self) -> float | None:
        if not self.stochastic:
            return None
        if self.s_noise == 1:
            return self.order_of_law
        return 0

    @property
    def point_mass(self) -> bool:
        return self.s_noise == 1 or not self.stochastic


class NoisedSDE(Noised):
    """A sampler of the reverse SDE with an option `eta`, the amount of noise; 0 is the ODE."""

    eta: float

    most_eta: ClassVar[float] = math.inf
    noise_option = "eta"

    def __post_init__(self) -> None:
        check_number(self.name, "eta", self.eta, 0.0, self.most_eta)
        super().__post_init__()

    @property
    def stochastic(self) -> bool:
        return self.eta > 0


def stages(now: Point, nxt: Point, path: Path, parts: Sequence[float]) -> list[Point]:
    """The points at these fractions of a step in half-log-SNR; none where that is infinite."""
    a, b = now.half_log_snr, nxt.half_log_snr
    if not (math.isfinite(a) and math.isfinite(b)):
        return []
    return [nxt if r == 1 else path.at_half_log_snr(a + r * (b - a)) for r in parts]


def staged_nfe(path: Path, parts: Sequence[float]) -> int:
    """Evaluations of a method with these stages after the first one; none at sigma = 0."""
    total = sum(1 + len(stages(a, b, path, parts)) for a, b in pairwise(path))
    return total - free_evaluations(path)
