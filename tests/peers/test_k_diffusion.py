"""Agreement with k-diffusion's samplers, in an environment of their own: skipped where k_diffusion is not installed.

    python3 -m venv k && . k/bin/activate
    pip install -e '.[test]' torchsde tqdm && pip install --no-deps k-diffusion
    pytest tests/peers/test_k_diffusion.py

Its other dependencies are for training and evaluation; only its module `sampling` is imported here. Its states are
x / alpha, its noise levels sigma / alpha, and it computes in the dtype that it is given: float64.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from typing import Any

import pytest
import torch
from agreement import Case, Increments, Noises, Shadow, check, normal, ours, preserving, repaired, replaced, x0_of
from torch import Tensor

from difftool.schedules import VE

SPEC = importlib.util.find_spec("k_diffusion")
if SPEC is None:
    pytest.skip("k-diffusion is not installed", allow_module_level=True)


def sampling(repair: tuple[tuple[str, str], ...] = ()) -> Any:
    """k_diffusion.sampling, without its package's imports and without torchvision, which only pictures need."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(SPEC.submodule_search_locations)
    package.__spec__ = SPEC
    empty = [
        types.ModuleType(name)
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    ]
    for inner, outer in zip(empty[1:], empty, strict=False):
        setattr(outer, inner.__name__.rpartition(".")[2], inner)
    sys.modules.setdefault("k_diffusion", package)
    missing = [] if importlib.util.find_spec("torchvision") else empty
    sys.modules.update({module.__name__: module for module in missing})
    try:
        module = importlib.import_module("k_diffusion.sampling")
    finally:
        for stand_in in missing:
            del sys.modules[stand_in.__name__]
    return repaired("k_diffusion.sampling", repair) if repair else module


def denoise(x: Tensor, level: Tensor, **ignored: Any) -> Tensor:
    """The exact model as k-diffusion asks for it."""
    p = preserving(float(level.flatten()[0]))
    return x0_of(p.alpha * x, p)


HIGH, LOW = 80.0, 0.02


def levels_of(case: Case) -> list[float]:
    """The karras grid, or for dpm_fast its own."""
    if case.peer == "sample_dpm_fast":
        return [HIGH * (LOW / HIGH) ** (i / case.steps) for i in range(case.steps + 1)]
    with replaced(sampling(), torch=torch):
        return sampling().get_sigmas_karras(case.steps, LOW, HIGH).tolist()


def run(case: Case, x: Tensor, noise: Noises) -> Tensor:
    """k-diffusion's x at the end, in the VP scale."""
    module = sampling(case.repair)
    levels = torch.tensor(levels_of(case), dtype=torch.float64)
    with replaced(module, torch=Shadow(torch, randn_like=noise)):
        sampler = getattr(module, case.peer)
        options = dict(case.options)
        if "noise_sampler" in inspect.signature(sampler).parameters:
            options["noise_sampler"] = noise.between if isinstance(noise, Increments) else noise
        x = x * (1 + levels[0] ** 2) ** 0.5
        if case.peer == "sample_dpm_fast":
            x = sampler(denoise, x, LOW, HIGH, case.options["n"], disable=True)
        else:
            x = sampler(denoise, x, levels, disable=True, **options)
        return x / (1 + levels[-1] ** 2) ** 0.5


def both(case: Case, noise: type[Noises] = Noises) -> tuple[Tensor, Tensor]:
    """Where k-diffusion and where ours ends."""
    x, levels = normal(), levels_of(case)
    # its churned samplers draw in every step, churned or not
    skip = sum(level > case.options.get("s_tmax", float("inf")) for level in levels)
    return run(case, x, noise()), ours(case.ours, levels, x, noise(skip))


