"""Independent noise: a function of its address, not of what was drawn before.

    z[b, e] = BoxMuller(Philox_seed(number of the call, block of e, stream, first + b))

so sample `first + b` gets the same noise whatever the batch size, the order of the batches, the worker or the device
(up to float rounding).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.noise.base import Device, Noise, NoiseKey, Shape, Source
from difftool.noise.philox import CALLS, INITIAL, Philox


class KeyedSource(Source):
    """Independent noise by call number; a small batch draws the calls that follow along with the one asked for."""

    _ahead: tuple[int, Tensor] | None = None

    @cached_property
    def _philox(self) -> Philox:
        return Philox(self.shape, self.seed, self.first, self.device)

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        if not 0 <= key.call < 2**32:
            raise DifftoolError(f"independent noise takes a call number from 0 to 2**32 - 1, got {key.call}")
        together = self._philox.together
        start = key.call - key.call % together
        if self._ahead is None or self._ahead[0] != start:
            self._ahead = start, self._philox.normals(range(start, start + together), CALLS)
        return self._give(self._ahead[1][key.call - start], out)

    def initial(self) -> Tensor:
        return self._give(self._philox.normals([0], INITIAL), None)

    def _give(self, z: Tensor, out: Tensor | None) -> Tensor:
        return self._target(out).copy_(z.reshape(self.shape))


@dataclass(frozen=True)
class Independent(Noise):
    """Unit normals keyed by (seed, global sample index, call, element): Philox-4x32-10 and Box-Muller, in float32."""

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Source:
        return KeyedSource(shape, seed, first, device, dtype)
