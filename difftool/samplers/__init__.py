"""Samplers: one file per family, each written as the loop of its paper."""

from difftool.request import Request
from difftool.samplers.adams import Adams, deis, exponential_adams, flow_ab, lms
from difftool.samplers.adaptive import AdaptiveODE
from difftool.samplers.ancestral import Ancestral, dpm_2_a, dpmpp_2s_a, euler_a
from difftool.samplers.base import Denoiser, Last, NoiseSource, Sampler, eps_of, finish, nfe_of
from difftool.samplers.churn import Churn
from difftool.samplers.ddim import DDIM
from difftool.samplers.ddpm import DDPM
from difftool.samplers.distilled import TCD, Consistency, lcm
from difftool.samplers.dpm_adaptive import DPMAdaptive
from difftool.samplers.dpm_solver_v3 import DPMSolverV3
from difftool.samplers.dpmpp import DPMpp, dpmpp_2m, dpmpp_2m_sde, dpmpp_3m, dpmpp_3m_sde
from difftool.samplers.dpmpp_sde import DPMppSDE
from difftool.samplers.embedded import EmbeddedRK
from difftool.samplers.er_sde import ERSDE
from difftool.samplers.flow_abm import FlowABM
from difftool.samplers.flow_sde import FlowSDE
from difftool.samplers.gotta_go_fast import GottaGoFast
from difftool.samplers.gradient_estimation import GradientEstimation
from difftool.samplers.interpolant import Interpolant
from difftool.samplers.ipndm import IPNDM, ipndm_v
from difftool.samplers.karras import DPM2, HeunPP2
from difftool.samplers.langevin import AnnealedLangevin, PredictorCorrector
from difftool.samplers.multistep import Multistep
from difftool.samplers.ode import ProbabilityFlow
from difftool.samplers.picard import Picard
from difftool.samplers.pndm import PNDM, pndm_plms
from difftool.samplers.reab import REAB
from difftool.samplers.restart import Restart
from difftool.samplers.runge_kutta import (
    RK4,
    Euler,
    Heun,
    Heun3,
    Kutta3,
    Midpoint,
    Ralston,
    RungeKutta,
)
from difftool.samplers.sa import SASolver
from difftool.samplers.sde import EulerMaruyama, ReverseDiffusion
from difftool.samplers.seeds import Seeds1, Seeds2, Seeds3, exp_heun
from difftool.samplers.singlestep import (
    Singlestep,
    dpm_fast,
    dpm_solver_1,
    dpm_solver_2,
    dpm_solver_3,
    dpmpp_2s,
    dpmpp_3s,
    res_2s,
)
from difftool.samplers.statistics import Statistics
from difftool.samplers.stork import Stork, stork_4
from difftool.samplers.tableau import Tableau
from difftool.samplers.unipc import UniPC, unip

__all__ = [
    "DDIM",
    "DDPM",
    "DPM2",
    "ERSDE",
    "IPNDM",
    "PNDM",
    "REAB",
    "RK4",
    "TCD",
    "Adams",
    "AdaptiveODE",
    "Ancestral",
    "AnnealedLangevin",
    "Churn",
    "Consistency",
    "DPMAdaptive",
    "DPMSolverV3",
    "DPMpp",
    "DPMppSDE",
    "Denoiser",
    "EmbeddedRK",
    "Euler",
    "EulerMaruyama",
    "FlowABM",
    "FlowSDE",
    "GottaGoFast",
    "GradientEstimation",
    "Heun",
    "Heun3",
    "HeunPP2",
    "Interpolant",
    "Kutta3",
    "Last",
    "Midpoint",
    "Multistep",
    "NoiseSource",
    "Picard",
    "PredictorCorrector",
    "ProbabilityFlow",
    "Ralston",
    "Request",
    "Restart",
    "ReverseDiffusion",
    "RungeKutta",
    "SASolver",
    "Sampler",
    "Seeds1",
    "Seeds2",
    "Seeds3",
    "Singlestep",
    "Statistics",
    "Stork",
    "Tableau",
    "UniPC",
    "deis",
    "dpm_2_a",
    "dpm_fast",
    "dpm_solver_1",
    "dpm_solver_2",
    "dpm_solver_3",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2s",
    "dpmpp_2s_a",
    "dpmpp_3m",
    "dpmpp_3m_sde",
    "dpmpp_3s",
    "eps_of",
    "euler_a",
    "exp_heun",
    "exponential_adams",
    "finish",
    "flow_ab",
    "ipndm_v",
    "lcm",
    "lms",
    "nfe_of",
    "pndm_plms",
    "res_2s",
    "stork_4",
    "unip",
]
