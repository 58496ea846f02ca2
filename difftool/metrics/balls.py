"""Precision, recall, density and coverage of samples x against a reference y, from k-NN balls.

The ball B(a) around a sample extends to its k-th nearest neighbor in its own set (exclusive):

    precision = mean over x of [x in some B(y)]         density  = mean over x of #{y: x in B(y)} / k
    recall    = mean over y of [y in some B(x)]         coverage = mean over y of [some x in B(y)]

Precision and density measure the quality of samples, recall and coverage their diversity.
Density and coverage use balls around the reference only, so a few outliers change them little.
Sources: Kynkaanniemi et al. 2019, Improved precision and recall metric, arXiv 1904.06991; Naeem
et al. 2020, Reliable fidelity and diversity metrics, arXiv 2002.09797.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from difftool.errors import DifftoolError

NEIGHBORS = 5
BLOCK = 1024  # balls that are computed at a time


class Balls(NamedTuple):
    """holding (n,): number of balls around a sample; filled (m,): whether a ball has any."""

    holding: Tensor
    filled: Tensor


def precision_and_coverage(x: Tensor, y: Tensor, k: int = NEIGHBORS) -> dict[str, float]:
    """The four metrics by name, for (n, D) against a reference (m, D); needs n, m > k."""
    if min(len(x), len(y)) <= k:
        raise DifftoolError(
            f"precision and recall need more than {k} samples, got {len(x)} and {len(y)}"
        )
    x, y = x.double(), y.double()
    of_reference, of_samples = _balls(y, x, k), _balls(x, y, k)
    return {
        "precision": _mean(of_reference.holding > 0),
        "recall": _mean(of_samples.holding > 0),
        "density": _mean(of_reference.holding) / k,
        "coverage": _mean(of_reference.filled),
    }


def _balls(centers: Tensor, x: Tensor, k: int) -> Balls:
    """Count the samples x (n, D) in the balls around the centers (m, D)."""
    holding, filled = torch.zeros(len(x), dtype=torch.int64), []
    for some in centers.split(BLOCK):
        radius = torch.cdist(some, centers).kthvalue(k + 1).values  # the nearest is the center
        inside = torch.cdist(some, x) < radius[:, None]
        holding += inside.sum(0)
        filled.append(inside.any(1))
    return Balls(holding, torch.cat(filled))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
