"""Independent noise: a function of its key, whatever was drawn before.

    z[b, e] = BoxMuller(Philox_seed(number, block of e, stream, first + b))

so sample `first + b` gets the same noise whatever the batch size, the order of the batches, the
worker or the device (up to float rounding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.noise.base import Device, Noise, NoiseKey, Numbers, Shape, Source
from difftool.noise.philox import CALLS, INITIAL, Philox

LARGEST = 2**56


class KeyedSource(Source):
    """Independent noise by number; small batches draw the next expected numbers in advance."""

    _expected: Sequence[int] = ()
    _places: Mapping[int, int] = {}
    _ahead: Mapping[int, Tensor] = {}

    @cached_property
    def _philox(self) -> Philox:
        return Philox(self.shape, self.seed, self.first, self.device)

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        if not 0 <= key.call < LARGEST:
            raise DifftoolError(
                f"independent noise takes a number from 0 to 2**56 - 1, got {key.call}"
            )
        if key.call not in self._ahead:
            numbers = self._together(key.call)
            self._ahead = dict(zip(numbers, self._philox.normals(numbers, CALLS), strict=True))
        return self._give(self._ahead[key.call], out)

    def expect(self, keys: Sequence[NoiseKey]) -> None:
        self._expected = [key.call for key in keys if key.interval is None]
        self._places = {number: i for i, number in enumerate(self._expected)}

    def _together(self, number: int) -> Sequence[int]:
        """The given number and those expected after it, as many as are drawn together."""
        place = self._places.get(number)
        if place is None:
            return [number]
        return self._expected[place : place + self._philox.together]

    def initial(self) -> Tensor:
        return self._give(self._philox.normals([0], INITIAL), None)

    def _give(self, z: Tensor, out: Tensor | None) -> Tensor:
        return self._target(out).copy_(z.reshape(self.shape))


@dataclass(frozen=True)
class Independent(Noise):
    """Unit normals by Philox-4x32-10 and Box-Muller, keyed by (seed, sample, number, element).

    sample: the global index. Computed in float32.
    """

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu",
        dtype: torch.dtype = torch.float32, origin: float = 0.0,
    ) -> Source:  # fmt: skip
        return KeyedSource(shape, seed, first, device, dtype, Numbers(origin, self.placed))
