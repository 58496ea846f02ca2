"""Reproducible noise: kinds, sources, keys.

A *kind* of noise is a value (`Independent()`); its *source* is the noise of one run of one
batch. A sampler calls the source in its loop, `noise(now, nxt)`; the executor of plans requests
the same numbers by key, in any order.

Noise is numbered by the noise level where it is drawn, not by the count of earlier draws. A run
that is cut at any point of its grid and continued from there draws the same noise as the uncut
run, and no noise is used twice. The number is

    the noise level at the beginning of its step (log2 in units of 2^-25: 32 bits)
    + 2^32 (2 n + (0 for the noise of a step, 1 for other noise)),

where n is the number of earlier draws of that kind at that level.
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
    """The key of a noise: the number `call`, or `interval`, (low, high) levels of a path."""

    call: int
    interval: tuple[float, float] | None = None


class Leveled(Protocol):
    """Anything with a noise level sigma / alpha, e.g. a point of a path."""

    @property
    def level(self) -> float: ...


class Numbers:
    """The numbers of a run's noises, in the order of the draws.

    origin: the noise level where the run starts, used for noise without a point. placed: number
    by noise level; if False, count 0, 1, 2, ...
    """

    def __init__(self, origin: float = 0.0, placed: bool = True):
        self.origin, self.placed = place_of(origin), placed
        self._drawn: Counter[int] = Counter()

    def __call__(self, now: Leveled | None = None, nxt: Leveled | None = None) -> int:
        """The number of the next noise at `now`, for the step to `nxt` (None: for no step)."""
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
    """A noise level from 0 to infinity as 32 bits, equal for levels that differ by rounding."""
    if level <= 0:
        return 0
    if math.isinf(level):
        return 2**32 - 1
    return min(max(round((math.log2(level) + 64) * 2**25), 1), 2**32 - 2)


@dataclass(frozen=True)
class Noise(ABC):
    """A kind of noise; `source` returns the noise of one run of one batch.

    placed: False to number noise in the order of the calls, as in recipes up to version 2.
    correlated: overlapping intervals share noise, which is keyed by the levels of a step
    instead of a number.
    """

    placed: bool = True

    correlated: ClassVar[bool] = False

    @abstractmethod
    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu",
        dtype: torch.dtype = torch.float32, origin: float = 0.0,
    ) -> Source:  # fmt: skip
        """The noise of a batch of `shape` (B, ...): of the samples first to first + B - 1.

        origin: the noise level where the run starts, for noise that is drawn without a point.
        Raises `DifftoolError` unless 0 <= seed < 2**64, 0 <= first <= 2**32 - B and dtype is
        float32 or float64.
        """


class Source(ABC):
    """The noise of one run of one batch: called by samplers, drawn by key by the executor.

    `resumable`: `draw` returns the same noise for the same key at any time, so a stopped run
    can be resumed.
    """

    resumable: bool = True
    correlated: bool = False
    pointless: bool = False  # whether noise was drawn that does not belong to a step

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
        """Unit normal noise for the step from `now` to `nxt`; without `nxt`, for no step."""
        if now is None and nxt is not None:
            raise DifftoolError(
                "noise takes both points of a step, only the first one, or none; got only the last one"
            )
        if self.correlated and now is not None and nxt is not None:
            low, high = sorted((float(now.level), float(nxt.level)))
            return self.draw(NoiseKey(-1, (low, high)))
        self.pointless = True
        return self.draw(NoiseKey(self._numbers(now, nxt)))

    def expect(self, keys: Sequence[NoiseKey]) -> None:  # noqa: B027
        """Announce the draws of a run, in order, so that a source can draw several at once."""

    @abstractmethod
    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        """The noise of `key`, in a new tensor of `shape`, or in `out`."""

    @abstractmethod
    def initial(self) -> Tensor:
        """Unit normal noise for the initial state, from a separate stream; always the same."""

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
