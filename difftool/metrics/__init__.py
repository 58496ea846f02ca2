"""Distances between sets of samples."""

from difftool.metrics.floor import Distance
from difftool.metrics.pairs import Nearest, energy_distance, mmd, nearest
from difftool.metrics.scores import Scores
from difftool.metrics.sliced import SlicedDistance, sliced_wasserstein

__all__ = [
    "Distance",
    "Nearest",
    "Scores",
    "SlicedDistance",
    "energy_distance",
    "mmd",
    "nearest",
    "sliced_wasserstein",
]
