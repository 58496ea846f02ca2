"""Variance-preserving schedules defined by alpha^2 or the log SNR as a function of t."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from difftool.errors.validation import check_options
from difftool.schedules._math import cosh, exp, ratio, sinh, sqrt, where
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class Sigmoid(Schedule):
    """A sigmoid, alpha^2 = (S(e) - S(u)) / (S(e) - S(s)), u = (start + t (end - start)) / tau.

    S is the logistic function, s = start / tau, e = end / tau. alpha^2 and sigma^2 are computed
    as products of hyperbolic functions, exact at both ends; alpha = 0 at t = 1.

    Options: `start` < `end`, where on the sigmoid the schedule begins and ends, and the
    temperature `tau` (> 0). Raises `DifftoolError` for invalid values.
    """

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0

    reference = "Jabri et al. 2022, Scalable adaptive computation for iterative generation, arXiv 2212.11972"

    def __post_init__(self) -> None:
        check_options(
            self.start < self.end
            and 0 < self.tau < math.inf
            and max(-self.start, self.end) / self.tau < 600,
            "sigmoid takes tau > 0 and -600 tau < start < end < 600 tau",
            start=self.start,
            end=self.end,
            tau=self.tau,
        )

    def _halves(self, t: Any) -> tuple[Any, Any, Any]:
        """(u - s) / 2, (e - u) / 2, u / 2."""
        k = (self.end - self.start) / self.tau / 2
        return k * t, k * (1 - t), self.start / self.tau / 2 + k * t

    @property
    def _constants(self) -> tuple[float, float, float]:
        """sinh((e - s) / 2), cosh(s / 2), cosh(e / 2)."""
        s, e = self.start / self.tau / 2, self.end / self.tau / 2
        return math.sinh(e - s), math.cosh(s), math.cosh(e)

    def alpha(self, t: Any) -> Any:
        _, left, u = self._halves(t)
        whole, first, _ = self._constants
        return sqrt(sinh(left) * first / (whole * cosh(u)))

    def sigma(self, t: Any) -> Any:
        done, _, u = self._halves(t)
        whole, _, last = self._constants
        return sqrt(sinh(done) * last / (whole * cosh(u)))

    def drift(self, t: Any) -> Any:
        return -self.diffusion2(t) / 2

    def diffusion2(self, t: Any) -> Any:
        done, left, u = self._halves(t)
        whole, _, last = self._constants
        # 2 sigma^2 d log(sigma / alpha) / dt = (k / 2) sigma^2 (coth(done) + coth(left)), k = 2 (done + left)
        rise = cosh(done) + sinh(done) * ratio(cosh(left), sinh(left))
        return (self.end - self.start) / self.tau / 2 * last / (whole * cosh(u)) * rise


@dataclass(frozen=True)
class Laplace(Schedule):
    """The log SNR at uniform t is Laplace-distributed: most training is at medium noise levels.

    2 log(alpha / sigma) = mu - b sgn(1/2 - t) log(1 - 2 |t - 1/2|).

    If b < 1, g^2 is infinite at t = 0; noise levels of 1000 are within 1e-12 of t = 1, where
    float64 can hardly resolve times.

    Options: `mu`, the median log SNR (-600 < mu < 600), and the scale `b` (0 < b <= 100).
    Raises `DifftoolError` for invalid values.
    """

    mu: float = 0.0
    b: float = 0.5

    reference = (
        "Hang et al. 2024, Improved noise schedule for diffusion training, arXiv 2407.03297"
    )

    def __post_init__(self) -> None:
        check_options(
            0 < self.b <= 100 and abs(self.mu) < 600,
            "laplace takes 0 < b <= 100 and -600 < mu < 600",
            b=self.b,
            mu=self.mu,
        )

    def _pair(self, t: Any) -> tuple[Any, Any]:
        """(alpha, sigma) up to a common factor: the larger one is 1."""
        late = t > 0.5
        level = math.exp(-self.mu / 2) * (2 * t) ** (self.b / 2)
        inverse = math.exp(self.mu / 2) * (2 * (1 - t)) ** (self.b / 2)
        return where(late, inverse, t * 0 + 1.0), where(late, t * 0 + 1.0, level)

    def alpha(self, t: Any) -> Any:
        a, s = self._pair(t)
        return a / sqrt(a * a + s * s)

    def sigma(self, t: Any) -> Any:
        a, s = self._pair(t)
        return s / sqrt(a * a + s * s)

    def t_at_half_log_snr(self, value: Any) -> Any:
        x = (self.mu - 2 * value) / self.b  # log(2 t), or -log(2 (1 - t))
        tail = exp(-abs(x)) / 2
        return where(x > 0, 1 - tail, tail)

    def drift(self, t: Any) -> Any:
        return -self.diffusion2(t) / 2

    def diffusion2(self, t: Any) -> Any:
        if self.b < 1:
            power = ratio(1.0, (2 * t) ** (1 - self.b))
        else:
            power = (2 * t) ** (self.b - 1)
        early = 2 * math.exp(-self.mu) * power * self.alpha(t) ** 2
        return self.b * where(t > 0.5, ratio(self.sigma(t) ** 2, 1 - t), early)
