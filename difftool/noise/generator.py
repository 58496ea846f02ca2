"""Generator noise: drawn from `torch.Generator`, the fastest on CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from difftool.noise.base import Device, Noise, NoiseKey, Numbers, Shape, Source
from difftool.noise.philox import GENERATOR, GENERATOR_INITIAL, MASK, philox4x32


@dataclass(frozen=True)
class Generator(Noise):
    """Noise from `torch.Generator`: the fastest on CPU, but not reproducible by key.

    It repeats only for the same seed, batch and device. The generator is seeded by one Philox
    call on (first, origin, seed), so batches differ, and so do the parts of a run that is cut.
    `draw` ignores the key and takes the next numbers, so a run cannot be resumed.
    """

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu",
        dtype: torch.dtype = torch.float32, origin: float = 0.0,
    ) -> Source:  # fmt: skip
        return _GeneratorSource(shape, seed, first, device, dtype, Numbers(origin, self.placed))


class _GeneratorSource(Source):
    resumable = False

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        return self._target(out).normal_(generator=self._generator)

    def initial(self) -> Tensor:
        return self._target(None).normal_(generator=self._seeded(GENERATOR_INITIAL))

    @cached_property
    def _generator(self) -> torch.Generator:
        return self._seeded(GENERATOR)

    def _seeded(self, stream: int) -> torch.Generator:
        if self._numbers.placed and stream == GENERATOR:
            origin = self._numbers.origin
        else:
            origin = 0
        low, high, _, _ = philox4x32(
            (self.first, origin, stream, 0), (self.seed & MASK, self.seed >> 32)
        )
        return torch.Generator(device=self.device).manual_seed(low | high << 32)
