"""Noise: independent (by key), path (increments of one Brownian path), generator (fast, not repeatable by key)."""

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
