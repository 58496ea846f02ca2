"""The flow-matching (rectified flow) schedule: a straight line from data to noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from difftool.schedules._math import exp
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class Flow(Schedule):
    """The flow-matching schedule, alpha = 1 - t and sigma = t, pure noise at exactly t = 1.

    f = -1 / (1 - t), g^2 = 2 t / (1 - t).
    """

    reference = (
        "Lipman et al. 2022, Flow matching for generative modeling, arXiv 2210.02747; "
        "Liu et al. 2022, Flow straight and fast, arXiv 2209.03003"
    )

    def alpha(self, t: Any) -> Any:
        return 1.0 - t

    def sigma(self, t: Any) -> Any:
        return t * 1.0

    def t_at_half_log_snr(self, value: Any) -> Any:
        return 1 / (1 + exp(value))

    def drift(self, t: Any) -> Any:
        return -1 / (1 - t)

    def diffusion2(self, t: Any) -> Any:
        return 2 * t / (1 - t)
