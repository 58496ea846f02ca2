"""Noise that a run can ask for again: kinds, sources, keys.

A *kind* of noise is a value (`Independent()`); its *source* is the noise of one run of one batch. A sampler calls the
source in its loop, `noise(now, nxt)`; the executor of plans asks for the same numbers by key, in any order.

A noise is numbered by the place where it is drawn, not by how many were drawn before: a run that is cut at any point of
its grid and continued from there draws what the uncut run draws, and no noise comes twice. The number is

    the noise level where it is drawn, the beginning of its step (log2 in units of 2^-25: 32 bits)
    + 2^32 (2 n + (0 for the noise of a step, 1 for noise of its own)), n the draws of that kind there before.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import as_whole

Shape = Sequence[int]
Device = str | torch.device


class NoiseKey(NamedTuple):
    """Which noise: the independent one of number `call`, or the path's over `interval` = (low, high) noise levels."""

    call: int
    interval: tuple[float, float] | None = None


class Leveled(Protocol):
    """Anything with a noise level sigma / alpha, as a point of a path."""

    @property
    def level(self) -> float: ...


class Numbers:
    """The numbers of a run's noises, in the order in which they are drawn.

    origin: the noise level where the run starts; noise without a place is drawn there. placed: False: 0, 1, 2, ...
    """

    def __init__(self, origin: float = 0.0, placed: bool = True):
        self.origin, self.placed = place_of(origin), placed
        self._drawn: Counter[int] = Counter()

    def __call__(self, now: Leveled | None = None, nxt: Leveled | None = None) -> int:
        """The number of the next noise that is drawn at `now`, for the step to `nxt` or for itself."""
        first, apart = 0, 1
        if self.placed:
            if now is None:
                place = self.origin
            else:
                place = place_of(float(now.level))
            first, apart = place + ((nxt is None) << 32), 2**33
        drawn = self._drawn[first]
        self._drawn[first] += 1
        return first + drawn * apart


def place_of(level: float) -> int:
    """A noise level from 0 to infinity as 32 bits, the same where levels differ by rounding only."""
    if level <= 0:
        return 0
    if math.isinf(level):
        return 2**32 - 1
    return min(max(round((math.log2(level) + 64) * 2**25), 1), 2**32 - 2)


@dataclass(frozen=True)
class Noise(ABC):
    """A kind of noise; `source` opens one run of one batch.

    placed: False for noise that is numbered in the order of the calls, as it was in recipes up to version 2.
    correlated: overlapping intervals share noise, which is keyed by the levels of a step and not by its number.
    """

    placed: bool = True

    correlated: ClassVar[bool] = False

    @abstractmethod
    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu",
        dtype: torch.dtype = torch.float32, origin: float = 0.0,
    ) -> Source:  # fmt: skip
        """The noise of a batch of `shape` (B, ...), whose samples are number first, ..., first + B - 1 of all.

        origin: the noise level where the run starts, for noise that is drawn without a place. Raises DifftoolError
        unless 0 <= seed < 2**64, 0 <= first <= 2**32 - B and dtype is float32 or float64.
        """


class Source(ABC):
    """The noise of one run of one batch: a sampler calls it in its loop, an executor asks by key.

    `resumable`: `draw` gives the same noise for the same key at any time, so a stopped run can go on.
    """

    resumable: bool = True
    correlated: bool = False
    pointless: bool = False  # whether it was called for noise that belongs to no step

    def __init__(
        self,
        shape: Shape,
        seed: int,
        first: int,
        device: Device,
        dtype: torch.dtype,
        numbers: Numbers,
    ):
        shape = tuple(shape)
        if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
            raise DifftoolError(f"shape must be (batch, ...) of positive ints, got {shape}")
        seed = check_seed(seed)
        if not isinstance(first, int) or not 0 <= first <= 2**32 - shape[0]:
            raise DifftoolError(
                f"first must be an int with 0 <= first <= 2**32 - {shape[0]}, got {first!r}"
            )
        if dtype not in (torch.float32, torch.float64):
            raise DifftoolError(
                f"noise must be float32 or float64, got {dtype}; keep the state in one of these"
            )
        self.shape, self.seed, self.first = shape, seed, first
        self.device, self.dtype = torch.device(device), dtype
        self._numbers = numbers

    def __call__(self, now: Leveled | None = None, nxt: Leveled | None = None) -> Tensor:
        """Unit normal noise of the step from `now` to `nxt`; without `nxt` noise of its own, drawn at `now`."""
        if now is None and nxt is not None:
            raise DifftoolError(
                "noise takes both points of a step, the one where it is drawn, or none; got the last"
            )
        if self.correlated and now is not None and nxt is not None:
            low, high = sorted((float(now.level), float(nxt.level)))
            return self.draw(NoiseKey(-1, (low, high)))
        self.pointless = True
        return self.draw(NoiseKey(self._numbers(now, nxt)))

    def expect(self, keys: Sequence[NoiseKey]) -> None:  # noqa: B027
        """What a run is going to draw, in this order; a source may draw some of it together."""

    @abstractmethod
    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        """The noise of `key`: a fresh tensor of `shape`, or `out` filled."""

    @abstractmethod
    def initial(self) -> Tensor:
        """Unit normal for the starting state: a stream of its own, the same at any time."""

    def _target(self, out: Tensor | None) -> Tensor:
        if out is None:
            return torch.empty(self.shape, device=self.device, dtype=self.dtype)
        if out.shape != self.shape:
            raise DifftoolError(f"out has shape {tuple(out.shape)}, the noise has {self.shape}")
        return out


def check_seed(seed: object) -> int:
    """The seed as an int; `DifftoolError` unless it is a whole number, 0 <= seed < 2**64."""
    whole = as_whole(seed)
    if whole is None or not 0 <= whole < 2**64:
        raise DifftoolError(f"seed must be an int with 0 <= seed < 2**64, got {seed!r}")
    return whole
