"""Models that estimate x_0: networks, and exact models of known data distributions."""

from difftool.models.base import Affine, BoundModel, Model
from difftool.models.clipped import Clipped
from difftool.models.exact import ExactModel
from difftool.models.guidance import Guided
from difftool.models.mixture import GaussianMixture
from difftool.models.network import NetworkModel
from difftool.models.parametrization import PARAMETRIZATIONS, Parametrization

__all__ = [
    "PARAMETRIZATIONS",
    "Affine",
    "BoundModel",
    "Clipped",
    "ExactModel",
    "GaussianMixture",
    "Guided",
    "Model",
    "NetworkModel",
    "Parametrization",
]
