"""Agreement with diffusers' schedulers of DDIM, Euler and Adams type: `pip install diffusers`."""

from __future__ import annotations

import pytest
from agreement import Case, check

pytest.importorskip("diffusers")

from diffusers_peer import both

RAW = {"clip_sample": False}
KARRAS = {"use_karras_sigmas": True}
CASES = [
    Case("DDIMScheduler", RAW, "ddim"),
    Case("DDIMScheduler", {}, "ddim", differs=1e-2, reason="it clips x0 to -1 .. 1 by default"),
    Case("DDIMScheduler", {**RAW, "timestep_spacing": "trailing"}, "ddim", steps=8),
    Case("DDIMScheduler", RAW, "ddim:eta=0.5", step_options={"eta": 0.5}),
    Case("DDIMScheduler", RAW, "ddim:eta=1", step_options={"eta": 1.0}),
    Case("DDPMScheduler", {**RAW, "variance_type": "fixed_small"}, "ddpm"),
    Case("DDPMScheduler", {**RAW, "variance_type": "fixed_large"}, "ddpm:variance=large"),
    Case("DDPMScheduler", {**RAW, "variance_type": "learned_range"}, "ddpm:variance=learned"),
    Case("EulerDiscreteScheduler", KARRAS, "euler:variable=level"),
    Case("EulerDiscreteScheduler", {}, "ddim"),
    Case("HeunDiscreteScheduler", KARRAS, "heun:variable=level"),
    *(Case("LMSDiscreteScheduler", KARRAS, f"lms:order={n}", step_options={"order": n}) for n in (1, 2, 3, 4)),
    Case("DEISMultistepScheduler", {"solver_order": 1}, "deis:order=1"),
    Case("DEISMultistepScheduler", {"solver_order": 2}, "deis:order=2,taper=true"),
    Case("DEISMultistepScheduler", {"solver_order": 3}, "deis:order=3,taper=true"),
    Case("DEISMultistepScheduler", {"solver_order": 2}, "deis:order=2", steps=20),
    Case("DEISMultistepScheduler", {"solver_order": 3}, "deis:order=3", steps=20),
    Case("DEISMultistepScheduler", {"solver_order": 3}, "deis:order=3", steps=15),
    Case("DEISMultistepScheduler", {"solver_order": 3, "lower_order_final": False}, "deis:order=3"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees(case):
    check(case, *both(case))
