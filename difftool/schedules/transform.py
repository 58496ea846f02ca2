"""Schedules derived from another one: scaled noise levels, or zero terminal SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from difftool.errors import DifftoolError
from difftool.errors.validation import check_options
from difftool.schedules._math import clip, exp, log, log_alpha_vp, ratio, sqrt, where
from difftool.schedules.base import Point, Schedule
from difftool.schedules.flow import Flow
from difftool.schedules.table import ScaledLinear, Table
from difftool.schedules.vp import Cosine


def is_variance_preserving(schedule: Schedule) -> bool:
    """Whether alpha^2 + sigma^2 = 1."""
    low, high = schedule.domain
    inner = [schedule.at(low + u * (high - low)) for u in (0.3, 0.5, 0.7)]
    return all(abs(p.alpha**2 + p.sigma**2 - 1) < 1e-9 for p in inner)


@dataclass(frozen=True)
class Shifted(Schedule):
    """A schedule with every noise level multiplied by `shift`; lambda falls by log(shift).

    (alpha', sigma') = (alpha, shift sigma) n / n', with n and n' the norms of (alpha, sigma)
    and of (alpha, shift sigma). The norm is the one that is constant along the schedule: alpha
    + sigma on flow, alpha on variance-exploding schedules, else sqrt(alpha^2 + sigma^2). On
    flow, t' = shift t / (1 + (shift - 1) t). For images of m pixels instead of n, SD3 takes
    shift = sqrt(m / n).

    Options: `schedule`, and the factor `shift` (> 0). Raises `DifftoolError` for other factors.
    """

    schedule: Schedule = field(default_factory=Flow)
    shift: float = 3.0

    reference = "Esser et al. 2024, Scaling rectified flow transformers, arXiv 2403.03206, section 5.3.2"

    def __post_init__(self) -> None:
        if not 0 < self.shift < math.inf:
            raise DifftoolError(f"shifted takes a factor shift > 0, got {self.shift}")

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        return self.schedule.domain

    @property
    def entries(self) -> int:  # type: ignore[override]
        return self.schedule.entries

    @property
    def lowest(self) -> float:  # type: ignore[override]
        return self.shift * self.schedule.lowest

    @cached_property
    def _keeps(self) -> str:
        """The norm that is constant along the schedule."""
        low, high = self.schedule.domain
        inner = [self.schedule.at(low + u * (high - low)) for u in (0.3, 0.5, 0.7)]
        if all(abs(p.alpha + p.sigma - 1) < 1e-9 for p in inner):
            return "sum"
        if all(abs(p.alpha - 1) < 1e-9 for p in inner):
            return "alpha"
        if is_variance_preserving(self.schedule):
            return "unit"
        return "square"

    def _scale(self, p: Point) -> Any:
        """n / n'."""
        if self._keeps == "alpha":
            return p.alpha * 0 + 1.0
        if self._keeps == "sum":
            return (p.alpha + p.sigma) / (p.alpha + self.shift * p.sigma)
        return sqrt((p.alpha**2 + p.sigma**2) / (p.alpha**2 + self.shift**2 * p.sigma**2))

    def alpha(self, t: Any) -> Any:
        p = self.schedule.at(t)
        return p.alpha * self._scale(p)

    def sigma(self, t: Any) -> Any:
        p = self.schedule.at(t)
        return self.shift * p.sigma * self._scale(p)

    def t_at_half_log_snr(self, value: Any) -> Any:
        return self.schedule.t_at_half_log_snr(value + math.log(self.shift))

    def drift(self, t: Any) -> Any:
        if self._keeps == "sum":
            return self.shift * self._scale(self.schedule.at(t)) * self.schedule.drift(t)
        if self._keeps == "alpha":
            return self.schedule.drift(t)
        if self._keeps == "unit":
            return -self.diffusion2(t) / 2
        p, g2, c2 = self.schedule.at(t), self.schedule.diffusion2(t), self.shift**2
        norms = 1 / (p.alpha**2 + p.sigma**2) - c2 / (p.alpha**2 + c2 * p.sigma**2)
        return self.schedule.drift(t) + g2 / 2 * norms

    def diffusion2(self, t: Any) -> Any:
        return (self.shift * self._scale(self.schedule.at(t))) ** 2 * self.schedule.diffusion2(
            t
        )


