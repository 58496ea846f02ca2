"""Distances of sets of samples from all pairs: energy distance, MMD, nearest neighbors.

    E^2(X, Y)    = 2 E|x - y| - E|x - x'| - E|y - y'|
    MMD^2(X, Y)  = E k(x, x') + E k(y, y') - 2 E k(x, y),     k(x, y) = exp(-|x - y|^2 / (2 h^2))

with x, x' different samples of X, so that both have mean 0 for two sets from one distribution
(and may be negative). Pairs are computed in blocks: the sets are in memory, the pairs are not.
Sources: Szekely & Rizzo 2013, Energy statistics; Gretton et al. 2012, A kernel two-sample test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import check_positive

BLOCK = 1024  # rows per block of pairs
# rows per block of a neighbor search, and candidates whose distance is computed exactly
FEW_ROWS, CANDIDATES = 128, 8


class Nearest(NamedTuple):
    """distance (n,) to the nearest sample of the reference, and its index, which (n,)."""

    distance: Tensor
    which: Tensor


def energy_distance(x: Tensor, y: Tensor) -> float:
    """E^2 of two sets (n, ...) and (m, ...), n, m >= 2, in units of the data.

    Raises `DifftoolError` for sets that do not fit.
    """
    x, y = _fitting(x, y)
    return 2 * _mean(x, y) - _mean(x) - _mean(y)


def mmd(x: Tensor, y: Tensor, bandwidth: float | None = None) -> float:
    """MMD^2 of two sets with a Gaussian kernel of bandwidth h > 0.

    bandwidth: default: the median distance within y. Raises `DifftoolError` for sets that do
    not fit, and for a bandwidth that is not positive.
    """
    x, y = _fitting(x, y)
    if bandwidth is None:
        few = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:BLOCK]]
        bandwidth = float(torch.pdist(few).median())
    check_positive("the bandwidth of a kernel must be", bandwidth)
    kernel = lambda d: torch.exp(-0.5 * (d / bandwidth) ** 2)  # noqa: E731
    return _mean(x, change=kernel) + _mean(y, change=kernel) - 2 * _mean(x, y, kernel)


def nearest(x: Tensor, reference: Tensor, same: bool = False) -> Nearest:
    """The nearest of the reference (m, ...) to each of x (n, ...), by Euclidean distance.

    same: x is the reference, and a sample is not its own neighbor. Raises `DifftoolError` for
    sets that do not fit.
    """
    x, reference = _fitting(x, reference, least=1 + same, dtype=torch.float32)
    found = []
    for first in range(0, len(x), FEW_ROWS):
        part = x[first : first + FEW_ROWS]
        rough = torch.cdist(part, reference)  # by matrix products, inaccurate for close samples
        if same:
            rows = torch.arange(len(part))
            rough[rows, first + rows] = math.inf
        near = rough.topk(min(CANDIDATES, len(reference) - same), largest=False).indices
        exact = (part[:, None].double() - reference[near].double()).norm(dim=2)
        distance, place = exact.min(dim=1)
        found.append((distance, near.gather(1, place[:, None])[:, 0]))
    return Nearest(torch.cat([d for d, _ in found]).float(), torch.cat([i for _, i in found]))


def _mean(
    x: Tensor, y: Tensor | None = None, change: Callable[[Tensor], Tensor] = lambda d: d
) -> float:
    """The mean of a function of the distance over all pairs; self-pairs are excluded."""
    if y is None:
        other = x
    else:
        other = y
    total = sum(float(change(distances).sum()) for _, distances in _blocks(x, other))
    if y is not None:
        return total / (len(x) * len(y))
    alone = float(change(torch.zeros(1, dtype=x.dtype))) * len(x)
    return (total - alone) / (len(x) * (len(x) - 1))


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(x), BLOCK):
        yield (
            first,
            torch.cdist(
                x[first : first + BLOCK], y, compute_mode="donot_use_mm_for_euclid_dist"
            ),
        )


def _fitting(
    x: Tensor, y: Tensor, least: int = 2, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Both sets as flat rows, in float64 (or another dtype) on the host."""
    for what in (x, y):
        if what.ndim < 2 or len(what) < least or not bool(torch.isfinite(what).all()):
            raise DifftoolError(
                f"sets of samples must be finite, (n, ...) with n >= {least}, got {tuple(what.shape)}"
            )
    if x.shape[1:] != y.shape[1:]:
        raise DifftoolError(
            f"samples must have one shape, got {tuple(x.shape[1:])} and {tuple(y.shape[1:])}"
        )
    flat = [what.detach().to("cpu", dtype).flatten(1) for what in (x, y)]
    return flat[0], flat[1]
