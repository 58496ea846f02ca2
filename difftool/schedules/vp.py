"""Variance-preserving schedules, alpha^2 + sigma^2 = 1 and g^2 = -2 f = beta(t); and sub-VP.

Sub-VP has the alpha of vp-linear. sigma is computed directly (expm1, product of sines), never
from 1 - alpha^2: near t = 0 that difference has no correct digit in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from difftool.errors import DifftoolError
from difftool.errors.validation import check_options
from difftool.schedules._math import asinh, atan, exp, expm1, log_alpha_vp, ratio, sin, sqrt
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class _LinearRate(Schedule):
    """alpha for the linear rate beta(t) = beta_min + t (beta_max - beta_min)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        check_options(
            0 < self.beta_min <= self.beta_max < math.inf,
            "a linear rate takes 0 < beta_min <= beta_max < inf",
            beta_min=self.beta_min,
            beta_max=self.beta_max,
        )

    def log_alpha(self, t: Any) -> Any:
        """log(alpha(t))."""
        return -t * (t * (self.beta_max - self.beta_min) / 4 + self.beta_min / 2)

    def rate(self, t: Any) -> Any:
        """beta(t)."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def alpha(self, t: Any) -> Any:
        return exp(self.log_alpha(t))

    def drift(self, t: Any) -> Any:
        return -self.rate(t) / 2

    def t_at_log_alpha(self, value: Any) -> Any:
        """The inverse of `log_alpha`."""
        b = self.beta_min / 2
        return -2 * value / (b + sqrt(b * b - (self.beta_max - self.beta_min) * value))


@dataclass(frozen=True)
class VPLinear(_LinearRate):
    """The VP SDE with the linear rate beta(t) = beta_min + t (beta_max - beta_min).

    log(alpha) = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2,   sigma^2 = -expm1(2 log(alpha)).

    Options: `beta_min`, `beta_max`, the rate at t = 0 and t = 1 (per unit of t; 0 < beta_min <=
    beta_max). Raises `DifftoolError` for rates out of that range.
    """

    reference = (
        "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456"
    )

    def sigma(self, t: Any) -> Any:
        return sqrt(-expm1(2 * self.log_alpha(t)))

    def t_at_half_log_snr(self, value: Any) -> Any:
        return self.t_at_log_alpha(log_alpha_vp(value))

    def diffusion2(self, t: Any) -> Any:
        return self.rate(t)


@dataclass(frozen=True)
class SubVP(_LinearRate):
    """The sub-VP SDE with a linear rate: alpha as in vp-linear, sigma = 1 - alpha^2.

    g^2 = beta (1 - alpha^4).

    Options: `beta_min`, `beta_max`, the rate at t = 0 and t = 1 (per unit of t;
    0 < beta_min <= beta_max). Raises `DifftoolError` for rates out of that range.
    """

    reference = "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456, section 3.4"

    def sigma(self, t: Any) -> Any:
        return -expm1(2 * self.log_alpha(t))

    def t_at_half_log_snr(self, value: Any) -> Any:
        # sigma / alpha = 2 sinh(-log alpha)
        return self.t_at_log_alpha(-asinh(exp(-value) / 2))

    def diffusion2(self, t: Any) -> Any:
        return -self.rate(t) * expm1(4 * self.log_alpha(t))


@dataclass(frozen=True)
class Cosine(Schedule):
    """The cosine schedule, alpha = cos(theta) / cos(theta_0), theta = (pi/2) (t + s) / (1 + s).

    sigma^2 = sin(theta - theta_0) sin(theta + theta_0) / cos^2(theta_0). alpha is exactly 0 at
    t = 1 (the paper clips its discrete betas there; in difftool the start rule of a run avoids
    it).

    Option: `s`, the offset that keeps the first steps from being too small (s >= 0). Raises
    `DifftoolError` for s < 0.
    """

    s: float = 0.008

    reference = "Nichol & Dhariwal 2021, Improved denoising diffusion probabilistic models, arXiv 2102.09672"

    def __post_init__(self) -> None:
        if not 0 <= self.s < math.inf:
            raise DifftoolError(f"cosine takes an offset s >= 0, got {self.s}")

    @property
    def _theta0(self) -> float:
        return math.pi / 2 * self.s / (1 + self.s)

    @property
    def _rate(self) -> float:
        return math.pi / 2 / (1 + self.s)

    def alpha(self, t: Any) -> Any:
        # cos(theta), exactly 0 at t = 1
        return sin(self._rate * (1 - t)) / math.cos(self._theta0)

    def sigma(self, t: Any) -> Any:
        angle = self._rate * t
        return sqrt(sin(angle) * sin(angle + 2 * self._theta0)) / math.cos(self._theta0)

    def t_at_half_log_snr(self, value: Any) -> Any:
        cos0, sin0 = math.cos(self._theta0), math.sin(self._theta0)
        alpha, sigma2 = exp(log_alpha_vp(value)), exp(2 * log_alpha_vp(-value))
        theta = atan(sqrt(sin0**2 + sigma2 * cos0**2) / (cos0 * alpha))
        return (theta - self._theta0) / self._rate

    def drift(self, t: Any) -> Any:
        # tan(theta); inf at t = 1
        tangent = ratio(sin(self._rate * t + self._theta0), sin(self._rate * (1 - t)))
        return -self._rate * tangent

    def diffusion2(self, t: Any) -> Any:
        return -2 * self.drift(t)
