"""Models: estimates of x_0, from networks and from exact data laws."""

from difftool.models.base import Affine, Bound, Model
from difftool.models.mixture import GaussianMixture
from difftool.models.network import PARAMETRIZATIONS, NetworkModel, Parametrization

__all__ = ["PARAMETRIZATIONS", "Affine", "Bound", "GaussianMixture", "Model", "NetworkModel", "Parametrization"]
