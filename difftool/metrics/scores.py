"""How far samples are from a data set: all metrics at once, from a stream of batches.

Without a network    sliced Wasserstein distance, energy distance and MMD of the samples
With a network       FID, KID (torchmetrics), precision, recall, density, coverage of their features
With an exact model  the mean log density of the samples under it

Pictures are streamed: only as many are kept as the metrics without a network use, and FID keeps
moments only.
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

KEPT = 10_000  # samples of a set that are kept for comparison, at most
NUMBERS = 2**27  # elements of these samples, at most
WORK = 1e10  # pairs of elements that an energy distance or an MMD compares, at most
SUBSET = 1000  # samples in each of the 100 subsets of KID

Net = Callable[[Tensor], Tensor]


class Scores:
    """Metrics of samples against a reference: `add` shuffled batches of both, then `compute`.

    FID and log density use all samples; the other metrics use the first ones, up to 10,000.

    features: a feature network, pictures (B, C, H, W) to vectors (B, D); none: only the metrics
        that need no network.
    density: log p_0 of samples, (B,), under an exact model.

    Raises `DifftoolError` if a library is missing, and for sets that are too small or do not
    fit.
    """

    def __init__(self, features: Net | None = None, density: Net | None = None):
        self.features, self.density = features, density
        self.samples: dict[bool, list[Tensor]] = {True: [], False: []}
        self.vectors: dict[bool, list[Tensor]] = {True: [], False: []}
        self.counts = {True: 0, False: 0}
        self.log_density = 0.0
        self._fid: Any = None
        if features is not None:
            _check_library()  # fail before any picture is drawn

    def add(self, x: Tensor, real: bool) -> None:
        """Add samples (B, ...), to the reference if `real`."""
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
        """The metrics of everything added so far, by name."""
        for real, what in ((True, "in the reference"), (False, "to be scored")):
            if self.counts[real] < 2:
                raise DifftoolError(
                    f"at least 2 samples are needed, got {self.counts[real]} {what}"
                )
        x, y = (torch.cat(self.samples[real]) for real in (False, True))
        if x.shape[1:] != y.shape[1:]:
            raise DifftoolError(
                f"the samples have shape {tuple(x.shape[1:])}, the reference {tuple(y.shape[1:])}"
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
    """An identity network, for features that are already computed."""

    def __init__(self, size: int):
        super().__init__()
        self.num_features = size

    def forward(self, x: Tensor) -> Tensor:
        return x


def _check_library() -> None:
    """Raise `DifftoolError` if the library for feature metrics is missing."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise missing("a feature metric", "torchmetrics", "metrics")


def _fid(size: int) -> Any:
    from torchmetrics.image.fid import FrechetInceptionDistance

    return FrechetInceptionDistance(_AsIs(size), reset_real_features=False)


def _kid(x: Tensor, y: Tensor) -> float:
    """The mean over 100 random subsets, which are the same every time."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # warns that features are kept
        metric = KernelInceptionDistance(
            _AsIs(x.shape[1]), subset_size=min(SUBSET, len(x), len(y))
        )
        torch.manual_seed(0)
        metric.update(y, real=True)
        metric.update(x, real=False)
        return float(metric.compute()[0])
