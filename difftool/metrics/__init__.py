"""Distances between sets of samples."""

from difftool.metrics.sliced import SlicedDistance, sliced_wasserstein

__all__ = ["SlicedDistance", "sliced_wasserstein"]
