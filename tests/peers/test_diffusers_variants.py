"""Agreement with diffusers' schedulers that are another one with a new name, table or loop: `pip install diffusers`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from agreement import Case, Increments, Noises, check, eps_of, normal, ours, preserving, replaced, x0_of
from torch import Tensor

from difftool.schedules import Cosine, Flow, Schedule

pytest.importorskip("diffusers")

from diffusers import schedulers
from diffusers_peer import FILES, TABLE, answer_of, both, run, widened
from test_diffusers_others import edm, flow

Drive = Callable[[Any, Case, Tensor, Noises], tuple[list[float], Tensor]]  # noise levels, and x at the last of them
RAW = {"clip_sample": False}
EVEN = {"use_exponential_sigmas": True}  # stages at equal parts of a step in half-log-snr
INVERSE = "DPMSolverMultistepInverseScheduler"
FILES[INVERSE] = "dpmsolver_multistep_inverse"
PLAIN = [
    Case("DPMSolverSinglestepScheduler", {**EVEN, "solver_order": 1}, "dpmpp:order=1"),
    Case(
        "DPMSolverSinglestepScheduler",
        {**EVEN, "solver_order": 1, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
        "dpm-solver-1",
    ),
    Case(
        "DPMSolverSinglestepScheduler",
        {**EVEN, "algorithm_type": "sde-dpmsolver++"},
        "dpmpp-sde:noise=independent",
        every=2,
    ),
    Case(INVERSE, {}, "dpmpp-2m", steps=20),
    Case(INVERSE, {"solver_order": 1}, "dpmpp:order=1"),
    Case(INVERSE, {}, "dpmpp-2m:taper=true"),
    Case(INVERSE, {"solver_order": 3}, "dpmpp-3m:variant=published,taper=true"),
    Case(INVERSE, {"solver_order": 3}, "dpmpp-3m:variant=published", steps=20),
    Case(INVERSE, {"solver_type": "heun"}, "dpmpp-2m:order=2,variant=exact", steps=20),
    Case(INVERSE, {"solver_type": "heun"}, "dpmpp-2m:order=2,taper=true,variant=exact"),
    Case(INVERSE, {"algorithm_type": "dpmsolver"}, "dpmpp:order=2,interpolates=eps,taper=true"),
    Case(INVERSE, {"algorithm_type": "dpmsolver"}, "dpmpp:order=2,interpolates=eps", steps=20),
]
SA = "sa-solver:order=2,corrector_order=2,taper=true,variant=published,level_min=0.7235,level_max=25.74"
APART = [Case("SASolverScheduler", {}, SA)]


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_agrees(case):
    check(case, *both(case))


def test_sa_solver_between_two_times():
    """Its default is tau = 1 for timesteps 200 to 800, 0 elsewhere; it draws its noise elsewhere too."""
    levels, peers = run(APART[0], normal(), Noises())
    before = sum(level > 25.74 for level in levels)
    assert before > 0
    check(APART[0], peers, ours(SA, levels, normal(), Noises(skip=before)))


def by_time(scheduler: Any, case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """The network is eps at whole times of the table; where a step asks for the next time it is told."""
    scheduler.set_timesteps(case.steps)
    bar = scheduler.alphas_cumprod
    times = scheduler.timesteps.tolist()
    levels = [float(((1 - bar[t]) / bar[t]) ** 0.5) for t in times]
    for level, t, after in zip(levels, times, [*times[1:], None], strict=True):
        more = {"prev_timestep": after} if case.peer == "UnCLIPScheduler" else {}
        answer = answer_of(scheduler, x, level)
        x = scheduler.step(answer, t, x, **case.step_options, **more, return_dict=False)[0]
    return [*levels, 0.0], x


def with_old(scheduler: Any, case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """CogVideoX' solver is given its history; it draws twice in a step that has one, and uses the second."""
    scheduler.set_timesteps(case.steps)
    bar = scheduler.alphas_cumprod
    times = scheduler.timesteps.tolist()
    levels = [float(((1 - bar[t]) / bar[t]) ** 0.5) for t in times]
    old = None
    for i, (level, t) in enumerate(zip(levels, times, strict=True)):
        noise.count = max(i - 1, 0)
        answer = eps_of(x, preserving(level))
        x, old = scheduler.step(answer, old, t, times[i - 1] if i else None, x, return_dict=False)
    return [*levels, 0.0], x


