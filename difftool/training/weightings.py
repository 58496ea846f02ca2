"""Weightings: how much the squared error of a network counts at each noise level.

If the error of x0 has weight w, that of the network's output F has weight w c_out^2, since
x0 = c_skip x + c_out F:

    simple      w = (alpha / sigma)^2                    unit weight for the error of the noise
    output      w = 1 / c_out^2                          unit weight for the error of the output
    edm         w = (sigma^2 + alpha^2 s^2) / (sigma s)^2    s: standard deviation of the data
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
    """A weight for every point."""

    @abstractmethod
    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        """The weight of the squared error of the network's output at p.

        p holds tensors (B, 1, ...). out: c_out at p. std: the standard deviation of the data.
        """


@dataclass(frozen=True)
class Simple(Weighting):
    """Unit weight for the error of the noise.

    Source: Ho et al. 2020, arXiv 2006.11239, eq. 14.
    """

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return (out * p.alpha / p.sigma) ** 2


@dataclass(frozen=True)
class Output(Weighting):
    """Unit weight for the error of the network's output, whatever it predicts."""

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return 1.0


@dataclass(frozen=True)
class EDM(Weighting):
    """Unit weight for the error of a network that predicts edm.

    Source: Karras et al. 2022, arXiv 2206.00364, table 1.
    """

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return (out / p.sigma) ** 2 * ((p.sigma / std) ** 2 + p.alpha**2)


@dataclass(frozen=True)
class MinSNR(Weighting):
    """Weight min((alpha / sigma)^2, gamma) for the error of x0.

    Option: `gamma` (> 0).
    Source: Hang et al. 2023, arXiv 2303.09556.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma < math.inf:
            raise DifftoolError(f"min-snr needs gamma > 0, got {self.gamma}")

    def __call__(self, p: Point, out: Any, std: float, schedule: Schedule) -> Any:
        return ((p.alpha / p.sigma) ** 2).clamp(max=self.gamma) * out**2


@dataclass(frozen=True)
class VLB(Weighting):
    """The terms of the variational bound of a chain of `length` steps t_k = k / length.

    The error of x0 at t_k has weight alpha_s^2 (1 - r^2)^2 / (2 rho_k^2), with s = t_{k-1} and
    r = (sigma_s alpha_k) / (sigma_k alpha_s). rho_k is the standard deviation of sampling:
    rho_k^2 = sigma_s^2 (1 - r^2) (`small`; k = 1, for which it is 0, uses the value of k = 2)
    or sigma_k^2 (1 - r^2) (`large`). If alpha^2 + sigma^2 = 1, this is a weight of

        beta_k^2 / (2 rho_k^2 (1 - beta_k) sigma_k^2),  1 - beta_k = (alpha_k / alpha_{k-1})^2,

    for the error of the noise. Options: `length` (>= 2), `variance`.
    Source: Ho et al. 2020, arXiv 2006.11239, eq. 12.
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
                f"vlb needs length >= 2 and variance small or large, "
                f"got length={self.length!r}, variance={self.variance!r}"
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
