"""How far samples are from the exact distribution, compared with as many exact samples.

    moments   W2 between the Gaussian with the exact mean and covariance (U, lambda_d) and the one
              with the means and variances of the samples along the same axes, z = U^T x:
                  W2^2 = sum_d (mean(z_d) - m_d)^2 + (std(z_d) - sqrt(lambda_d))^2
              For Gaussian data it is the distance of the distributions; otherwise it depends on
              the first two moments only.
    sliced    the sliced Wasserstein distance to many exact samples (`difftool.metrics`): detects
              any difference, with low sensitivity.
    spread    the RMS distance to the nearest center of the mixture, relative to exact samples:
              below 1 the samples are too smooth, above 1 they have residual noise. The two
              distances hardly detect this.

No finite set of samples has distance 0. The floor is the distance of exact samples: a method
can reach it, not beat it. `difftool.plan.analysis.error` is exact on Gaussian data, without a
floor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import check_whole
from difftool.metrics import Distance, SlicedDistance
from difftool.metrics.floor import SETS
from difftool.models import GaussianMixture

REFERENCE = 16  # exact samples in the reference per compared sample
LEAST = 65536  # exact samples in the reference, at least


class SampleLaw:
    """Metrics of `count` samples against the exact distribution of a mixture.

    Options: `count` (>= 2), `seed` of the exact samples, `directions` of the sliced distance.
    The reference is drawn once. Raises `DifftoolError` for the wrong number or size of samples,
    and for samples that are not finite.
    """

    def __init__(
        self, exact: GaussianMixture, count: int, *, seed: int = 0, directions: int = 128
    ):
        count = check_whole("the number of samples must be", count, 2)
        self.exact, self.count, self.seed, self.directions = exact, count, seed, directions
        self._centers = exact.means.reshape(len(exact.means), -1)
        self._floors: dict[str, list[float]] = {}

    def moments(self, x: Tensor) -> Distance:
        """W2 of the first two moments."""
        return self._with_floor("moments", self._moments, x)

    def sliced(self, x: Tensor) -> Distance:
        """The sliced Wasserstein distance."""
        return self._with_floor("sliced", self._sliced, x)

    def spread(self, x: Tensor) -> Distance:
        """The RMS distance to the nearest center, relative to exact samples."""
        return self._with_floor("spread", lambda x: self._residual(x) / self._true_residual, x)

    def _with_floor(self, name: str, figure: Callable[[Tensor], float], x: Tensor) -> Distance:
        value = figure(self._checked(x))
        if name not in self._floors:
            self._floors[name] = [
                figure(self._exact(self.count, self.seed + 1 + i)) for i in range(SETS)
            ]
        return Distance.beside(value, self._floors[name])

    def _checked(self, x: Tensor) -> Tensor:
        flat = x.detach().cpu().double().reshape(len(x), -1)
        size = self._centers.shape[1]
        if flat.shape != (self.count, size):
            raise DifftoolError(
                f"the samples have shape {tuple(x.shape)}, expected ({self.count}, ...) with {size} elements each"
            )
        if not bool(torch.isfinite(flat).all()):
            raise DifftoolError("some samples are not finite")
        return flat

    def _exact(self, count: int, seed: int) -> Tensor:
        return self.exact.draw(count, seed=seed).double().reshape(count, -1)

    def _moments(self, x: Tensor) -> float:
        mean, std, axes = self._axes
        z = x @ axes
        return float(((z.mean(0) - mean).square() + (z.std(0) - std).square()).sum().sqrt())

    def _residual(self, x: Tensor) -> float:
        each = [
            torch.cdist(part, self._centers).min(1).values.square() for part in x.split(4096)
        ]
        return float(torch.cat(each).mean().sqrt())

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """The exact mean and standard deviations along the principal axes (columns)."""
        mean, covariance = self.exact.moments()
        values, axes = torch.linalg.eigh(covariance)
        return mean @ axes, values.clip(min=0).sqrt(), axes

    @cached_property
    def _reference(self) -> Tensor:
        return self._exact(max(REFERENCE * self.count, LEAST), self.seed)

    @cached_property
    def _sliced(self) -> SlicedDistance:
        return SlicedDistance(self._reference, self.directions, self.seed)

    @cached_property
    def _true_residual(self) -> float:
        return self._residual(self._reference)