FACTOR_2 = "k-diffusion's 3M follows the code of the method's authors, without the factor 2 of the second difference"
SECOND = "its second step integrates the line through both answers exactly, where diffusers takes the midpoint form"
MIDPOINT = (("x = x + phi_2 * d\n", "x = x + 0.5 * h_eta.neg().expm1().neg() * d\n"),)
CHURN = {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}
CHURNED = "churn:churn=40,s_min=0.05,s_max=50,s_noise=1.003"
CASES = [
    Case("sample_euler", {}, "euler:variable=level"),
    Case("sample_euler", CHURN, f"{CHURNED},solver=euler"),
    Case("sample_heun", {}, "heun:variable=level"),
    Case("sample_heun", CHURN, CHURNED),
    Case("sample_dpm_2", {}, "dpm-2"),
    Case("sample_dpm_2", CHURN, f"{CHURNED},solver=dpm-2"),
    Case("sample_lms", {}, "lms"),
    Case("sample_dpmpp_2m", {}, "dpmpp-2m"),
    Case("sample_euler_ancestral", {}, "euler-a"),
    Case("sample_euler_ancestral", {"eta": 0.5}, "euler-a:eta=0.5"),
    Case("sample_dpm_2_ancestral", {}, "dpm-2-a"),
    Case("sample_dpm_2_ancestral", {"eta": 0.5, "s_noise": 1.1}, "dpm-2-a:eta=0.5,s_noise=1.1"),
    Case("sample_dpmpp_2s_ancestral", {}, "dpmpp-2s-a"),
    Case("sample_dpmpp_2s_ancestral", {"eta": 0.5, "s_noise": 1.1}, "dpmpp-2s-a:eta=0.5,s_noise=1.1"),
    Case("sample_dpmpp_sde", {}, "dpmpp-sde:noise=independent"),
    Case("sample_dpmpp_sde", {"eta": 0.5, "r": 0.4}, "dpmpp-sde:noise=independent,eta=0.5,r=0.4"),
    Case("sample_dpmpp_2m_sde", {}, "dpmpp-2m-sde"),
    Case("sample_dpmpp_2m_sde", {"eta": 0.5}, "dpmpp-2m-sde:eta=0.5"),
    Case("sample_dpmpp_2m_sde", {"solver_type": "heun"}, "dpmpp-2m-sde:order=2,variant=exact"),
    Case("sample_dpmpp_3m_sde", {}, "dpmpp-3m-sde", differs=1e-2, reason=FACTOR_2),
    Case("sample_dpmpp_3m_sde", {}, "dpmpp-3m-sde", repair=(("d2 = (", "d2 = 2 * ("),), reason=FACTOR_2),
    Case("sample_dpmpp_3m_sde", {}, "dpmpp-3m-sde:variant=published", repair=MIDPOINT, reason=SECOND),
    Case("sample_dpmpp_3m_sde", {"eta": 0.0}, "dpmpp-3m", repair=(("d2 = (", "d2 = 2 * ("),), reason=FACTOR_2),
    Case("sample_dpm_fast", {"n": 9}, "dpm-fast", steps=4),
    Case("sample_dpm_fast", {"n": 10}, "dpm-fast:ending=1", steps=4),
    Case("sample_dpm_fast", {"n": 11}, "dpm-fast:ending=2", steps=4),
]
APART = [
    Case("sample_dpm_adaptive", {}, "dpm-adaptive"),
    Case("sample_dpm_adaptive", {"order": 2}, "dpm-adaptive:order=2"),
    Case("sample_dpm_adaptive", {"rtol": 1e-3, "atol": 1e-4}, "dpm-adaptive:rtol=1e-3,atol=1e-4"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees(case):
    check(case, *both(case))


@pytest.mark.parametrize("case", [c for c in CASES if "sde" in c.peer and not c.repair], ids=str)
def test_agrees_with_path_noise(case):
    check(case, *both(case, Increments))


@pytest.mark.parametrize("case", APART, ids=str)
def test_adaptive(case):
    """k-diffusion controls the whole batch by one error, ours each sample by its own: one sample."""
    x = HIGH * normal()[:1]
    with replaced(sampling(), torch=torch):
        peers = sampling().sample_dpm_adaptive(denoise, x, LOW, HIGH, disable=True, **case.options)
    check(case, peers, ours(case.ours, [HIGH, LOW], x, None, VE(sigma_max=2 * HIGH)))
