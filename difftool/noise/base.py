"""Noise that a run can ask for again: kinds, sources, keys.

A *kind* of noise is a value (`Independent()`); its *source* is the noise of one run of one batch. A sampler calls the
source in its loop, `noise(now, nxt)`; the executor of plans asks for the same numbers by key, in any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from difftool.errors import DifftoolError

Shape = Sequence[int]
Device = str | torch.device


class NoiseKey(NamedTuple):
    """Which noise: the `call`-th independent one of a run, or the path's over `interval` = (low, high) noise levels."""

    call: int
    interval: tuple[float, float] | None = None


class Leveled(Protocol):
    """Anything with a noise level sigma / alpha, as a point of a path."""

    @property
    def level(self) -> float: ...


class Noise(ABC):
    """A kind of noise; `source` opens one run of one batch.

    `correlated`: overlapping intervals share noise, which is keyed by the levels of a step and not by its number.
    """

    correlated: ClassVar[bool] = False

    @abstractmethod
    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Source:
        """The noise of a batch of `shape` (B, ...), whose samples are number first, ..., first + B - 1 of all.

        Raises DifftoolError unless 0 <= seed < 2**64, 0 <= first <= 2**32 - B and dtype is float32 or float64.
        """


class Source(ABC):
    """The noise of one run of one batch: a sampler calls it in its loop, an executor asks by key.

    `resumable`: `draw` gives the same noise for the same key at any time, so a stopped run can go on.
    """

    resumable: bool = True
    correlated: bool = False

    def __init__(self, shape: Shape, seed: int, first: int, device: Device, dtype: torch.dtype):
        shape = tuple(shape)
        if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
            raise DifftoolError(f"shape must be (batch, ...) of positive ints, got {shape}")
        check_seed(seed)
        if not isinstance(first, int) or not 0 <= first <= 2**32 - shape[0]:
            raise DifftoolError(f"first must be an int with 0 <= first <= 2**32 - {shape[0]}, got {first!r}")
        if dtype not in (torch.float32, torch.float64):
            raise DifftoolError(f"noise must be float32 or float64, got {dtype}; keep the state in one of these")
        self.shape, self.seed, self.first = shape, seed, first
        self.device, self.dtype = torch.device(device), dtype
        self._calls = 0

    def __call__(self, now: Leveled | None = None, nxt: Leveled | None = None) -> Tensor:
        """Unit normal noise of the step from `now` to `nxt`; without points, independent of all other."""
        if (now is None) != (nxt is None):
            raise DifftoolError("noise takes both points of a step or none, got one")
        if self.correlated and now is not None and nxt is not None:
            low, high = sorted((float(now.level), float(nxt.level)))
            return self.draw(NoiseKey(-1, (low, high)))
        self._calls += 1
        return self.draw(NoiseKey(self._calls - 1))

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


def check_seed(seed: int) -> None:
    """Raise `DifftoolError` unless 0 <= seed < 2**64."""
    if not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise DifftoolError(f"seed must be an int with 0 <= seed < 2**64, got {seed!r}")
