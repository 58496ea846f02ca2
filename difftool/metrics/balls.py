"""Precision, recall, density and coverage: samples x and a reference y, by balls around each of them.

The ball B(a) around a sample reaches to the k-th nearest other sample of its own set (and does not hold that one):

    precision = mean over x of [x in some B(y)]         density  = mean over x of #{y: x in B(y)} / k
    recall    = mean over y of [y in some B(x)]         coverage = mean over y of [some x in B(y)]

Precision and density tell the quality of samples, recall and coverage their variety; density
and coverage take balls around the reference only, so that single samples far off change little.
Sources: Kynkaanniemi et al. 2019, Improved precision and recall metric, arXiv 1904.06991;
Naeem et al. 2020, Reliable fidelity and diversity metrics, arXiv 2002.09797.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from difftool.errors import DifftoolError

NEIGHBOURS = 5
BLOCK = 1024  # balls that are looked at together


class Balls(NamedTuple):
    """holding (n,): how many of the balls hold each sample; filled (m,): whether each ball holds any."""

    holding: Tensor
    filled: Tensor


def precision_and_coverage(x: Tensor, y: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """The four figures by name, of vectors (n, D) and a reference (m, D); `DifftoolError` unless n, m > k."""
    if min(len(x), len(y)) <= k:
        raise DifftoolError(
            f"precision and recall take more than {k} samples, got {len(x)} and {len(y)}"
        )
    x, y = x.double(), y.double()
    of_reference, of_samples = _balls(y, x, k), _balls(x, y, k)
    return {
        "precision": _mean(of_reference.holding > 0),
        "recall": _mean(of_samples.holding > 0),
        "density": _mean(of_reference.holding) / k,
        "coverage": _mean(of_reference.filled),
    }


def _balls(centres: Tensor, x: Tensor, k: int) -> Balls:
    """The balls around the centres (m, D), and the samples x (n, D) in them."""
    holding, filled = torch.zeros(len(x), dtype=torch.int64), []
    for some in centres.split(BLOCK):
        radius = torch.cdist(some, centres).kthvalue(k + 1).values  # the nearest is itself
        inside = torch.cdist(some, x) < radius[:, None]
        holding += inside.sum(0)
        filled.append(inside.any(1))
    return Balls(holding, torch.cat(filled))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
