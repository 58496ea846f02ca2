"""Noise that a run can ask for again: unit normals by key, and increments of one Brownian path.

Independent noise is a function of its address, not of what was drawn before:

    z[b, e] = BoxMuller(Philox_seed(number, block of e, stream, first + b)),     -2 log(u1) = r^2,   z = r cos, r sin(2 pi u2)

so sample `first + b` gets the same noise whatever the batch size, the order of the batches, the worker or the device (up
to float rounding). Philox-4x32-10 is a keyed bijection of four 32-bit words, ten rounds of

    c0, c1, c2, c3  <-  hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0),      k <- k + (W0, W1)

Path noise is z(lo, hi) = (W(hi) - W(lo)) / sqrt(hi - lo) of one Brownian path W in the noise level u = sigma / alpha.
Inside an octave, u = 2^k (1 + t), W is the Levy-Ciesielski sum over dyadic cells of width h = 2^-d, d = 0 .. DEPTH - 1,

    W(u) - W(2^k) = 2^(k/2) [ t z_root + sum_d sqrt(h) g_d(f_d) z_(d, cell) ],      f_d = place of t in its cell, 0 <= f_d < 1

with the tent g = min(f, 1 - f), and g = sqrt(f (1 - f)) in the smallest cells: there the path is one arc whose variance is
right at every point. Hence Var(W(hi) - W(lo)) = hi - lo exactly, unless both ends lie in one smallest cell.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011); Box, Muller, "A note on the generation of
random normal deviates" (1958); Levy, "Processus stochastiques et mouvement brownien" (1948).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from difftool.errors import DifftoolError

MASK = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
CALLS, INITIAL, NODES, INFINITE, GENERATOR, GENERATOR_INITIAL = range(6)  # streams
LOWEST, HIGHEST = -30, 30  # octaves of the path; below 2^LOWEST it is one cell
DEPTH = 18  # bisections of an octave: smallest cells of 2^-17 octave
CLOSE = 1e-5  # relative size of a step that is summed by itself

Word = Any  # an int or an int64 tensor, of 32-bit words


class NoiseKey(NamedTuple):
    """Which noise: the `call`-th independent one of a run, or the path's over `interval` = (low, high) noise levels."""

    call: int
    interval: tuple[float, float] | None = None


class Leveled(Protocol):
    """Anything with a noise level sigma / alpha: a point of a path."""

    @property
    def level(self) -> float: ...


