"""Grids against diffusers: the same integer timesteps, the same noise levels."""

from __future__ import annotations

import numpy as np
import pytest

from difftool.errors import DifftoolError
from difftool.grids import AYS, BetaLevel, HalfLogSNR, Karras, Leading, Linspace, Trailing, ddim_uniform
from difftool.schedules import VE, ScaledLinear

diffusers = pytest.importorskip("diffusers")

LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
MANY = [*range(1, 70), *range(71, 990, 23), 250, 500, *range(990, 1001)]


def timesteps(grid, steps):
    """Our times as timesteps of the 1000-entry table."""
    times = grid(ScaledLinear(), steps)
    assert times[-1] == 0
    entries = [1000 * t - 1 for t in times[:-1]]
    assert np.abs(entries - np.round(entries)).max() < 1e-9
    return [round(i) for i in entries]


def theirs(scheduler, steps):
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


@pytest.mark.parametrize("offset", [0, 1])
def test_leading(offset):
    plain = diffusers.DDIMScheduler(timestep_spacing="leading", steps_offset=offset, **LATENT)
    multistep = diffusers.DPMSolverMultistepScheduler(timestep_spacing="leading", steps_offset=offset, **LATENT)
    for steps in MANY:
        # where the offset leads to timestep 1000, which the table does not have, ours is lowered by 1
        past = max(theirs(plain, steps)[0] - 999, 0)
        assert timesteps(Leading(offset=offset), steps) == [i - past for i in theirs(plain, steps)]
        assert past == (steps == 1000 and offset)
        if steps < 999:
            assert timesteps(Leading(offset=offset, extra=1), steps) == theirs(multistep, steps)
    assert timesteps(ddim_uniform(), 50) == timesteps(Leading(offset=1), 50)


def test_trailing():
    plain = diffusers.DDIMScheduler(timestep_spacing="trailing", **LATENT)
    multistep = diffusers.DPMSolverMultistepScheduler(timestep_spacing="trailing", **LATENT)
    for steps in MANY:
        for scheduler in (plain, multistep):
            found = theirs(scheduler, steps)
            # rounding may give it one timestep more than it was asked for, -1
            assert found[steps:] in ([], [-1])
            assert timesteps(Trailing(), steps) == found[:steps]


def test_linspace():
    plain = diffusers.DDIMScheduler(timestep_spacing="linspace", **LATENT)
    multistep = diffusers.DPMSolverMultistepScheduler(timestep_spacing="linspace", **LATENT)
    for steps in MANY:
        # a single step of theirs starts at timestep 0, where there is hardly any noise
        assert timesteps(Linspace(), steps) == ([999] if steps == 1 else theirs(plain, steps))
        if steps < 1000:
            assert timesteps(Linspace(extra=1), steps) == theirs(multistep, steps)


@pytest.mark.parametrize("spacing", ["leading", "linspace"])
def test_a_thousand_multistep_timesteps_repeat_one(spacing):
    """With extra = 1 there are 1001 entries to space: theirs come twice, ours are refused."""
    scheduler = diffusers.DPMSolverMultistepScheduler(timestep_spacing=spacing, **LATENT)
    assert len(set(theirs(scheduler, 1000))) < 1000
    with pytest.raises(DifftoolError, match="at most 999 steps"):
        {"leading": Leading, "linspace": Linspace}[spacing](extra=1)(ScaledLinear(), 1000)


@pytest.mark.parametrize("steps", [2, 5, 10, 25, 50])
@pytest.mark.parametrize(
    ("option", "grid"),
    [("use_karras_sigmas", Karras), ("use_exponential_sigmas", HalfLogSNR), ("use_beta_sigmas", BetaLevel)],
)
def test_noise_levels(option, grid, steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(**LATENT, **{option: True}, final_sigmas_type="zero")
    scheduler.set_timesteps(steps)
    schedule = ScaledLinear()
    ours = grid(level_min=schedule.level(0.001))(schedule, steps)
    # its table of alphas is in float32: the smallest level, sqrt(1 - alpha^2) / alpha, keeps four digits
    assert [schedule.level(t) for t in ours] == pytest.approx(scheduler.sigmas.tolist(), rel=1e-4)


@pytest.mark.parametrize(("model", "name"), [("sd15", "StableDiffusion"), ("sdxl", "StableDiffusionXL")])
def test_ays_timesteps(model, name):
    published = diffusers.schedulers.AysSchedules
    assert timesteps(AYS(model), 10) == published[f"{name}Timesteps"]
    ours = [ScaledLinear().level(t) for t in AYS(model)(ScaledLinear(), 10)]
    # published rounded, up to 0.003 from the levels at the published timesteps
    assert ours == pytest.approx(published[f"{name}Sigmas"], rel=3e-3, abs=3e-3)


def test_ays_of_stable_video_diffusion():
    schedule = VE(sigma_max=700.0)
    ours = [schedule.level(t) for t in AYS("svd")(schedule, 10)]
    assert ours == pytest.approx(diffusers.schedulers.AysSchedules["StableDiffusionVideoSigmas"], rel=1e-12)