def shifted_cosine(size: int = 256, base: int = 64) -> Shifted:
    """The cosine schedule for images of `size` pixels a side: noise levels times size / base.

    Options: `size`, and `base`, the size for which the cosine schedule is unchanged (pixels,
    > 0). Source: Hoogeboom et al. 2023, simple diffusion, arXiv 2301.11093, eq. 5. Raises
    `DifftoolError` for sizes below 1.
    """
    fit = not (size < 1 or base < 1)
    check_options(fit, "shifted-cosine takes sizes of at least 1 pixel", size=size, base=base)
    return Shifted(Cosine(s=0.0), size / base)


@dataclass(frozen=True)
class ZeroTerminal(Schedule):
    """A variance-preserving schedule, rescaled to end in pure noise, with zero terminal SNR.

    alpha' = alpha_0 (alpha - alpha_T) / (alpha_0 - alpha_T), sigma'^2 = 1 - alpha'^2, where
    alpha_0 is that of the first entry of a table (below it nothing changes), else 1. Networks
    that predict eps are not defined at its end.

    Option: `schedule`. Raises `DifftoolError` unless it is variance preserving,
    alpha^2 + sigma^2 = 1.
    """

    schedule: Schedule = field(default_factory=ScaledLinear)

    reference = "Lin et al. 2024, Common diffusion noise schedules and sample steps are flawed, arXiv 2305.08891"

    def __post_init__(self) -> None:
        if not is_variance_preserving(self.schedule):
            raise DifftoolError(
                f"zero-terminal takes a variance-preserving schedule, got {self.schedule!r}"
            )

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        return self.schedule.domain

    @property
    def entries(self) -> int:  # type: ignore[override]
        return self.schedule.entries

    @property
    def lowest(self) -> float:  # type: ignore[override]
        return self.schedule.lowest

    @cached_property
    def _first(self) -> float:
        """The time of the first entry, above which alpha is rescaled."""
        if isinstance(self.schedule, Table):
            return 1 / len(self.schedule.betas)
        return self.domain[0]

    @cached_property
    def _ends(self) -> tuple[float, float, float]:
        """alpha_0, 1 - alpha_0, alpha_T."""
        p = self.schedule.at(self._first)
        return p.alpha, p.sigma**2 / (1 + p.alpha), self.schedule.alpha(self.domain[1])

    def _rescaled(self, p: Point) -> tuple[Any, Any]:
        """alpha' and 1 - alpha', from 1 - alpha = sigma^2 / (1 + alpha), cancellation-free."""
        first, lost, last = self._ends
        return (
            first * clip(p.alpha - last, 0.0, 1.0) / (first - last),
            (first * p.sigma**2 / (1 + p.alpha) - last * lost) / (first - last),
        )

    def alpha(self, t: Any) -> Any:
        p = self.schedule.at(t)
        return where(t < self._first, p.alpha, self._rescaled(p)[0])

    def sigma(self, t: Any) -> Any:
        p = self.schedule.at(t)
        alpha, lost = self._rescaled(p)
        return where(t < self._first, p.sigma, sqrt(abs(lost * (1 + alpha))))

    def t_at_half_log_snr(self, value: Any) -> Any:
        first, lost, last = self._ends
        lost_now = exp(2 * log_alpha_vp(-value)) / (1 + exp(log_alpha_vp(value)))  # 1 - alpha'
        lost_then = (last * lost + lost_now * (first - last)) / first  # 1 - alpha
        then = log((1 - lost_then) / sqrt(lost_then * (2 - lost_then)))
        below = value > self.schedule.half_log_snr(self._first)
        return self.schedule.t_at_half_log_snr(where(below, value, then))

    def drift(self, t: Any) -> Any:
        alpha, last = self.schedule.alpha(t), self._ends[2]
        f = self.schedule.drift(t)
        return where(t < self._first, f, -ratio(abs(f) * alpha, clip(alpha - last, 0.0, 1.0)))

    def diffusion2(self, t: Any) -> Any:
        return -2 * self.drift(t)
