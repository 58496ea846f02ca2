"""Noise schedules: x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).

Every other quantity follows from the two functions:

    noise level        l(t)      = sigma / alpha          (k-diffusion's and EDM's sigma)
    half log SNR       lambda(t) = log(alpha / sigma)     (decreases in t: larger t is more noise)
    flow time          s(t)      = sigma / (alpha + sigma)
    drift              f(t)      = d log(alpha) / dt
    squared diffusion  g^2(t)    = 2 sigma^2 d log(sigma / alpha) / dt

so that dx = f x dt + g dW has the marginals above (Song et al. 2021, arXiv 2011.13456; Kingma
et al. 2021, arXiv 2107.00630).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from difftool.errors import DifftoolError
from difftool.schedules._math import clip, log, ratio, where

ALPHA_MIN = 1e-3  # alpha where a run starts if something divides by it
# in arrays, lower noise levels count as 0, and those above its inverse as infinite
NEAR_END = 1e-30


class Point(NamedTuple):
    """A point on a schedule: the time and its two coefficients.

    Floats when sampling; tensors (B, 1, ...) when training, and for per-sample points.
    """

    t: Any
    alpha: Any
    sigma: Any

    @property
    def level(self) -> Any:
        """The noise level sigma / alpha; infinite where alpha = 0."""
        return ratio(self.sigma, self.alpha)

    @property
    def half_log_snr(self) -> Any:
        """log(alpha / sigma); +inf at sigma = 0, -inf at alpha = 0."""
        return log(ratio(self.alpha, self.sigma))

    @property
    def flow(self) -> Any:
        """The flow time sigma / (alpha + sigma), in [0, 1] and finite at both ends."""
        return self.sigma / (self.alpha + self.sigma)


class Schedule(ABC):
    """A noise schedule: `alpha(t)` and `sigma(t)` on `domain`, for floats, numpy and torch.

    A new schedule implements these two methods; everything else has a default derived from them
    (derivatives and inverses in float64). Larger t is more noise; sigma is 0 at the lower end
    of the domain.
    """

    domain: tuple[float, float] = (0.0, 1.0)
    # timesteps of networks trained on integer timesteps, t = (i + 1) / entries
    entries: int = 1000
    # the lowest noise level above 0 that such a network was trained on; 0: any
    lowest: float = 0.0
    reference: ClassVar[str] = ""

    @abstractmethod
    def alpha(self, t: Any) -> Any:
        """The signal coefficient, with the type and shape of t."""

    @abstractmethod
    def sigma(self, t: Any) -> Any:
        """The noise coefficient (standard deviation), with the type and shape of t."""

    def at(self, t: Any, like: Any = None) -> Point:
        """The point at t; if `like` is a tensor (B, ...), t (B,) becomes (B, 1, ...)."""
        if like is not None and getattr(t, "ndim", 0) == 1:
            t = t.reshape(-1, *[1] * (like.ndim - 1))
        try:
            return Point(t, self.alpha(t), self.sigma(t))
        except (OverflowError, ZeroDivisionError) as error:
            raise DifftoolError(
                f"{self!r} has no finite noise level at t={t} ({error}); choose less extreme options"
            ) from None

    def add_noise(self, x0: Any, t: Any, eps: Any) -> Any:
        """x_t = alpha x_0 + sigma eps; x0 and eps (B, ...), t a float or (B,)."""
        p = self.at(t, like=x0)
        return p.alpha * x0 + p.sigma * eps

    def level(self, t: Any) -> Any:
        """The noise level sigma / alpha."""
        return ratio(self.sigma(t), self.alpha(t))

    def half_log_snr(self, t: Any) -> Any:
        """log(alpha / sigma); decreasing in t."""
        return log(ratio(self.alpha(t), self.sigma(t)))

    def t_at_half_log_snr(self, value: Any) -> Any:
        """The inverse of `half_log_snr`; by default, bisection in the domain."""
        low, high = value * 0 + self.domain[0], value * 0 + self.domain[1]
        for _ in range(100):
            middle = (low + high) / 2
            less_noise = self.half_log_snr(middle) > value
            low, high = (
                low + (middle - low) * less_noise,
                high + (middle - high) * (1 - 1 * less_noise),
            )
        return (low + high) / 2

    def t_at_level(self, level: Any) -> Any:
        """The time at which sigma / alpha = level, including 0 and infinity."""
        if isinstance(level, (int, float)):
            if level <= 0:
                return self.domain[0]
            if math.isinf(level):
                return self.domain[1]
            return self.t_at_half_log_snr(-math.log(level))
        t = self.t_at_half_log_snr(-log(clip(level, NEAR_END, 1 / NEAR_END)))
        return where(
            level < NEAR_END, self.domain[0], where(level > 1 / NEAR_END, self.domain[1], t)
        )

    def t_at_flow(self, s: Any) -> Any:
        """The time at which sigma / (alpha + sigma) = s."""
        return self.t_at_level(ratio(s, clip(1 - s, 0.0, 1.0)))

    def drift(self, t: Any) -> Any:
        """f(t) = d log(alpha) / dt."""
        return -ratio(-self._derivative(self.alpha, t), self.alpha(t))

    def diffusion2(self, t: Any) -> Any:
        """g^2(t) = 2 sigma^2 d log(sigma / alpha) / dt = d sigma^2 / dt - 2 f sigma^2."""
        return (
            self._derivative(lambda u: self.sigma(u) ** 2, t)
            - 2 * self.drift(t) * self.sigma(t) ** 2
        )

    def t_start(self, divides_by_alpha: bool = False) -> float:
        """Where a run starts: the last t, with alpha >= 1e-3 if something divides by it."""
        low, high = self.domain
        if not divides_by_alpha or self.alpha(high) >= ALPHA_MIN:
            return high
        for _ in range(100):
            middle = (low + high) / 2
            if self.alpha(middle) >= ALPHA_MIN:
                low, high = (middle, high)
            else:
                low, high = (low, middle)
        return low

    def _derivative(self, function: Any, t: Any) -> Any:
        """Derivative of the quartic through five points in the domain; about ten digits."""
        if "float32" in str(getattr(t, "dtype", "")):
            if hasattr(t, "double"):
                wide = t.double()
            else:
                wide = t.astype("float64")
            narrow = self._derivative(function, wide)
            if hasattr(narrow, "float"):
                return narrow.float()
            return narrow.astype("float32")
        h = 2e-4 * (self.domain[1] - self.domain[0])
        t = t * 1.0
        inner = t
        below, above = self.domain[0] + 3 * h - t, t - (self.domain[1] - 3 * h)
        inner = inner + below * (below > 0) - above * (above > 0)
        u = (t - inner) / h
        weights = (
            (2 * u**3 - 3 * u**2 - u + 1) / 12,
            -(4 * u**3 - 3 * u**2 - 8 * u + 4) / 6,
            (2 * u**3 - 5 * u) / 2,
            -(4 * u**3 + 3 * u**2 - 8 * u - 4) / 6,
            (2 * u**3 + 3 * u**2 - u - 1) / 12,
        )
        return (
            sum(
                w * function(inner + k * h)
                for w, k in zip(weights, (-2, -1, 0, 1, 2), strict=True)
            )
            / h
        )


def check_in_domain(schedule: Schedule, t: float, what: str) -> None:
    """Raise `DifftoolError` unless t is a finite time in the schedule's domain."""
    low, high = schedule.domain
    if not (isinstance(t, (int, float)) and low <= t <= high):
        domain = f"{type(schedule).__name__} is defined for t in [{low:g}, {high:g}]"
        entries = f"entries of a table (t = (i + 1) / {schedule.entries})"
        others = f"; for noise levels or {entries} use what=level or what=entry"
        is_time = isinstance(t, (int, float)) and t > high and what.startswith("time ")
        raise DifftoolError(f"{what} is {t!r}; {domain}{others if is_time else ''}")
