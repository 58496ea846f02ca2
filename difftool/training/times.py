"""Distributions of training times: `draw(n, schedule)` returns n, float64 on the CPU.

They are drawn from torch's global generator.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import check_options
from difftool.schedules.base import Schedule

NEAREST = 1e-5  # smallest distance from clean data, as a fraction of the domain


class Times(ABC):
    """A distribution of training times."""

    @abstractmethod
    def draw(self, n: int, schedule: Schedule) -> Tensor:
        """Draw n times in the schedule's domain, none of them at sigma = 0."""


def _on(schedule: Schedule, u: Tensor) -> Tensor:
    """Times at fractions u of the domain, from clean data to noise."""
    low, high = schedule.domain
    return low + (high - low) * u.clamp(NEAREST, 1.0)


@dataclass(frozen=True)
class UniformTimes(Times):
    """t uniform on the schedule's domain.

    Source: Song et al. 2021, arXiv 2011.13456.
    """

    def draw(self, n: int, schedule: Schedule) -> Tensor:
        return _on(schedule, torch.rand(n, dtype=torch.float64))


@dataclass(frozen=True)
class StratifiedTimes(Times):
    """t = (u + i / n) mod 1 with one u: evenly spaced in a batch.

    Source: Kingma et al. 2021, arXiv 2107.00630.
    """

    def draw(self, n: int, schedule: Schedule) -> Tensor:
        even = torch.arange(n, dtype=torch.float64) / n
        return _on(schedule, (torch.rand(1, dtype=torch.float64) + even) % 1)


@dataclass(frozen=True)
class TableTimes(Times):
    """t = k / length, k uniform on the integers from 1 to length.

    Option: `length`, the number of entries (>= 1; default: that of the schedule's table).
    Source: Ho et al. 2020, 2006.11239, algorithm 1.
    """

    length: int | None = None

    def __post_init__(self) -> None:
        if self.length is not None and (not isinstance(self.length, int) or self.length < 1):
            raise DifftoolError(f"table times need a length of at least 1, got {self.length!r}")

    def draw(self, n: int, schedule: Schedule) -> Tensor:
        length = self.length or schedule.entries
        return _on(schedule, torch.randint(1, length + 1, (n,)).double() / length)


@dataclass(frozen=True)
class LogitNormalTimes(Times):
    """logit(s) ~ N(mean, std^2) for the flow time s = sigma / (alpha + sigma).

    Options: `mean`, and `std` (> 0).
    Source: Esser et al. 2024, 2403.03206.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _check("logit-normal", self.mean, self.std)

    def draw(self, n: int, schedule: Schedule) -> Tensor:
        s = torch.sigmoid(self.mean + self.std * torch.randn(n, dtype=torch.float64))
        return _within(schedule, schedule.t_at_flow(s.clamp(NEAREST, 1 - NEAREST)))


@dataclass(frozen=True)
class LogNormalTimes(Times):
    """log(sigma / alpha) ~ N(mean, std^2).

    Options: `mean`, and `std` (> 0).
    Source: Karras et al. 2022, arXiv 2206.00364, table 1.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        _check("log-normal", self.mean, self.std)

    def draw(self, n: int, schedule: Schedule) -> Tensor:
        level = torch.exp(self.mean + self.std * torch.randn(n, dtype=torch.float64))
        return _within(schedule, schedule.t_at_level(level))


def _within(schedule: Schedule, t: Tensor) -> Tensor:
    low, high = schedule.domain
    return t.clamp(low + (high - low) * NEAREST, high)


def _check(name: str, mean: float, std: float) -> None:
    check_options(
        math.isfinite(mean) and 0 < std < math.inf,
        f"{name} times need a finite mean and std > 0",
        mean=mean,
        std=std,
    )
