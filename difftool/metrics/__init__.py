"""Distances between sets of samples."""

from difftool.metrics.pairs import Nearest, energy_distance, mmd, nearest
from difftool.metrics.sliced import SlicedDistance, sliced_wasserstein

__all__ = ["Nearest", "SlicedDistance", "energy_distance", "mmd", "nearest", "sliced_wasserstein"]
