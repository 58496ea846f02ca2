"""Agreement with diffusers' schedulers that are driven in a way of their own: `pip install diffusers`.

EDM's and the consistency model's parametrizations, flow matching, pseudo-numerical methods, distilled models.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from agreement import Case, Noises, check, distinct, eps_of, normal, ours, preserving, x0_of
from torch import Tensor

from difftool.schedules import Cosine, DDPMLinear, Flow, Point, Schedule

pytest.importorskip("diffusers")

from diffusers_peer import TABLE, module_of, widened

Drive = tuple[list[float], Tensor]  # noise levels, and x at the last of them


def edm(scheduler: Any, case: Case, x: Tensor) -> Drive:
    """The network is F of x0 = c_skip x + c_out F; states are x / alpha."""
    scheduler.set_timesteps(case.steps)
    levels = scheduler.sigmas
    x = x * (1 + levels[0] ** 2) ** 0.5
    for level, t in zip(levels, scheduler.timesteps, strict=False):
        scheduler.scale_model_input(x, t)
        p = preserving(float(level))
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        if hasattr(scheduler, "precondition_outputs"):
            skip, out = (scheduler.precondition_outputs(a, b, level) for a, b in ((one, zero), (zero, one)))
        else:
            skip, out = scheduler.get_scalings_for_boundary_condition(level)
        answer = (x0_of(p.alpha * x, p) - skip * x) / out
        x = scheduler.step(answer, t, x, **case.step_options, return_dict=False)[0]
    return distinct(levels), x / (1 + levels[-1] ** 2) ** 0.5


def flow(scheduler: Any, case: Case, x: Tensor) -> Drive:
    """The network is eps - x0 at x = (1 - s) x0 + s eps."""
    scheduler.set_timesteps(case.steps)
    for s, t in zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False):
        p = Point(s, 1 - s, s)
        answer = eps_of(x, p) - x0_of(x, p)
        x = scheduler.step(answer, t, x, **case.step_options, return_dict=False)[0]
    levels = [s / (1 - s) if s < 1 else float("inf") for s in scheduler.sigmas.tolist()]
    return distinct(levels), x


def by_time(scheduler: Any, case: Case, x: Tensor) -> Drive:
    """The network is eps at whole times of the table."""
    scheduler.set_timesteps(case.steps)
    bar = scheduler.alphas_cumprod
    levels = [float(((1 - bar[t]) / bar[t]) ** 0.5) for t in scheduler.timesteps]
    for level, t in zip(levels, scheduler.timesteps, strict=True):
        x = scheduler.step(eps_of(x, preserving(level)), t, x, **case.step_options, return_dict=False)[0]
    return levels, x


def angle(scheduler: Any, case: Case, x: Tensor) -> Drive:
    """The network is v = alpha eps - sigma x0; the first of its levels is infinite, and left out here."""
    scheduler.set_timesteps(case.steps + 1)
    for name in ("betas", "alphas", "timesteps"):
        setattr(scheduler, name, getattr(scheduler, name)[1:])
    levels = (scheduler.betas / scheduler.alphas).tolist()
    for level, t in zip(levels, scheduler.timesteps, strict=False):
        p = preserving(level)
        answer = p.alpha * eps_of(x, p) - p.sigma * x0_of(x, p)
        x = scheduler.step(answer, t, x, return_dict=False)[0]
    return levels, x


def run(case: Case, drive: Any, noise: Noises) -> tuple[list[float], Tensor]:
    """The levels that the scheduler visited, and its x at the last."""
    module = module_of(case)
    with widened(module, noise), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = TABLE if drive is by_time else {}
        return drive(getattr(module, case.peer)(**table, **case.options), case, normal())


def both(row: tuple[Case, Any, Schedule | None]) -> tuple[Tensor, Tensor]:
    """Where the scheduler and where ours ends."""
    case, drive, schedule = row
    levels, peers = run(case, drive, Noises())
    return peers, ours(case.ours, levels, normal(), Noises(), schedule)


DPM, SDE = "EDMDPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}
EDM = [
    Case("EDMEulerScheduler", {}, "euler:variable=level"),
    Case(DPM, {"solver_order": 1}, "dpmpp:order=1"),
    Case(DPM, {}, "dpmpp-2m"),
    Case(DPM, {"solver_type": "heun"}, "dpmpp-2m:order=2,variant=exact"),
    Case(DPM, {"solver_order": 3}, "dpmpp-3m:variant=published,taper=true"),
    Case(DPM, {"solver_order": 3}, "dpmpp-3m:variant=published", steps=20),
    Case(DPM, SDE, "dpmpp-2m-sde"),
    Case(DPM, {**SDE, "solver_type": "heun"}, "dpmpp-2m-sde:order=2,variant=exact"),
    Case(
        "CMStochasticIterativeScheduler",
        {"clip_denoised": False},
        "consistency:epsilon=0.002",
        tolerance=1e-9,
        reason="the last step ends at the level epsilon, where sqrt(sigma^2 - (alpha epsilon)^2) is 1e-10, not 0",
        steps=5,
    ),
]
WAN = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
FLOW = [
    Case("FlowMatchEulerDiscreteScheduler", {}, "euler"),
    Case("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, "ddim"),
    Case("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, "lcm"),
    Case("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}, "heun"),
    Case("DPMSolverMultistepScheduler", WAN, "dpmpp-2m"),
    Case("UniPCMultistepScheduler", {**WAN, "solver_order": 2}, "unipc:order=2,taper=true"),
]
ROWS = [*((case, edm, None) for case in EDM), *((case, flow, Flow()) for case in FLOW)]
ROWS += [(Case("IPNDMScheduler", {}, "ipndm"), angle, Cosine(s=0.0))]
BOUNDARY = {"timestep_scaling": 1e10}  # its c_skip and c_out belong to the distilled model; so they are 0 and 1
CLEAN = "for gamma = 1 its s is entry 0 of the table, of level 0.01, where the paper's is clean data, t = 0"
FIRST = {"set_alpha_to_one": True}
PNDM = [
    Case("PNDMScheduler", FIRST, "pndm-prk", steps=10),
    Case("PNDMScheduler", {**FIRST, "skip_prk_steps": True}, "pndm-plms", steps=10),
]
LCM = Case("LCMScheduler", BOUNDARY, "lcm", steps=4)
TCD = [
    Case("TCDScheduler", {}, "tcd:gamma=0.0", steps=5, step_options={"eta": 0.0}),
    Case("TCDScheduler", {}, "tcd:gamma=0.3", steps=5),
    Case("TCDScheduler", {}, "tcd:gamma=1.0", steps=5, step_options={"eta": 1.0}, differs=1e-4, reason=CLEAN),
]
APART = [*PNDM, LCM, *TCD]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_agrees(row):
    check(row[0], *both(row))


@pytest.mark.parametrize("case", PNDM, ids=str)
def test_pndm(case):
    """Its grid is uniform in t with repeated times; it ends at clean data, where ours has the level 0."""
    _, peers = run(case, by_time, Noises())
    schedule = DDPMLinear()
    levels = [schedule.level((100 * i + 1) / 1000) for i in range(9, -1, -1)]
    check(case, peers, ours(case.ours, [*levels, 0.0], normal()))


def test_lcm():
    levels, peers = run(LCM, by_time, Noises())
    check(LCM, peers, ours("lcm", [*levels, 0.0], normal(), Noises()))


@pytest.mark.parametrize("case", TCD, ids=str)
def test_tcd(case):
    """Its last step is DDIM's, to the first entry of the table, where ours would go on to clean data.

    Its times s = floor((1 - gamma) i) are ours for gamma < 1 here, where i + 1 is a multiple of 10.
    """
    levels, peers = run(case, by_time, Noises())
    x = ours(case.ours, levels, normal(), Noises())
    check(case, peers, ours("ddim", [levels[-1], DDPMLinear().level(1 / 1000)], x))
