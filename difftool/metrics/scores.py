"""How far samples are from a data set: all figures at once, from batches that come one after another.

Without a network    sliced Wasserstein distance, energy distance and MMD of the samples themselves
With one             FID, KID (torchmetrics), precision, recall, density, coverage of their features
With an exact model  the mean log density of the samples under it

Pictures stream: with a feature network no more of them is kept than what the figures without one look at, and of FID
only moments.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from difftool.errors import DifftoolError, missing
from difftool.metrics.balls import precision_and_coverage
from difftool.metrics.pairs import energy_distance, mmd
from difftool.metrics.sliced import sliced_wasserstein

KEPT = 10_000  # samples of a set that are kept to be compared, at most,
NUMBERS = 2**27  # and so many numbers of them
WORK = 1e10  # numbers that are compared for an energy distance or an MMD, at most
SUBSET = 1000  # samples of one of the 100 subsets of KID

Net = Callable[[Tensor], Tensor]


class Scores:
    """Figures of samples against a reference set. `add` both in batches, in random order, then `compute`.

    All samples count for FID and log density; the other figures look at the first ones, up to 10,000.

    features: a feature network, pictures (B, C, H, W) to vectors (B, D); none: the figures without one.
    density: log p_0 of samples, (B,), of an exact model.

    Raises `DifftoolError` where a library is missing, and for sets that are too small or do not fit.
    """

    def __init__(self, features: Net | None = None, density: Net | None = None):
        self.features, self.density = features, density
        self.samples: dict[bool, list[Tensor]] = {True: [], False: []}
        self.vectors: dict[bool, list[Tensor]] = {True: [], False: []}
        self.counts = {True: 0, False: 0}
        self.log_density = 0.0
        self._fid: Any = None
        if features is not None:
            _check_library()  # before any picture is drawn

    def add(self, x: Tensor, real: bool) -> None:
        """More samples (B, ...), of the reference if `real`."""
        room = max(2, min(KEPT, NUMBERS // x[0].numel())) - sum(map(len, self.samples[real]))
        if room > 0:
            self.samples[real].append(x[:room].detach().float().cpu())
        self.counts[real] += len(x)
        if self.density is not None and not real:
            self.log_density += float(self.density(x).double().sum())
        if self.features is not None:
            vectors = self.features(x).detach().cpu()
            if not bool(torch.isfinite(vectors).all()):
                raise DifftoolError("the feature network returned NaN or infinity")
            if self._fid is None:
                self._fid = _fid(vectors.shape[1])
            self._fid.update(vectors, real=real)
            room = KEPT - sum(map(len, self.vectors[real]))
            if room > 0:
                self.vectors[real].append(vectors[:room])

    def forget(self) -> None:
        """Forget the samples, but not the reference."""
        self.samples[False], self.vectors[False] = [], []
        self.counts[False], self.log_density = 0, 0.0
        if self._fid is not None:
            self._fid.reset()

    def compute(self) -> dict[str, float]:
        """The figures by name, of what was added so far."""
        for real, what in ((True, "of the reference"), (False, "to be scored")):
            if self.counts[real] < 2:
                raise DifftoolError(
                    f"at least 2 samples are compared, there are {self.counts[real]} {what}"
                )
        x, y = (torch.cat(self.samples[real]) for real in (False, True))
        if x.shape[1:] != y.shape[1:]:
            raise DifftoolError(
                f"the samples have the shape {tuple(x.shape[1:])}, the reference {tuple(y.shape[1:])}"
            )
        few = max(2, int(math.sqrt(WORK / x[0].numel())))
        out = {
            "sliced_wasserstein": sliced_wasserstein(x, y),
            "energy_distance": energy_distance(x[:few], y[:few]),
            "mmd": mmd(x[:few], y[:few]),
        }
        if self.density is not None:
            out["log_density"] = self.log_density / self.counts[False]
        if self.features is not None:
            out |= self._of_features()
        return out

    def _of_features(self) -> dict[str, float]:
        x, y = (torch.cat(self.vectors[real]) for real in (False, True))
        return {
            "fid": float(self._fid.compute()),
            "kid": _kid(x, y),
            **precision_and_coverage(x, y),
        }


class _AsIs(nn.Module):
    """What stands for a network where its features are given."""

    def __init__(self, size: int):
        super().__init__()
        self.num_features = size

    def forward(self, x: Tensor) -> Tensor:
        return x


def _check_library() -> None:
    """Raise `DifftoolError` if the library for figures of features is missing."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise missing("a figure of features", "torchmetrics", "metrics")


def _fid(size: int) -> Any:
    from torchmetrics.image.fid import FrechetInceptionDistance

    return FrechetInceptionDistance(_AsIs(size), reset_real_features=False)


def _kid(x: Tensor, y: Tensor) -> float:
    """The mean over 100 random subsets, the same ones every time."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # that features are kept
        metric = KernelInceptionDistance(
            _AsIs(x.shape[1]), subset_size=min(SUBSET, len(x), len(y))
        )
        torch.manual_seed(0)
        metric.update(y, real=True)
        metric.update(x, real=False)
        return float(metric.compute()[0])
