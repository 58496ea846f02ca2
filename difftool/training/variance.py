"""Learned variance: besides its estimate, a network predicts the variance of a reverse step.

For the step from t to s = t - 1 / length of a chain of `length` steps, with
r = (sigma_s alpha_t) / (sigma_t alpha_s),

    small = sigma_s^2 (1 - r^2),  large = sigma_t^2 (1 - r^2),
    log Sigma = v log large + (1 - v) log small,
    KL = ( log(Sigma / small) + small / Sigma
           + alpha_s^2 (1 - r^2)^2 (x_0 - x0)^2 / Sigma - 1 ) / 2,

the divergence of the step from the posterior q(x_s | x_t, x_0). The hybrid loss adds
weight * length * KL to the loss of the estimate; gradients of this term reach v only, as the
estimate x0 is detached in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import is_whole
from difftool.models.base import like
from difftool.schedules.base import Point, Schedule


@dataclass(frozen=True)
class Hybrid:
    """The loss term of a learned variance, in nats, averaged over the elements of a sample.

    weight: of the variational bound (> 0). length: steps of its chain (>= 2).

    Steps that end before the chain's first entry count 0, since the last one, into sigma = 0,
    has no variance. Raises `DifftoolError` for other values.
    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15 and 16.
    """

    weight: float = 0.001
    length: int = 1000

    def __post_init__(self) -> None:
        if not (0 < self.weight < math.inf and is_whole(self.length, 2)):
            raise DifftoolError(
                f"the hybrid loss needs weight > 0 and length >= 2, "
                f"got weight={self.weight!r}, length={self.length!r}"
            )

    def __call__(
        self, schedule: Schedule, p: Point, x0: Tensor, estimate: Tensor, v: Tensor
    ) -> Tensor:
        """The term for each element, like x0; p holds float64 tensors (B, 1, ...)."""
        low, high = schedule.domain
        step = (high - low) / self.length
        inner = p.t > low + 1.999 * step
        # where there is no step, s is the same point: finite, and unused
        s = schedule.at(torch.where(inner, p.t - step, p.t))
        keep = torch.where(inner, 1 - (s.sigma * p.alpha / (p.sigma * s.alpha)) ** 2, 1.0)
        log_small, widest = (s.sigma**2 * keep).log(), 2 * (p.sigma / s.sigma).log()
        counts = torch.where(inner, self.weight * self.length, 0.0)
        log_small, widest, gain, counts = (
            like(a, x0) for a in (log_small, widest, (s.alpha * keep) ** 2, counts)
        )
        spread = v * widest  # log(Sigma / small)
        error = gain * (x0 - estimate.detach()).square()
        return counts / 2 * (spread + (-spread).exp() * (1 + error * (-log_small).exp()) - 1)
