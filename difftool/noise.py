"""Noise that a run can ask for again: unit normals by key, and increments of one Brownian path.

Independent noise is a function of its address, not of what was drawn before:

    z[b, e] = BoxMuller(Philox_seed(number, block of e, stream, first + b)),   z = sqrt(-2 log u1) (cos, sin)(2 pi u2)

so sample `first + b` gets the same noise whatever the batch size, the order of the batches, the worker or the device
(up to float rounding). Philox-4x32-10 is a keyed bijection of four 32-bit words, ten rounds of

    c0, c1, c2, c3  <-  hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0),     k <- k + (W0, W1)

Path noise is z(lo, hi) = (W(hi) - W(lo)) / sqrt(hi - lo) of one Brownian path W in the noise level u = sigma / alpha.
In an octave, u = 2^k (1 + t), W is the Levy-Ciesielski sum over dyadic cells of width h = 2^-d, d = 0 .. DEPTH - 1:

    W(u) = W(2^k) + 2^(k/2) [t z_root + sum_d sqrt(h) g_d(f_d) z_(d, cell)],    f_d in [0, 1) the place of t in its cell

with the tent g = min(f, 1 - f), and in the smallest cells g = sqrt(f (1 - f)): there the path is one arc, of the right
variance at every point. So Var(W(hi) - W(lo)) = hi - lo exactly, unless both ends lie in one smallest cell.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011). Box, Muller, "A note on the generation
of random normal deviates" (1958). Levy, "Processus stochastiques et mouvement brownien" (1948).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from difftool.errors import DifftoolError

MASK = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
CALLS, INITIAL, NODES, INFINITE, GENERATOR, GENERATOR_INITIAL = range(6)  # streams
AHEAD = 8  # calls (or nodes) that a small batch draws at once
LOWEST, HIGHEST = -30, 30  # octaves of the path; [0, 2^LOWEST] is one cell
DEPTH = 18  # bisections of an octave; its smallest cells are 2^-17 of it
CLOSE = 1e-4  # relative length below which W(high) - W(low) would cancel in float32

Shape = Sequence[int]
Device = str | torch.device
Word = Any  # an int or an int64 tensor of 32-bit words


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
        if not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise DifftoolError(f"seed must be an int with 0 <= seed < 2**64, got {seed!r}")
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


def philox4x32(counter: Sequence[Word], key: Sequence[Word]) -> tuple[Word, Word, Word, Word]:
    """Philox-4x32-10: four counter words and two key words to four words (Salmon et al. 2011, section 3.3).

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


