"""Variance-exploding schedules: alpha = 1, so noise is added and the data is not scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from difftool.errors import DifftoolError
from difftool.schedules._math import exp, expm1, log1p, sqrt
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class VE(Schedule):
    """The schedule of EDM, sigma(t) = t and alpha = 1 on (0, sigma_max]; f = 0, g^2 = 2 t.

    Option: `sigma_max`, the largest noise level (in units of the data; > 0). Raises
    `DifftoolError` if it is not positive and finite.
    """

    sigma_max: float = 80.0

    reference = "Karras et al. 2022, Elucidating the design space of diffusion-based models, arXiv 2206.00364"

    def __post_init__(self) -> None:
        if not 0 < self.sigma_max < math.inf:
            raise DifftoolError(f"ve takes a finite sigma_max > 0, got {self.sigma_max}")

    @property
    def domain(self) -> tuple[float, float]:  # type: ignore[override]
        return (0.0, self.sigma_max)

    def alpha(self, t: Any) -> Any:
        return t * 0 + 1.0

    def sigma(self, t: Any) -> Any:
        return t * 1.0

    def t_at_half_log_snr(self, value: Any) -> Any:
        return exp(-value)

    def drift(self, t: Any) -> Any:
        return t * 0.0

    def diffusion2(self, t: Any) -> Any:
        return 2.0 * t


@dataclass(frozen=True)
class GeometricVE(Schedule):
    """The VE SDE, dx = sigma_min r^t sqrt(2 log r) dW with r = sigma_max / sigma_min.

    It starts from clean data: alpha = 1, sigma(t)^2 = sigma_min^2 (r^(2 t) - 1). The paper
    drops the -1, which leaves noise of sigma_min at t = 0 and is nearly the same elsewhere.

    Options: `sigma_min`, `sigma_max`, the noise levels at both ends (in units of the data; 0 <
    sigma_min < sigma_max). Raises `DifftoolError` for invalid values.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    reference = "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456, appendix C"

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise DifftoolError(
                f"ve-geometric takes 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}"
            )

    @property
    def _rate(self) -> float:
        return 2 * math.log(self.sigma_max / self.sigma_min)

    def alpha(self, t: Any) -> Any:
        return t * 0 + 1.0

    def sigma(self, t: Any) -> Any:
        return self.sigma_min * sqrt(expm1(self._rate * t))

    def t_at_half_log_snr(self, value: Any) -> Any:
        return log1p(exp(-2 * value) / self.sigma_min**2) / self._rate

    def drift(self, t: Any) -> Any:
        return t * 0.0

    def diffusion2(self, t: Any) -> Any:
        return self.sigma_min**2 * self._rate * exp(self._rate * t)
