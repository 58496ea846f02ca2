"""diffusers' schedulers, driven on the exact model in float64.

Their tables and their steps are float32 in places. `widened` runs a scheduler's module with its `float32` meaning
float64, so that what is compared are formulas. The network is told the noise level that the solver uses, not the
integer time that a pipeline rounds it to. States are in the VP scale (alpha^2 + sigma^2 = 1) at the start and the end.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
import warnings
from typing import Any

import numpy
import torch
from agreement import (
    Case,
    Increments,
    Noises,
    Shadow,
    distinct,
    eps_of,
    normal,
    ours,
    preserving,
    repaired,
    replaced,
    v_of,
)
from torch import Tensor

TABLE = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
FILES = {
    "CMStochasticIterativeScheduler": "consistency_models",
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "DEISMultistepScheduler": "deis_multistep",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSDEScheduler": "dpmsolver_sde",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep",
    "EDMDPMSolverMultistepScheduler": "edm_dpmsolver_multistep",
    "EDMEulerScheduler": "edm_euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete",
    "EulerDiscreteScheduler": "euler_discrete",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
    "FlowMatchHeunDiscreteScheduler": "flow_match_heun_discrete",
    "HeunDiscreteScheduler": "heun_discrete",
    "IPNDMScheduler": "ipndm",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral_discrete",
    "KDPM2DiscreteScheduler": "k_dpm_2_discrete",
    "LCMScheduler": "lcm",
    "LMSDiscreteScheduler": "lms_discrete",
    "PNDMScheduler": "pndm",
    "SASolverScheduler": "sasolver",
    "TCDScheduler": "tcd",
    "UniPCMultistepScheduler": "unipc_multistep",
}
# schedulers whose state is x / alpha, as k-diffusion's
OF_LEVEL = {name for name in FILES if name.startswith(("Euler", "Heun", "KDPM2", "LMS", "DPMSolverSDE"))}
BY_TIME = {"DDIMScheduler", "DDPMScheduler"}  # these read their table at whole times


def widened(module: Any, noise: Noises) -> contextlib.AbstractContextManager[None]:
    """The module with float64 for float32 and with our noise for its own."""
    wide = Shadow(torch, float32=torch.float64)
    return replaced(module, torch=wide, np=Shadow(numpy, float32=numpy.float64), randn_tensor=noise)


def module_of(case: Case) -> Any:
    """The module of a scheduler; torchsde, of which nothing is used here, may be missing."""
    file = f"diffusers.schedulers.scheduling_{FILES[case.peer]}"
    stand_in = case.peer == "DPMSolverSDEScheduler" and importlib.util.find_spec("torchsde") is None
    if stand_in:
        sys.modules["torchsde"] = types.ModuleType("torchsde")
    try:
        module = importlib.import_module(file)
        return repaired(file, case.repair) if case.repair else module
    finally:
        if stand_in:
            del sys.modules["torchsde"]


def level_of(scheduler: Any, i: int) -> float:
    """The noise level at which the network is asked in call i."""
    if not getattr(scheduler, "state_in_first_order", True):
        if getattr(scheduler, "mid_point_sigma", None) is not None:
            return float(scheduler.mid_point_sigma)
        if hasattr(scheduler, "sigmas_interpol"):
            return float(scheduler.sigmas_interpol[i - 1 if "Ancestral" in type(scheduler).__name__ else i])
    return float(scheduler.sigmas[i])


def run(case: Case, x: Tensor, noise: Noises, shipped: bool = False) -> tuple[list[float], Tensor]:
    """The grid that the scheduler chose, as noise levels, and its x at the end of it from x at its start."""
    module = module_of(case)
    ready = replaced(module, torch.float32, randn_tensor=noise) if shipped else widened(module, noise)
    with ready, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = getattr(module, case.peer)(**TABLE, **case.options)
        scheduler.set_timesteps(case.steps)
        if isinstance(noise, Increments):
            scheduler.noise_sampler = noise.between
        if case.peer in BY_TIME:
            return _by_time(scheduler, case, x)
        levels = scheduler.sigmas
        x = x * (1 + levels[0] ** 2) ** 0.5 if case.peer in OF_LEVEL else x
        for i, t in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(x, t)
            answer = eps_of(scaled, preserving(level_of(scheduler, i)))
            x = scheduler.step(answer, t, x, **case.step_options, return_dict=False)[0]
        x = x / (1 + levels[-1] ** 2) ** 0.5 if case.peer in OF_LEVEL else x
        return distinct(levels, case.every), x


def _by_time(scheduler: Any, case: Case, x: Tensor) -> tuple[list[float], Tensor]:
    bar = scheduler.alphas_cumprod
    levels = [float(((1 - bar[t]) / bar[t]) ** 0.5) for t in scheduler.timesteps]
    for level, t in zip(levels, scheduler.timesteps, strict=True):
        answer = answer_of(scheduler, x, level)
        x = scheduler.step(answer, int(t), x, **case.step_options, return_dict=False)[0]
    return [*levels, 0.0], x


def answer_of(scheduler: Any, x: Tensor, level: float) -> Tensor:
    """What an eps network returns there, with r = 2 v - 1 beside it for a learned variance."""
    answer = eps_of(x, preserving(level))
    learned = getattr(scheduler.config, "variance_type", None) == "learned_range"
    return torch.cat([answer, 2 * v_of(x) - 1], dim=1) if learned else answer


def both(case: Case, noise: type[Noises] = Noises, shipped: bool = False) -> tuple[Tensor, Tensor]:
    """Where the scheduler and where our sampler ends, from one start on one grid with the same noises."""
    x = normal()
    levels, peers = run(case, x, noise(), shipped)
    return peers, ours(case.ours, levels, x, noise())
