"""The sliced Wasserstein distance: averaged over random one-dimensional projections.

SW2^2(X, Y) = E_theta W2^2(theta . X, theta . Y), theta uniform on the sphere; in one dimension
W2 compares quantiles. Source: Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters of
measures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import check_whole


class SlicedDistance:
    """SW2 between sets of samples and one large reference set, along fixed directions.

    reference: (M, ...); directions: their number; seed: of the directions. Calling it with x
        (n, ...), n <= M, compares the n sorted values of each projection with the n quantile
        bins of
    the reference: W2 of the two sets along each direction. Raises `DifftoolError` for sets that
        are empty, not finite or do not fit.
    """

    def __init__(self, reference: Tensor, directions: int = 128, seed: int = 0):
        flat = _flat(reference)
        self.theta = _directions(flat.shape[1], directions, seed)
        self.sorted = (flat @ self.theta).sort(dim=0).values

    def __call__(self, x: Tensor) -> float:
        values = _projected(x, self.theta)
        n, m = len(values), len(self.sorted)
        if n > m:
            raise DifftoolError(
                f"{n} samples against a reference of {m}; give a reference at least as large"
            )
        cuts = torch.arange(n + 1) * m // n
        # compare a value with every quantile of its bin
        each = values.repeat_interleave(cuts[1:] - cuts[:-1], dim=0)
        return float((each - self.sorted).square().mean().sqrt())


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128, seed: int = 0) -> float:
    """SW2 between samples (n, ...) and (m, ...), along `directions` random directions.

    In one dimension it is the exact W2 of the two sets, whatever their sizes. Raises like
    `SlicedDistance`.
    """
    theta = _directions(_flat(x).shape[1], directions, seed)
    a, b = _projected(x, theta), _projected(y, theta)
    n, m = len(a), len(b)
    cuts = torch.cat(
        [torch.arange(n + 1) * m, torch.arange(1, m) * n]
    ).unique()  # the cuts of both quantile functions, in units of 1 / (n m)
    squares = (a[cuts[:-1] // m] - b[cuts[:-1] // n]).square().mean(dim=1)
    return float((squares @ (cuts[1:] - cuts[:-1]).double() / (n * m)).sqrt())


def _directions(size: int, count: int, seed: int) -> Tensor:
    """`count` directions, uniform on the sphere: the columns of (size, count)."""
    count = check_whole("directions must be", count, 1)
    theta = torch.randn(
        size, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return theta / theta.norm(dim=0)


def _projected(x: Tensor, theta: Tensor) -> Tensor:
    """The sorted values of every projection, (n, directions)."""
    flat = _flat(x)
    if flat.shape[1] != len(theta):
        raise DifftoolError(
            f"the samples have {flat.shape[1]} elements each, expected {len(theta)}"
        )
    return (flat @ theta).sort(dim=0).values


def _flat(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor) or not x.numel() or not x.ndim:
        raise DifftoolError(
            f"samples must be a tensor (n, ...) with at least one, got {getattr(x, 'shape', type(x).__name__)}"
        )
    flat = x.detach().cpu().double().reshape(len(x), -1)
    if not bool(torch.isfinite(flat).all()):
        raise DifftoolError("some samples are not finite")
    return flat