class _Philox:
    """Unit normals z[number, sample, element] of one batch, in float32, in few passes over integers.

    With the words (number, block, stream, sample) the first rounds run on vectors; seven rounds run in place on two
    rows, of which one holds the words 0 and 1, the other 2 and 3. A round swaps their roles instead of the data.
    """

    def __init__(self, shape: Shape, seed: int, first: int, device: torch.device):
        self.batch, self.size, self.device = shape[0], math.prod(shape[1:]), device
        self.blocks = torch.arange(-(-self.size // 4), device=device)
        self.samples = torch.arange(first, first + self.batch, device=device).view(-1, 1)
        self.limit = 2**16 if device.type == "cpu" else 2**20  # counters at once, so that a CPU's cache holds them
        self.together = min(AHEAD, max(1, self.limit // (self.batch * len(self.blocks))))
        self.keys = _round_keys((seed & MASK, seed >> 32))
        rows = [(MULTIPLIERS, k[::-1]) if r % 2 == 0 else (MULTIPLIERS[::-1], k) for r, k in enumerate(self.keys)]
        self.rows = [row.unbind() for row in torch.tensor(rows, device=device).view(10, 2, 2, 1, 1, 1)]
        most = max(len(self.blocks), min(self.limit, self.together * self.batch * len(self.blocks)))
        self.words = torch.empty(3, 2 * most, dtype=torch.int64, device=device)  # scratch, as fresh memory is slow
        self.floats = torch.empty(3, 2 * most, device=device)

    @torch.inference_mode()
    def normals(self, numbers: Sequence[int], stream: int) -> Tensor:
        """z of shape (numbers, B, elements)."""
        number = torch.tensor(numbers, device=self.device).view(-1, 1, 1)
        z = torch.empty(len(numbers), self.batch, 4, len(self.blocks), device=self.device)
        most = max(1, self.limit // (len(numbers) * len(self.blocks)))
        for part, samples in zip(z.split(most, 1), self.samples.split(most), strict=True):
            shape = (3, 2, *part[:, :, 0].shape)
            words, floats = (t[:, : part.numel() // 2].view(shape) for t in (self.words, self.floats))
            _box_muller(part, *self._rounds((number, self.blocks, stream, samples), words), floats)
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


def _box_muller(z: Tensor, radius: Tensor, angle: Tensor, floats: Tensor) -> None:
    """Fills z (numbers, samples, 4, blocks): the first two quarters with cosines, the others with sines."""
    cos, sin = z.unflatten(2, (2, 2)).permute(2, 3, 0, 1, 4)
    r, theta, trig = floats.unbind()
    r.copy_(radius).add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()  # 0 < u1 <= 1: never infinite
    theta.copy_(trig.view(torch.int32).copy_(angle)).mul_(math.pi * 2.0**-31)
    torch.mul(r, torch.cos(theta, out=trig), out=cos)
    torch.mul(r, theta.sin_(), out=sin)


class _KeyedSource(Source):
    """Independent noise by call number; a small batch draws the calls that follow along with the one asked for."""

    _ahead: tuple[int, Tensor] | None = None

    @cached_property
    def _philox(self) -> _Philox:
        return _Philox(self.shape, self.seed, self.first, self.device)

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


class _PathSource(_KeyedSource):
    """Path noise; keeps W at the two ends of the last increment, each relative to the start of its octave."""

    correlated = True
    _ends: tuple[tuple[float, Tensor], ...] = ()

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        if key.interval is None:
            return super().draw(key, out)
        low, high = key.interval
        if not (0 <= low < high and (high < 2.0 ** (HIGHEST + 1) or high == math.inf)):
            most = f"2**{HIGHEST + 1}"
            raise DifftoolError(f"path noise takes levels 0 <= low < high < {most} or high = inf, got {low} and {high}")
        if high == math.inf:
            return self._give(self._philox.normals([0], INFINITE), out)
        weights = _between(low, high)
        scale = 1 / math.hypot(*weights.values())
        if high - low < CLOSE * high:
            return self._give(self._sum({node: scale * w for node, w in weights.items()}), out)
        kept = dict(self._ends)
        self._ends = tuple((u, kept[u] if u in kept else self._sum(_inside(u))) for u in (low, high))
        (_, start), (_, end) = self._ends
        return self._give((end - start + self._sum(_whole(low, high))).mul_(scale), out)

    @torch.inference_mode()
    def _sum(self, weights: dict[int, float]) -> Tensor:
        """The weighted sum of the nodes' normals: (B, elements)."""
        total = torch.zeros(self._philox.batch, self._philox.size, device=self.device)
        nodes, step = list(weights), self._philox.together
        for some in (nodes[i : i + step] for i in range(0, len(nodes), step)):
            for node, z in zip(some, self._philox.normals(some, NODES), strict=True):
                total.add_(z, alpha=weights[node])
        return total


def _octave(u: float) -> int:
    """Number of the octave of `u`, from 1 on; 0 is the bottom cell [0, 2^LOWEST]."""
    return max(0, math.frexp(u)[1] - LOWEST) if u else 0


def _width(octave: int) -> float:
    return 2.0 ** (LOWEST + max(0, octave - 1))


def _inside(u: float) -> dict[int, float]:
    """Node -> weight in W(u) - W(start of its octave). A node is its octave, then 0 for the root or 2^d + cell."""
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
    """Node -> weight in W(high) - W(low), without the nodes that cancel."""
    end, start, whole = _inside(high), _inside(low), _whole(low, high)
    nodes: Iterable[int] = end | start | whole
    weights = {n: end.get(n, 0.0) - start.get(n, 0.0) + whole.get(n, 0.0) for n in nodes}
    return {n: w for n, w in weights.items() if w}


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
        low, high, _, _ = philox4x32((self.first, 0, stream, 0), (self.seed & MASK, self.seed >> 32))
        return torch.Generator(device=self.device).manual_seed(low | high << 32)


@dataclass(frozen=True)
class Independent(Noise):
    """Unit normals keyed by (seed, global sample index, call, element): Philox-4x32-10 and Box-Muller, in float32."""

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Source:
        return _KeyedSource(shape, seed, first, device, dtype)


@dataclass(frozen=True)
class BrownianPath(Noise):
    """Unit normal increments of one Brownian path in the noise level, at any levels in any order.

    For lo < mid < hi, sqrt(hi - lo) z(lo, hi) = sqrt(mid - lo) z(lo, mid) + sqrt(hi - mid) z(mid, hi) up to float32
    rounding of W (1e-6 sqrt(hi) at most), for levels further apart than 8e-6 of themselves and than 1e-9. Closer ones
    still give unit normals, which no longer add up. hi = inf is the limit of a far increment: a stream of its own.
    `initial` and calls without points are those of `Independent`.

    An increment costs DEPTH + 1 independent draws where it meets the last one, twice that elsewhere, and one more for
    every octave it crosses. Raises DifftoolError for a finite level of 2^31 or more.
    """

    correlated: ClassVar[bool] = True

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Source:
        return _PathSource(shape, seed, first, device, dtype)


@dataclass(frozen=True)
class Generator(Noise):
    """Plain `torch.Generator`: the fastest on CPU, the same again only for the same seed, batch and device.

    Its seed is one Philox call on (first, seed), so the batches of a run differ. `draw` ignores the key and takes the
    next numbers: such a run cannot be resumed.
    """

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu", dtype: torch.dtype = torch.float32
    ) -> Source:
        return _GeneratorSource(shape, seed, first, device, dtype)
