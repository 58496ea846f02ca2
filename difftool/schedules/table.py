"""Schedules defined by a table of noise levels, interpolated to continuous t.

A table of N betas defines the points t = (i + 1) / N with
alpha_bar_i = prod_{j <= i} (1 - beta_j). Between them log(sigma / alpha) is linear in t; below
the first one sigma / alpha falls linearly to 0 at t = 0. Entry i of the table is exactly at
t = (i + 1) / N, and a network trained on integers i gets i = N t - 1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from difftool.errors import DifftoolError
from difftool.errors.validation import check_options
from difftool.schedules._math import as_dtype, clip, exp, log, log_alpha_vp, where
from difftool.schedules.base import Schedule


class Table(Schedule):
    """A variance-preserving schedule from a table of betas; a subclass defines `betas`."""

    @property
    @abstractmethod
    def betas(self) -> tuple[float, ...]:
        """beta_0 .. beta_{N-1}, each in (0, 1); at least two."""

    @property
    def entries(self) -> int:  # type: ignore[override]
        return len(self.betas)

    @property
    def lowest(self) -> float:  # type: ignore[override]
        return math.exp(self.log_levels[0])

    @cached_property
    def log_levels(self) -> tuple[float, ...]:
        """log(sigma / alpha) of the table's entries, computed without cancellation."""
        levels, log_alpha_bar = [], 0.0
        for beta in self.betas:
            log_alpha_bar += math.log1p(-beta)
            levels.append(0.5 * (math.log(-math.expm1(log_alpha_bar)) - log_alpha_bar))
        return tuple(levels)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        """`log_levels` as arrays, by device."""
        return {}

    def _levels_like(self, x: Any) -> Any:
        """`log_levels` as a float64 array of x's library, on x's device."""
        if not (hasattr(x, "device") and hasattr(x, "long")):
            import numpy

            return numpy.asarray(self.log_levels)
        place = str(x.device)
        if place not in self._arrays:
            import torch

            self._arrays[place] = torch.tensor(
                self.log_levels, dtype=torch.float64, device=x.device
            )
        return self._arrays[place]

    def _take(self, index: Any) -> Any:
        """log_levels at an integer index (int, numpy or torch)."""
        if isinstance(index, int):
            return self.log_levels[index]
        return self._levels_like(index)[index]

    def _segment(self, position: Any) -> tuple[Any, Any]:
        """log(sigma / alpha) at position = N t - 1, and its increase over the segment there."""
        # an entry belongs to the segment on its left
        i = clip(-(-position // 1) - 1, 0, len(self.log_levels) - 2)
        if isinstance(i, (float, int)):
            i = int(i)
        elif hasattr(i, "long"):
            i = i.long()
        else:
            i = i.astype(int)
        left = self._take(i)
        return left + (self._take(i + 1) - left) * (position - i), self._take(i + 1) - left

    def log_level(self, t: Any) -> Any:
        """log(sigma / alpha), -inf at t = 0."""
        size = len(self.log_levels)
        inside, _ = self._segment(t * size - 1)
        level = where(t * size < 1, self.log_levels[0] + log(clip(t * size, 0.0, 1.0)), inside)
        return as_dtype(level, t)

    def alpha(self, t: Any) -> Any:
        return exp(log_alpha_vp(-clip(self.log_level(t), -400.0, math.inf)))

    def sigma(self, t: Any) -> Any:
        return exp(log_alpha_vp(clip(self.log_level(t), -800.0, math.inf)))  # 0 at t = 0

    def t_at_half_log_snr(self, value: Any) -> Any:
        if not isinstance(value, (float, int)):
            return self._times_at(value)
        from bisect import bisect_right

        levels, target = self.log_levels, -value
        if target < levels[0]:
            return math.exp(target - levels[0]) / len(levels)
        i = min(bisect_right(levels, target) - 1, len(levels) - 2)
        return (i + 1 + (target - levels[i]) / (levels[i + 1] - levels[i])) / len(levels)

    def _times_at(self, value: Any) -> Any:
        """`t_at_half_log_snr` of an array."""
        levels = self._levels_like(value)
        target = as_dtype(-value, levels)
        if hasattr(value, "long"):
            import torch

            i = torch.searchsorted(levels, target.contiguous(), right=True)
        else:
            i = levels.searchsorted(target, side="right")
        i = clip(i - 1, 0, len(levels) - 2)
        inside = i + 1 + (target - levels[i]) / (levels[i + 1] - levels[i])
        below = exp(clip(target - self.log_levels[0], -700.0, 0.0))
        return as_dtype(where(target < self.log_levels[0], below, inside) / len(levels), value)

    def drift(self, t: Any) -> Any:
        return -self.diffusion2(t) / 2

    def diffusion2(self, t: Any) -> Any:
        """beta(t) = 2 sigma^2 d log(sigma / alpha) / dt; jumps at entries (left-continuous)."""
        size = len(self.log_levels)
        _, rise = self._segment(t * size - 1)
        slope = where(t * size < 1, 1 / clip(t, 1e-30, 1.0), rise * size)
        return as_dtype(2 * self.sigma(t) ** 2 * slope, t)


@dataclass(frozen=True)
class Betas(Table):
    """A custom table of betas, t = (i + 1) / N.

    Option: `betas`, at least two, each in (0, 1). Raises `DifftoolError` for others.
    """

    betas: tuple[float, ...] = ()

    reference = "given by the user"

    def __post_init__(self) -> None:
        if isinstance(self.betas, Iterable):
            values = self.betas
        else:
            values = ()
        object.__setattr__(self, "betas", tuple(values))
        if len(self.betas) < 2 or not all(0 < beta < 1 for beta in self.betas):
            text = f"betas takes at least two values, betas=b+b+..., each in (0, 1), got {_brief(self.betas)}"
            if len(self.betas) > 2 and self.betas[-1] == 1:
                text += "; a last beta of 1 is zero terminal SNR: leave it out, and use zero-terminal:schedule=..."
            raise DifftoolError(text)


@dataclass(frozen=True)
class ScaledLinear(Table):
    """The table of latent diffusion: betas with equally spaced roots, t = (i + 1) / length.

    Options: `beta_min`, `beta_max` (rate per step, 0 < beta_min <= beta_max < 1), `length`
    (entries, 2 to 100,000). Raises `DifftoolError` for values out of range. It ends at alpha =
    0.068, not in pure noise: see zero-terminal.
    """

    beta_min: float = 0.00085
    beta_max: float = 0.012
    length: int = 1000

    reference = "Rombach et al. 2022, High-resolution image synthesis with latent diffusion models, arXiv 2112.10752"

    def __post_init__(self) -> None:
        check_rates("scaled-linear", self.beta_min, self.beta_max, self.length)

    @cached_property
    def betas(self) -> tuple[float, ...]:
        return tuple(
            root * root for root in even(self.beta_min**0.5, self.beta_max**0.5, self.length)
        )


@dataclass(frozen=True)
class DDPMLinear(Table):
    """The table of DDPM: equally spaced betas, t = (i + 1) / length.

    Options: `beta_min`, `beta_max` (rate per step, 0 < beta_min <= beta_max < 1), `length`
    (entries, 2 to 100,000). Its limit for large `length` is vp-linear with rates beta * length.
    Raises `DifftoolError` for values out of range.
    """

    beta_min: float = 1e-4
    beta_max: float = 0.02
    length: int = 1000

    reference = "Ho et al. 2020, Denoising diffusion probabilistic models, arXiv 2006.11239"

    def __post_init__(self) -> None:
        check_rates("ddpm-linear", self.beta_min, self.beta_max, self.length)

    @cached_property
    def betas(self) -> tuple[float, ...]:
        return even(self.beta_min, self.beta_max, self.length)


def _brief(betas: tuple[float, ...]) -> str:
    """The betas as text, abbreviated."""
    if len(betas) <= 8:
        return str(betas)
    return f"{str(betas[:4])[:-1]}, ..., {betas[-1]})"


def even(first: float, last: float, length: int) -> tuple[float, ...]:
    """`length` equally spaced numbers."""
    step = (last - first) / (length - 1)
    return tuple(first + i * step for i in range(length))


def check_rates(name: str, beta_min: float, beta_max: float, length: int) -> None:
    """Raise `DifftoolError` unless 0 < beta_min <= beta_max < 1 and 2 <= length <= 100,000."""
    check_options(
        0 < beta_min <= beta_max < 1 and isinstance(length, int) and 2 <= length <= 100_000,
        f"{name} takes 0 < beta_min <= beta_max < 1 and length from 2 to 100000",
        beta_min=beta_min,
        beta_max=beta_max,
        length=length,
    )
