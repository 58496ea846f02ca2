"""The sliced Wasserstein distance: the mean, over random directions, of the distance of the projections.

SW2^2(X, Y) = E_theta W2^2(theta . X, theta . Y), theta uniform on the sphere; in one dimension W2 compares quantiles.
Source: Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters of measures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from difftool.errors import DifftoolError


class SlicedDistance:
    """SW2 of sets of samples to one large reference set, along fixed directions.

    reference: (M, ...); directions: how many; seed: which. Calling it with x (n, ...), n <= M, compares the n ordered
    values of each projection with the means of the reference's n quantile bins.
    """

    def __init__(self, reference: Tensor, directions: int = 128, seed: int = 0):
        flat = _flat(reference)
        theta = torch.randn(flat.shape[1], directions, generator=torch.Generator().manual_seed(seed), dtype=flat.dtype)
        self.theta = theta / theta.norm(dim=0)
        self.sorted = (flat @ self.theta).sort(dim=0).values

    def __call__(self, x: Tensor) -> float:
        flat = _flat(x)
        if flat.shape[1] != len(self.theta):
            raise DifftoolError(f"samples have {flat.shape[1]} elements, the reference has {len(self.theta)}")
        n, m = len(flat), len(self.sorted)
        if n > m:
            raise DifftoolError(f"{n} samples against a reference of {m}; give a reference at least as large")
        values = (flat @ self.theta).sort(dim=0).values
        sums = torch.cat([torch.zeros_like(self.sorted[:1]), self.sorted.cumsum(0)])
        cuts = torch.arange(n + 1) * m // n
        bins = (sums[cuts[1:]] - sums[cuts[:-1]]) / (cuts[1:] - cuts[:-1])[:, None]
        return float((values - bins).square().mean().sqrt())


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128, seed: int = 0) -> float:
    """SW2 between two sets of samples, (n, ...) and (m, ...), along `directions` random directions."""
    small, large = (x, y) if len(x) <= len(y) else (y, x)
    return SlicedDistance(large, directions, seed)(small)


def _flat(x: Tensor) -> Tensor:
    return x.detach().cpu().double().reshape(len(x), -1)
