"""Variance-exploding schedules: alpha = 1, the data is only ever covered with noise, never scaled down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from difftool.errors import DifftoolError
from difftool.schedules._math import exp
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class VE(Schedule):
    """EDM's choice of time, sigma(t) = t and alpha = 1 on (0, sigma_max]; f = 0, g^2 = 2 t.

    Option: `sigma_max`, the largest noise level (in units of the data; > 0). Raises `DifftoolError` if it is not
    positive and finite.
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
