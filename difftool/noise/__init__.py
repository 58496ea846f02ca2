"""Noise: independent (by key), increments of a Brownian path, or torch's generator."""

from difftool.noise.base import Noise, NoiseKey, Numbers, Source, check_seed
from difftool.noise.generator import Generator
from difftool.noise.independent import Independent
from difftool.noise.path import BrownianPath
from difftool.noise.philox import philox4x32

__all__ = [
    "BrownianPath",
    "Generator",
    "Independent",
    "Noise",
    "NoiseKey",
    "Numbers",
    "Source",
    "check_seed",
    "philox4x32",
]
