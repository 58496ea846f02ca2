"""How much the squared error of a network counts, by the noise level.

With the error of x0 weighted by w, that of what the network returns counts w c_out^2 (x0 = c_skip x + c_out F):

    simple      w = (alpha / sigma)^2                    the error of the noise counts 1 everywhere
    output      w = 1 / c_out^2                          the error of what the network returns counts 1
    edm         w = (sigma^2 + alpha^2 s^2) / (sigma s)^2    s the standard deviation of the data
    min-snr     w = min((alpha / sigma)^2, gamma)
    vlb         the terms of the variational bound of a chain of T steps, see `VLB`
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from difftool.errors import DifftoolError
from difftool.schedules.base import Point, Schedule


class Weighting(ABC):
    """A weight for every point; points hold tensors (B, 1, ...)."""

    @abstractmethod
    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        """What the squared error of the network's answer counts at p; `out` is c_out there, `std` that of the data."""


@dataclass(frozen=True)
class Simple(Weighting):
    """The error of the noise counts 1. Source: Ho et al. 2020, arXiv 2006.11239, eq. 14."""

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return (out * p.alpha / p.sigma) ** 2


@dataclass(frozen=True)
class Output(Weighting):
    """The error of what the network returns counts 1, whatever that is."""

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return 1.0


@dataclass(frozen=True)
class EDM(Weighting):
    """The error of a network that predicts edm counts 1. Source: Karras et al. 2022, arXiv 2206.00364, table 1."""

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return (out / p.sigma) ** 2 * ((p.sigma / std) ** 2 + p.alpha**2)


@dataclass(frozen=True)
class MinSNR(Weighting):
    """The error of x0 counts min((alpha / sigma)^2, gamma). Source: Hang et al. 2023, arXiv 2303.09556.

    Option: `gamma` (> 0).
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma < math.inf:
            raise DifftoolError(f"min-snr takes gamma > 0, got {self.gamma}")

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return ((p.alpha / p.sigma) ** 2).clamp(max=self.gamma) * out**2


@dataclass(frozen=True)
class VLB(Weighting):
    """The terms of the variational bound of a chain of `length` steps, t_k = k / length, on any schedule.

    The error of x0 at t_k counts alpha_s^2 (1 - r^2)^2 / (2 rho_k^2), s = t_{k-1}, r = (sigma_s alpha_k) / (sigma_k
    alpha_s), with rho_k the standard deviation of sampling: rho_k^2 = sigma_s^2 (1 - r^2) (`small`), where that of
    k = 2 stands for that of k = 1, which is 0, or sigma_k^2 (1 - r^2) (`large`). Where alpha^2 + sigma^2 = 1 that is

        beta_k^2 / (2 rho_k^2 (1 - beta_k) sigma_k^2),    1 - beta_k = (alpha_k / alpha_{k-1})^2,

    for the error of the noise. Source: Ho et al. 2020, arXiv 2006.11239, eq. 12. Options: `length` (>= 2), `variance`.
    """

    length: int = 1000
    variance: Literal["small", "large"] = "small"

    def __post_init__(self) -> None:
        if (
            not isinstance(self.length, int)
            or self.length < 2
            or self.variance not in ("small", "large")
        ):
            raise DifftoolError(
                f"vlb takes length >= 2 and variance small or large, got {self.length!r}, {self.variance!r}"
            )

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        low, high = schedule.domain
        k = ((p.t - low) / (high - low) * self.length - 1e-6).ceil().clamp(1, self.length)
        keep, s, here = self._step(schedule, k)
        if self.variance == "large":
            rho2 = here.sigma**2 * keep
        else:
            wide, before, _ = self._step(schedule, k.clamp(min=2))
            rho2 = before.sigma**2 * wide
        return (s.alpha * keep * out) ** 2 / (2 * rho2)

    def _step(self, schedule: Schedule, k: Any) -> tuple[Any, Point, Point]:
        """1 - r^2, and the points k - 1 and k."""
        low, high = schedule.domain
        s, here = (schedule.at(low + (high - low) * i / self.length) for i in (k - 1, k))
        return 1 - (s.sigma * here.alpha / (here.sigma * s.alpha)) ** 2, s, here
