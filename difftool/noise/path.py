"""Path noise: increments of one Brownian path, for any noise levels in any order.

z(lo, hi) = (W(hi) - W(lo)) / sqrt(hi - lo) of one Brownian path W in the noise level
u = sigma / alpha. In an octave, u = 2^k (1 + t), W is the Levy-Ciesielski sum over dyadic cells
of width h = 2^-d, d = 0 .. DEPTH - 1:

    W(u) = W(2^k) + 2^(k/2) [t z_root + sum_d sqrt(h) g_d(f_d) z_(d, cell)],    f_d in [0, 1) the place of t in its cell

with the tent g = min(f, 1 - f), and in the smallest cells g = sqrt(f (1 - f)): there the path
is one arc, with the right variance at every point. So Var(W(hi) - W(lo)) = hi - lo exactly,
unless both ends are in the same smallest cell.

Levy, "Processus stochastiques et mouvement brownien" (1948).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.noise.base import Device, Noise, NoiseKey, Numbers, Shape, Source
from difftool.noise.independent import KeyedSource
from difftool.noise.philox import INFINITE, NODES

LOWEST, HIGHEST = -30, 30  # octaves of the path; [0, 2^LOWEST] is one cell
DEPTH = 18  # bisections of an octave, whose smallest cells are 2^-17 of it
CLOSE = 1e-4  # relative length below which W(high) - W(low) would cancel in float32


@dataclass(frozen=True)
class BrownianPath(Noise):
    """Unit normal increments of one Brownian path in the noise level, at any levels.

    For lo < mid < hi,

        sqrt(hi - lo) z(lo, hi) = sqrt(mid - lo) z(lo, mid) + sqrt(hi - mid) z(mid, hi)

    up to float32 rounding of W (1e-6 sqrt(hi) at most), for levels that differ by more than
    8e-6 relative and 1e-9 absolute. Closer levels still give unit normals, but these no longer
    add up. hi = inf is the limit of distant increments, a separate stream. `initial` and calls
    without points are as for `Independent`.

    An increment costs DEPTH + 1 independent draws if it adjoins the previous one, else twice as
    many, and one more for every octave it crosses. Raises `DifftoolError` for a finite level of
    2^31 or more.
    """

    correlated: ClassVar[bool] = True

    def source(
        self, shape: Shape, *, seed: int = 0, first: int = 0, device: Device = "cpu",
        dtype: torch.dtype = torch.float32, origin: float = 0.0,
    ) -> Source:  # fmt: skip
        return _PathSource(shape, seed, first, device, dtype, Numbers(origin, self.placed))


class _PathSource(KeyedSource):
    """Path noise; caches W at both ends of the last increment, from the start of its octave."""

    correlated = True
    _ends: tuple[tuple[float, Tensor], ...] = ()

    def draw(self, key: NoiseKey, out: Tensor | None = None) -> Tensor:
        if key.interval is None:
            return super().draw(key, out)
        low, high = key.interval
        if not (0 <= low < high and (high < 2.0 ** (HIGHEST + 1) or high == math.inf)):
            most = f"2**{HIGHEST + 1}"
            raise DifftoolError(
                f"path noise takes levels 0 <= low < high < {most} or high = inf, got {low} and {high}"
            )
        if high == math.inf:
            return self._give(self._philox.normals([0], INFINITE), out)
        weights = _between(low, high)
        scale = 1 / math.hypot(*weights.values())
        if high - low < CLOSE * high:
            return self._give(self._sum({node: scale * w for node, w in weights.items()}), out)
        kept = dict(self._ends)
        self._ends = tuple(
            (u, kept[u] if u in kept else self._sum(_inside(u))) for u in (low, high)
        )
        (_, start), (_, end) = self._ends
        return self._give((end - start + self._sum(_whole(low, high))).mul_(scale), out)

    def _sum(self, weights: dict[int, float]) -> Tensor:
        """The weighted sum of the nodes' normals: (B, elements)."""
        total = torch.zeros(
            self._philox.batch, self._philox.size, dtype=torch.float32, device=self.device
        )
        nodes, step = list(weights), self._philox.together
        for some in (nodes[i : i + step] for i in range(0, len(nodes), step)):
            for node, z in zip(some, self._philox.normals(some, NODES), strict=True):
                total.add_(z, alpha=weights[node])
        return total


def _octave(u: float) -> int:
    """The number of the octave of `u`, from 1; 0 is the bottom cell [0, 2^LOWEST]."""
    if u:
        return max(0, math.frexp(u)[1] - LOWEST)
    return 0


def _width(octave: int) -> float:
    return 2.0 ** (LOWEST + max(0, octave - 1))


def _inside(u: float) -> dict[int, float]:
    """Node -> weight in W(u) - W(start of its octave).

    The number of a node holds its octave, then 0 for the root or 2^d + cell.
    """
    octave = _octave(u)
    root, scale = octave << DEPTH, math.sqrt(_width(octave))
    if octave == 0:
        if u:
            return {root: math.sqrt(u)}
        return {}
    t = u / _width(octave) - 1
    weights = {root: scale * t}
    for d in range(DEPTH):
        cell, f = divmod(t * 2**d, 1.0)
        if d < DEPTH - 1:
            g = min(f, 1 - f)
        else:
            g = math.sqrt(f * (1 - f))
        weights[root + 2**d + int(cell)] = scale * 2 ** (-d / 2) * g
    return {node: w for node, w in weights.items() if w}


def _whole(low: float, high: float) -> dict[int, float]:
    """Node -> weight in W(start of the octave of `high`) - W(start of the octave of `low`)."""
    return {
        octave << DEPTH: math.sqrt(_width(octave))
        for octave in range(_octave(low), _octave(high))
    }


def _between(low: float, high: float) -> dict[int, float]:
    """Node -> weight in W(high) - W(low), without nodes that cancel."""
    end, start, whole = _inside(high), _inside(low), _whole(low, high)
    nodes: Iterable[int] = end | start | whole
    weights = {n: end.get(n, 0.0) - start.get(n, 0.0) + whole.get(n, 0.0) for n in nodes}
    return {n: w for n, w in weights.items() if w}
