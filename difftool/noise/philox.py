"""Philox-4x32-10: a keyed bijection of four 32-bit words, ten rounds of

    c0, c1, c2, c3  <-  hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0),     k <- k + (W0, W1)

and unit normals computed from it, z = sqrt(-2 log u1) (cos, sin)(2 pi u2).

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). Box, Muller,
"A note on the generation of random normal deviates" (1958).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from difftool.noise.base import Shape

MASK = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
AHEAD = 8  # numbers drawn at once for a small batch
# streams: the values of one word of the counter
CALLS, INITIAL, NODES, INFINITE, GENERATOR, GENERATOR_INITIAL = range(6)

Word = Any  # an int or an int64 tensor of 32-bit words


def philox4x32(counter: Sequence[Word], key: Sequence[Word]) -> tuple[Word, Word, Word, Word]:
    """Philox-4x32-10: four counter words and two key words to four words (Salmon et al., 3.3).

    A word is an int or an int64 tensor, 0 <= word < 2**32; tensors broadcast.
    """
    for k in _round_keys(key):
        counter = _round(counter, k)
    c0, c1, c2, c3 = counter
    return c0, c1 & MASK, c2, c3 & MASK


def _round_keys(key: Sequence[Word]) -> list[tuple[Word, Word]]:
    return [((key[0] + r * WEYL[0]) & MASK, (key[1] + r * WEYL[1]) & MASK) for r in range(10)]


def _round(counter: Sequence[Word], key: Sequence[Word]) -> tuple[Word, Word, Word, Word]:
    """One round. Words 1 and 3 keep bits above 32, which the next round drops."""
    c0, c1, c2, c3 = counter
    p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
    return ((p1 >> 32) ^ key[0] ^ c1) & MASK, p1, ((p0 >> 32) ^ key[1] ^ c3) & MASK, p0


class Philox:
    """Unit normals z[number, sample, element] of one batch in float32, in few integer passes.

    The counter words are (number, block, stream, sample), so the first rounds run on vectors.
    Seven rounds run in place on two rows, one of which holds the words 0 and 1, the other 2 and
    3. A round swaps their roles instead of the data.
    """

    def __init__(self, shape: Shape, seed: int, first: int, device: torch.device):
        self.batch, self.size, self.device = shape[0], math.prod(shape[1:]), device
        self.blocks = torch.arange(-(-self.size // 4), device=device)
        self.samples = torch.arange(first, first + self.batch, device=device).view(-1, 1)
        # counters processed at once, so that they fit into a CPU's cache
        if device.type == "cpu":
            self.limit = 2**16
        else:
            self.limit = 2**20
        self.together = min(AHEAD, max(1, self.limit // (self.batch * len(self.blocks))))
        self.keys = _round_keys((seed & MASK, seed >> 32))
        rows = [
            (MULTIPLIERS, k[::-1]) if r % 2 == 0 else (MULTIPLIERS[::-1], k)
            for r, k in enumerate(self.keys)
        ]
        self.rows = [
            row.unbind() for row in torch.tensor(rows, device=device).view(10, 2, 2, 1, 1, 1)
        ]
        most = max(
            len(self.blocks), min(self.limit, self.together * self.batch * len(self.blocks))
        )
        # scratch buffers, because allocation is slow
        self.words = torch.empty(3, 2 * most, dtype=torch.int64, device=device)
        self.floats = torch.empty(3, 2 * most, dtype=torch.float32, device=device)

    @torch.inference_mode()
    def normals(self, numbers: Sequence[int], stream: int) -> Tensor:
        """z (numbers, B, elements); numbers < 2**56, bits above 32 go into the stream word."""
        whole = torch.tensor(numbers, device=self.device).view(-1, 1, 1)
        number, streams = whole & MASK, (whole >> 32 << 8) + stream
        shape = len(numbers), self.batch, 4, len(self.blocks)
        z = torch.empty(shape, dtype=torch.float32, device=self.device)
        most = max(1, self.limit // (len(numbers) * len(self.blocks)))
        for part, samples in zip(z.split(most, 1), self.samples.split(most), strict=True):
            rows = (3, 2, *part[:, :, 0].shape)
            words, floats = (
                t[:, : part.numel() // 2].view(rows) for t in (self.words, self.floats)
            )
            box_muller(
                part, *self._rounds((number, self.blocks, streams, samples), words), floats
            )
        return z.flatten(2)[..., : self.size]

    def _rounds(self, counter: Sequence[Word], words: Tensor) -> tuple[Tensor, Tensor]:
        """Words (0, 2), and words (1, 3) with bits above 32."""
        for k in self.keys[:3]:
            counter = _round(counter, k)
        x, product, spare = words.unbind()
        x0, x1 = x.unbind()
        x0.copy_(counter[2])
        x1.copy_(counter[0])
        low0, low1 = counter[3], counter[1]
        for multipliers, keys in self.rows[3:]:
            torch.mul(x, multipliers, out=product)
            torch.bitwise_right_shift(product, 32, out=x)
            x0.bitwise_xor_(low1)
            x1.bitwise_xor_(low0)
            x.bitwise_xor_(keys).bitwise_and_(MASK)
            low0, low1 = product.unbind()
            product, spare = spare, product
        return x, spare


def box_muller(z: Tensor, radius: Tensor, angle: Tensor, floats: Tensor) -> None:
    """Fill z (numbers, samples, 4, blocks): two quarters with cosines, then two with sines."""
    cos, sin = z.unflatten(2, (2, 2)).permute(2, 3, 0, 1, 4)
    r, theta, trig = floats.unbind()
    r.copy_(radius).add_(0.5).mul_(2.0**-32).log_().mul_(
        -2.0
    ).sqrt_()  # 0 < u1 <= 1: never infinite
    theta.copy_(trig.view(torch.int32).copy_(angle)).mul_(math.pi * 2.0**-31)
    torch.mul(r, torch.cos(theta, out=trig), out=cos)
    torch.mul(r, theta.sin_(), out=sin)
