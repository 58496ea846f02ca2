"""Samplers: one file per family, each the loop of its paper."""

from difftool.samplers.adaptive import AdaptiveODE
from difftool.samplers.base import Denoiser, Last, NoiseSource, Sampler, eps_of, finish, nfe_of
from difftool.samplers.ddim import DDIM
from difftool.samplers.ddpm import DDPM
from difftool.samplers.langevin import AnnealedLangevin, PredictorCorrector
from difftool.samplers.ode import Euler, FlowODE, Heun
from difftool.samplers.sde import EulerMaruyama

__all__ = [
    "DDIM",
    "DDPM",
    "AdaptiveODE",
    "AnnealedLangevin",
    "Denoiser",
    "Euler",
    "EulerMaruyama",
    "FlowODE",
    "Heun",
    "Last",
    "NoiseSource",
    "PredictorCorrector",
    "Sampler",
    "eps_of",
    "finish",
    "nfe_of",
]
