"""The same samplers in diffusers and azula, with a trivial network; libraries not installed are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models import NetworkModel
from difftool.schedules import DDPMLinear

Loop = Callable[[Tensor], Tensor]

DIFFUSERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "ddim:eta=1": ("DDIMScheduler", {"clip_sample": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "euler:variable=level": ("EulerDiscreteScheduler", {}),
    "heun:variable=level": ("HeunDiscreteScheduler", {}),
    "dpm-2": ("KDPM2DiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "deis": ("DEISMultistepScheduler", {"solver_order": 3}),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp-3m": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "dpmpp-2m-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp-2s": (
        "DPMSolverSinglestepScheduler",
        {"solver_order": 2, "lower_order_final": True},
    ),
    "unipc": ("UniPCMultistepScheduler", {"solver_order": 3}),
    "unipc:order=2": ("UniPCMultistepScheduler", {"solver_order": 2}),
    "sa-solver": ("SASolverScheduler", {}),
    "pndm-plms": ("PNDMScheduler", {"skip_prk_steps": True}),
    "flow-abm": ("FlowMatchEulerDiscreteScheduler", {}),
}
AZULA = {
    "ddim": ("DDIMSampler", {}), "ddpm": ("DDPMSampler", {}), "euler": ("EulerSampler", {}),
    "heun": ("HeunSampler", {}),
    "flow-ab": ("vABSampler", {"order": 3}), "lms": ("zABSampler", {"order": 3}), "deis": ("zEABSampler", {"order": 3}),
    "exponential-adams": ("xEABSampler", {"order": 3}), "reab": ("REABSampler", {"order": 3}),
}  # fmt: skip


def diffusers_loop(spec: str, steps: int, net: Any) -> tuple[Loop, int] | None:
    """A run of the nearest sampler in diffusers, as a pipeline runs it, and its number of network calls."""
    try:
        import diffusers
    except ImportError:
        return None
    if spec not in DIFFUSERS:
        return None
    name, options = DIFFUSERS[spec]
    flow = name.startswith("FlowMatch")
    schedule = {} if flow else {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    scheduler = getattr(diffusers, name)(num_train_timesteps=1000, **schedule, **options)
    extra = {"eta": 1.0} if spec == "ddim:eta=1" else {}
    scheduler.set_timesteps(steps)

    def loop(x: Tensor) -> Tensor:
        scheduler.set_timesteps(steps)
        with torch.no_grad():
            for t in scheduler.timesteps:
                scaled = x if flow else scheduler.scale_model_input(x, t)
                x = scheduler.step(net(scaled, t), t, x, return_dict=False, **extra)[0]
        return x

    return loop, len(scheduler.timesteps)


ON_NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "DDIM trailing": ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}),
}
PREDICTS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def diffusers_on(
    name: str, model: NetworkModel, z: Tensor, steps: int, cond: Any, guidance: float | None
) -> Tensor:
    """End points of the scheduler of that name in diffusers, float32, on a network of `ddpm-linear`.

    Raises `DifftoolError` for networks of other schedules, whose noise levels are not those of a
    table, and if diffusers is not installed.
    """
    if not isinstance(model.schedule, DDPMLinear) or model.predicts not in PREDICTS:
        raise DifftoolError("diffusers runs only on networks of ddpm-linear")
    try:
        import diffusers
    except ImportError:
        raise DifftoolError("diffusers is not installed") from None
    kind, options = ON_NETWORKS[name]
    scheduler = getattr(diffusers, kind)(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear",
        prediction_type=PREDICTS[model.predicts], **options,
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    x = (z * scheduler.init_noise_sigma).float()
    with torch.no_grad():
        for t in scheduler.timesteps:
            time = ((t + 1) / 1000).expand(len(x))
            answer = model.net(x, time, **cond)
            if guidance not in (None, 1):
                plain = model.net(x, time)
                answer = plain + guidance * (answer - plain)
            x = scheduler.step(answer, t, x, return_dict=False)[0]
    return x


def azula_loop(spec: str, steps: int, net: Any) -> tuple[Loop, int] | None:
    """A run of the same sampler in azula, and its number of network calls."""
    try:
        from azula.denoise import Denoiser, DiracPosterior
        from azula.noise import VPSchedule
        from azula.sample import __dict__ as samplers
    except ImportError:
        return None
    if spec not in AZULA:
        return None

    class Trivial(Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = VPSchedule()
            self.calls = 0

        def forward(self, x: Tensor, t: Tensor, **_: Any) -> Any:
            self.calls += 1
            return DiracPosterior(net(x, t))

    name, options = AZULA[spec]
    denoiser = Trivial()
    sampler = samplers[name](denoiser, steps=steps, silent=True, **options)
    with torch.no_grad():
        sampler(torch.zeros(2, 2))
    return torch.no_grad()(sampler), denoiser.calls