class Noise(ABC):
    """A kind of noise; `source` opens one run of one batch.

    `correlated`: overlapping intervals share noise, so a sampler's noise depends on its levels and not on its calls.
    """

    correlated: ClassVar[bool] = False

    @abstractmethod
    def source(
        self,
        shape: Sequence[int],
        *,
        seed: int = 0,
        first: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Source:
        """The noise of a batch of `shape` = (B, ...), whose samples are number first, ..., first + B - 1 of all.

        Raises DifftoolError unless 0 <= seed < 2**64, 0 <= first <= 2**32 - B and dtype is float32 or float64.
        """


class Source(ABC):
    """The noise of one run of one batch; a sampler calls it in its loop, an executor asks by key.

    `resumable`: `draw` gives the same noise for the same key, so that a stopped run can go on.
    """

    resumable: bool = True
    correlated: bool = False

    def __init__(self, shape: Sequence[int], seed: int, first: int, device: str | torch.device, dtype: torch.dtype):
        shape = tuple(shape)
        if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
            raise DifftoolError(f"shape must be (batch, ...) of positive ints, got {shape}")
        if not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise DifftoolError(f"seed must be an int with 0 <= seed < 2**64, got {seed!r}")
        if not isinstance(first, int) or not 0 <= first <= 2**32 - shape[0]:
            raise DifftoolError(f"first must be an int with 0 <= first <= 2**32 - {shape[0]}, got {first!r}")
        if dtype not in (torch.float32, torch.float64):
            raise DifftoolError(f"noise is drawn in float32 or float64, got {dtype}; keep the state in at least float32")
        self.shape, self.seed, self.first = shape, seed, first
        self.device, self.dtype = torch.device(device), dtype
        self.calls = 0

    def __call__(self, now: Leveled | None = None, nxt: Leveled | None = None) -> Tensor:
        """Unit normal noise for the step from `now` to `nxt`, or independent of all else without points."""
        if (now is None) != (nxt is None):
            raise DifftoolError("noise takes both points of a step or none, got one")
        if self.correlated and now is not None and nxt is not None:
            low, high = sorted((float(now.level), float(nxt.level)))
            return self.draw(NoiseKey(-1, (low, high)))
        self.calls += 1
        return self.draw(NoiseKey(self.calls - 1))

    @abstractmethod
    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        """The noise of `key`, of `shape`: a fresh tensor, or `out` filled."""

    @abstractmethod
    def initial(self) -> Tensor:
        """Unit normal for the starting state: a stream of its own, the same at any time."""

    def _target(self, out: Tensor | None) -> Tensor:
        if out is None:
            return torch.empty(self.shape, device=self.device, dtype=self.dtype)
        if out.shape != self.shape:
            raise DifftoolError(f"out has shape {tuple(out.shape)}, the noise has {self.shape}")
        return out


def philox4x32(counter: Sequence[Word], key: Sequence[Word]) -> tuple[Word, Word, Word, Word]:
    """Philox-4x32-10: four counter words and two key words to four words (Salmon et al. 2011, section 3.3).

    A word is an int or an int64 tensor with 0 <= word < 2**32; tensors broadcast.
    """
    c0, c1, c2, c3 = counter
    for k in _round_keys(key):
        c0, c1, c2, c3 = _round((c0, c1, c2, c3), k)
    return c0, c1 & MASK, c2, c3 & MASK


def _round_keys(key: Sequence[Word]) -> list[tuple[Word, Word]]:
    return [((key[0] + r * WEYL[0]) & MASK, (key[1] + r * WEYL[1]) & MASK) for r in range(10)]


def _round(counter: Sequence[Word], key: Sequence[Word]) -> tuple[Word, Word, Word, Word]:
    """One round. Bits above 32 stay in words 1 and 3, where the next round masks them."""
    c0, c1, c2, c3 = counter
    p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
    return ((p1 >> 32) ^ key[0] ^ c1) & MASK, p1, ((p0 >> 32) ^ key[1] ^ c3) & MASK, p0


class _Philox:
    """Unit normals z[number, sample, element] of one batch, in float32, by as few integer passes as possible.

    With the words (number, block, stream, sample) the first three rounds run on vectors; the other seven run in place on
    two rows, one with the words 0 and 1, one with 2 and 3. A round swaps the roles of the rows instead of the data.
    """

    def __init__(self, shape: Sequence[int], seed: int, first: int, device: torch.device):
        self.batch, self.size = shape[0], math.prod(shape[1:])
        self.blocks = torch.arange(-(-self.size // 4), device=device)
        self.samples = torch.arange(first, first + self.batch, device=device).view(-1, 1)
        self.limit = 2**16 if device.type == "cpu" else 2**20  # counters at once: what a CPU's cache holds
        self.together = min(8, max(1, self.limit // (self.batch * len(self.blocks))))  # numbers worth one call
        self.keys = _round_keys((seed & MASK, seed >> 32))
        rows = [(MULTIPLIERS, k[::-1]) if r % 2 == 0 else (MULTIPLIERS[::-1], k) for r, k in enumerate(self.keys)]
        self.rows = [row.unbind() for row in torch.tensor(rows, device=device).view(10, 2, 2, 1, 1, 1)]

    @torch.inference_mode()
    def normals(self, numbers: Sequence[int], stream: int) -> Tensor:
        """z of shape (len(numbers), B, elements)."""
        number = torch.tensor(numbers, device=self.blocks.device).view(-1, 1, 1)
        z = torch.empty(len(numbers), self.batch, 4, len(self.blocks), device=self.blocks.device)
        most = max(1, self.limit // (len(numbers) * len(self.blocks)))
        for part, samples in zip(z.split(most, 1), self.samples.split(most), strict=True):
            self._fill(part, (number, self.blocks, stream, samples))
        return z.flatten(2)[..., : self.size]

    def _fill(self, z: Tensor, counter: Sequence[Word]) -> None:
        """Box-Muller: words 0 and 2 are radii, 1 and 3 are angles; the four normals fill the four quarters of a sample."""
        numbers, batch, _, blocks = z.shape
        radius, angle = self._words(counter, (2, numbers, batch, blocks))
        r = radius.float().add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
        theta = angle.int().float().mul_(math.pi * 2.0**-31)
        cos, sin = z.view(numbers, batch, 2, 2, blocks).permute(2, 3, 0, 1, 4)
        torch.mul(r, theta.cos(), out=cos)
        torch.mul(r, theta.sin_(), out=sin)

    def _words(self, counter: Sequence[Word], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Words (0, 2) and words (1, 3), the latter with bits above 32."""
        for k in self.keys[:3]:
            counter = _round(counter, k)
        x, p, spare = (torch.empty(shape, dtype=torch.int64, device=self.blocks.device) for _ in range(3))
        x0, x1 = x.unbind()
        x0.copy_(counter[2])
        x1.copy_(counter[0])
        low0, low1 = counter[3], counter[1]
        for multiplier, key in self.rows[3:]:
            torch.mul(x, multiplier, out=p)
            torch.bitwise_right_shift(p, 32, out=x)
            x0.bitwise_xor_(low1)
            x1.bitwise_xor_(low0)
            x.bitwise_xor_(key).bitwise_and_(MASK)
            low0, low1 = p.unbind()
            p, spare = spare, p
        return x, spare


class _KeyedSource(Source):
    """Independent noise by call number. A small batch draws the next few calls along with the one asked for."""

    def __init__(self, shape: Sequence[int], seed: int, first: int, device: str | torch.device, dtype: torch.dtype):
        super().__init__(shape, seed, first, device, dtype)
        self._philox = _Philox(self.shape, seed, first, self.device)
        self._ahead: tuple[int, Tensor] | None = None

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        if not 0 <= key.call < 2**32:
            raise DifftoolError(f"independent noise takes a call number from 0 to 2**32 - 1, got {key}")
        start = key.call - key.call % self._philox.together
        if self._ahead is None or self._ahead[0] != start:
            calls = range(start, min(start + self._philox.together, 2**32))
            self._ahead = start, self._philox.normals(calls, CALLS)
        return self._fill(out, self._ahead[1][key.call - start])

    def initial(self) -> Tensor:
        return self._fill(None, self._philox.normals([0], INITIAL)[0])

    def _fill(self, out: Tensor | None, z: Tensor) -> Tensor:
        return self._target(out).copy_(z.reshape(self.shape))


@dataclass(frozen=True)
class Independent(Noise):
    """Unit normals keyed by (seed, global sample index, call, element): Philox-4x32-10 and Box-Muller in float32."""

    def source(
        self,
        shape: Sequence[int],
        *,
        seed: int = 0,
        first: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Source:
        return _KeyedSource(shape, seed, first, device, dtype)


@dataclass(frozen=True)
class BrownianPath(Noise):
    """Unit normal increments of one Brownian path in the noise level, at any levels in any order.

    For lo < mid < hi: sqrt(hi - lo) z(lo, hi) = sqrt(mid - lo) z(lo, mid) + sqrt(hi - mid) z(mid, hi), to float32 rounding
    of W (a relative 1e-7 of sqrt(lo), 1e-5 of a step of relative size 1e-4) for levels further apart than 8e-6 of themselves
    and than 1e-9. Closer ones still give unit normals, which no longer add up. High = inf is a stream of its own, the limit
    of a far increment. An increment costs DEPTH + 1 independent draws if one of its ends was one of the last increment's,
    twice that if not, and one more for every octave it crosses. Raises DifftoolError for finite levels above 2^31.
    """

    correlated: ClassVar[bool] = True

    def source(
        self,
        shape: Sequence[int],
        *,
        seed: int = 0,
        first: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Source:
        return _PathSource(shape, seed, first, device, dtype)


class _PathSource(_KeyedSource):
    correlated = True

    def __init__(self, shape: Sequence[int], seed: int, first: int, device: str | torch.device, dtype: torch.dtype):
        super().__init__(shape, seed, first, device, dtype)
        self._ends: dict[float, Tensor] = {}

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        if key.interval is None:
            return super().draw(key, out)
        low, high = key.interval
        if not (0 <= low < high and (high < 2.0 ** (HIGHEST + 1) or high == math.inf)):
            raise DifftoolError(
                f"path noise takes 0 <= low < high < 2**{HIGHEST + 1} (or high = inf), got low {low}, high {high}"
            )
        if high == math.inf:
            return self._fill(out, self._philox.normals([0], INFINITE)[0])
        weights = _between(low, high)
        scale = 1 / math.hypot(*weights.values())
        if high - low < CLOSE * high:  # W(high) - W(low) would cancel in float32
            return self._fill(out, self._sum({node: scale * w for node, w in weights.items()}))
        self._ends = {u: self._ends[u] if u in self._ends else self._sum(_inside(u)) for u in (low, high)}
        increment = self._ends[high] - self._ends[low] + self._sum(_whole(low, high))
        return self._fill(out, increment.mul_(scale))

    @torch.inference_mode()
    def _sum(self, weights: dict[int, float]) -> Tensor:
        """The weighted sum of the nodes' normals, (B, elements)."""
        total = torch.zeros(self._philox.batch, self._philox.size, device=self.device)
        nodes, step = list(weights), self._philox.together
        for i in range(0, len(nodes), step):
            for node, z in zip(nodes[i : i + step], self._philox.normals(nodes[i : i + step], NODES), strict=False):
                total.add_(z, alpha=weights[node])
        return total


def _octave(u: float) -> int:
    """Number of the octave of `u` from 1 on; 0 is the bottom cell [0, 2^LOWEST]."""
    return max(0, math.frexp(u)[1] - LOWEST) if u else 0


def _width(octave: int) -> float:
    return 2.0 ** (LOWEST + max(0, octave - 1))


def _inside(u: float) -> dict[int, float]:
    """Node -> weight in W(u) - W(start of the octave). Nodes: octave, then 0 (root) or 2^d + cell."""
    octave = _octave(u)
    root, scale = octave << DEPTH, math.sqrt(_width(octave))
    if octave == 0:
        return {root: math.sqrt(u)} if u else {}
    t = u / _width(octave) - 1
    weights = {root: scale * t}
    for d in range(DEPTH):
        cell, f = divmod(t * 2**d, 1.0)
        g = min(f, 1 - f) if d < DEPTH - 1 else math.sqrt(f * (1 - f))
        weights[root + 2**d + int(cell)] = scale * 2 ** (-d / 2) * g
    return {node: w for node, w in weights.items() if w}


def _whole(low: float, high: float) -> dict[int, float]:
    """Node -> weight in W(start of the octave of `high`) - W(start of the octave of `low`)."""
    return {octave << DEPTH: math.sqrt(_width(octave)) for octave in range(_octave(low), _octave(high))}


def _between(low: float, high: float) -> dict[int, float]:
    """Node -> weight in W(high) - W(low), where it is not 0."""
    start, end, whole = _inside(low), _inside(high), _whole(low, high)
    nodes = start | end | whole
    weights = {n: end.get(n, 0.0) - start.get(n, 0.0) + whole.get(n, 0.0) for n in nodes}
    return {n: w for n, w in weights.items() if w}


@dataclass(frozen=True)
class Generator(Noise):
    """Plain `torch.Generator`: the fastest on CPU. The same seed, batch and device give the same run, nothing else does.

    The generator's seed is one Philox call on (first, seed), so the batches of a run differ. `draw` ignores the key and
    takes the next numbers: such a run cannot be resumed.
    """

    def source(
        self,
        shape: Sequence[int],
        *,
        seed: int = 0,
        first: int = 0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Source:
        return _GeneratorSource(shape, seed, first, device, dtype)


class _GeneratorSource(Source):
    resumable = False

    def __init__(self, shape: Sequence[int], seed: int, first: int, device: str | torch.device, dtype: torch.dtype):
        super().__init__(shape, seed, first, device, dtype)
        self._generator = self._seeded(GENERATOR)

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        return self._target(out).normal_(generator=self._generator)

    def initial(self) -> Tensor:
        return self._target(None).normal_(generator=self._seeded(GENERATOR_INITIAL))

    def _seeded(self, stream: int) -> torch.Generator:
        low, high, _, _ = philox4x32((self.first, 0, stream, 0), (self.seed & MASK, self.seed >> 32))
        return torch.Generator(device=self.device).manual_seed(low | high << 32)