def churned(scheduler: Any, case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """The loop of KarrasVe's pipeline; the network's answer is (x0 - x) / sigma at x / alpha."""
    scheduler.set_timesteps(case.steps)
    levels = [*(float(scheduler.schedule[t]) for t in scheduler.timesteps), 0.0]
    x = x * (1 + levels[0] ** 2) ** 0.5

    def answer(y: Tensor, level: float) -> Tensor:
        p = preserving(level)
        return (x0_of(p.alpha * y, p) - y) / level

    for now, nxt in pairwise(levels):
        up, level = scheduler.add_noise_to_input(x, now)
        x, slope = scheduler.step(answer(up, level), level, nxt, up, return_dict=False)
        if nxt:
            x = scheduler.step_correct(answer(x, nxt), level, nxt, up, x, slope, return_dict=False)[0]
    return levels, x


def dataward(scheduler: Any, case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """The network is x0 - eps, told 1 - s."""
    scheduler.set_timesteps(case.steps)
    levels = [s / (1 - s) if s < 1 else float("inf") for s in scheduler.sigmas.tolist()]
    for s, t in zip(scheduler.sigmas.tolist(), scheduler.timesteps, strict=False):
        p = Flow().at(s)
        x = scheduler.step(x0_of(x, p) - eps_of(x, p), t, x, return_dict=False)[0]
    return levels, x


def angle(scheduler: Any, case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """The network is cos(t) eps - sin(t) x0 at x = cos(t) x0 + sin(t) eps."""
    scheduler.set_timesteps(case.steps, max_timesteps=1.5, intermediate_timesteps=None)
    levels = [float(torch.tan(t)) for t in scheduler.timesteps]
    for level, t in zip(levels, scheduler.timesteps[:-1], strict=False):
        p = preserving(level)
        x = scheduler.step(p.alpha * eps_of(x, p) - p.sigma * x0_of(x, p), t, x, return_dict=False)[0]
    return levels, x


def decoder(scheduler: Any, case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """Two fixed times; the network is F of x0 = c_skip x + c_out F."""
    scheduler.set_timesteps(2)
    levels = []
    for t in scheduler.timesteps:
        alpha, sigma = scheduler.sqrt_alphas_cumprod[t], scheduler.sqrt_one_minus_alphas_cumprod[t]
        levels.append(float(sigma / alpha))
        answer = (x0_of(x, preserving(levels[-1])) - scheduler.c_skip[t] * x) / scheduler.c_out[t]
        x = scheduler.step(answer, t, x, return_dict=False)[0]
    return [*levels, 0.0], x


def three(drive: Any) -> Drive:
    """A drive that needs no noise."""
    return lambda scheduler, case, x, noise: drive(scheduler, case, x)


HIGH = Cosine(s=0.0)  # has every level
SINGLE = "its times, and their sines and cosines, are float32"
GUARD = "it adds 1e-12 to what it divides by"
COSINE, LTX = "CosineDPMSolverMultistepScheduler", "LTXEulerAncestralRFScheduler"
EDM_CHURN = "churn:churn=80,s_min=0.05,s_max=50,s_noise=1.007"
SHIFT = {**TABLE, "snr_shift_scale": 1.0}  # their clip_sample is True, and not read
ROWS: list[tuple[Case, Drive, Schedule | None]] = [
    (Case("DDPMScheduler", {**TABLE, **RAW, "variance_type": "fixed_small_log"}, "ddpm"), by_time, None),
    (Case("DDPMParallelScheduler", {**TABLE, **RAW}, "ddpm"), by_time, None),
    (Case("DDIMParallelScheduler", {**TABLE, **RAW}, "ddim"), by_time, None),
    (Case("CogVideoXDDIMScheduler", SHIFT, "ddim"), by_time, None),
    (Case("CogVideoXDPMScheduler", SHIFT, "dpmpp-2m-sde"), with_old, None),
    (Case("UnCLIPScheduler", RAW, "ddpm"), by_time, HIGH),
    (Case("UnCLIPScheduler", {**RAW, "variance_type": "learned_range"}, "ddpm:variance=learned"), by_time, HIGH),
    (Case(COSINE, {}, "dpmpp-2m-sde"), three(edm), HIGH),
    (Case(COSINE, {"solver_type": "heun"}, "dpmpp-2m-sde:order=2,variant=exact"), three(edm), HIGH),
    (Case(COSINE, {"solver_order": 1}, "dpmpp-2m-sde:order=1"), three(edm), HIGH),
    (Case("KarrasVeScheduler", {"sigma_max": 9.0, "sigma_min": 0.1}, EDM_CHURN), churned, None),
    (Case("FlowMatchLCMScheduler", {}, "lcm"), three(flow), Flow()),
    (Case("FlowMapEulerDiscreteScheduler", {}, "euler"), three(flow), Flow()),
    (Case(LTX, {}, "ancestral:down=flow", 1e-10, GUARD), three(flow), Flow()),
    (Case(LTX, {"eta": 0.5}, "ancestral:down=flow,eta=0.5", 1e-10, GUARD), three(flow), Flow()),
    (Case("MiniMaxH3Scheduler", {}, "euler"), dataward, Flow()),
    (Case("SCMScheduler", {"sigma_data": 1.0}, "lcm", 1e-6, SINGLE, steps=4), angle, None),
    (Case("ConsistencyDecoderScheduler", {}, "lcm", steps=2), decoder, None),
]


def module_of(name: str) -> Any:
    """The module of a scheduler, with a stand-in for torchsde, which is not needed here."""
    files = {name: file for file, names in schedulers._import_structure.items() for name in names}
    files |= {COSINE: "scheduling_cosine_dpmsolver_multistep", "KarrasVeScheduler": "deprecated.scheduling_karras_ve"}
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torchsde") is None:
            patch.setitem(sys.modules, "torchsde", types.ModuleType("torchsde"))
        return importlib.import_module(f"diffusers.schedulers.{files[name]}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_variant(row):
    case, drive, schedule = row
    module = module_of(case.peer)
    kind = Increments if case.peer == COSINE else Noises
    noise = kind()
    with widened(module, noise), contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(noise, Increments):
            stack.enter_context(replaced(module, BrownianTreeNoiseSampler=lambda *a, **k: noise.between))
        levels, peers = drive(getattr(module, case.peer)(**case.options), case, normal(), noise)
    idle = case.peer == "KarrasVeScheduler"  # it draws in every step, churned or not
    skip = sum(level > 50 for level in levels) if idle else 0
    check(case, peers, ours(case.ours, levels, normal(), kind(skip), schedule))
