"""Agreement with azula's samplers, which compute in float64 when asked: `pip install azula`, without torchvision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from agreement import Case, Noises, Shadow, check, distinct, normal, ours, preserving, repaired, replaced, x0_of
from torch import Tensor

from difftool.schedules import VE

pytest.importorskip("azula")

import azula.sample
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import Schedule

HIGH, LOW, RHO = 100.0, 0.01, 7.0
INDEX = (
    "the scale of the new state takes sigma_t where the formula in its own docstring has sigma_s: of order 1, whatever "
    "order is asked for"
)

EXPLICIT = (
    (
        "(sigma_t / alpha_t) ** 2 - (sigma_s / alpha_s) ** 2",
        "2 * sigma_t / alpha_t * (sigma_t / alpha_t - sigma_s / alpha_s)",
    ),
)
# its integrals are trapezoidal sums, of 256 parts: 1e-6 off
ROSENBROCK = (
    ("torch.sqrt(alpha_s**2 + sigma_t**2)", "torch.sqrt(alpha_s**2 + sigma_s**2)"),
    ("steps=256 + 1", "steps=2**19 + 1"),
)


class Karras(Schedule):
    """Variance-preserving, with noise levels on the karras grid in azula's time."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        level = (LOW ** (1 / RHO) + t * (HIGH ** (1 / RHO) - LOW ** (1 / RHO))) ** RHO
        alpha = torch.rsqrt(1 + level**2)
        return alpha, level * alpha


class Exact(Denoiser):
    """The exact model."""

    schedule = Karras()

    def forward(self, x: Tensor, t: Tensor, **ignored: Any) -> DiracPosterior:
        alpha, sigma = self.schedule(t)
        return DiracPosterior(x0_of(x, preserving(float(sigma / alpha))))


def run(case: Case, x: Tensor, noise: Noises) -> tuple[list[float], Tensor]:
    """The levels of the run and azula's x at their end."""
    module = repaired("azula.sample", case.repair) if case.repair else azula.sample
    with replaced(module, torch=Shadow(torch, randn_like=noise)):
        sampler = getattr(module, case.peer)(
            Exact(), steps=case.steps, silent=True, dtype=torch.float64, **case.options
        )
        alpha, sigma = Exact.schedule(sampler.timesteps)
        return distinct(sigma / alpha), sampler(x)


def both(case: Case) -> tuple[Tensor, Tensor]:
    """Where azula and where ours ends."""
    x = normal()
    levels, peers = run(case, x, Noises())
    return peers, ours(case.ours, levels, x, Noises())


CASES = [
    Case("DDPMSampler", {}, "ddpm"),
    Case("DDIMSampler", {}, "ddim"),
    Case("DDIMSampler", {"eta": 0.25}, "ddim:eta=0.5"),  # its eta scales the variance, the paper's the deviation
    Case("DDIMSampler", {"eta": 1.0}, "ddim:eta=1"),
    Case("EulerSampler", {}, "euler:variable=level"),
    Case("HeunSampler", {}, "heun:variable=level"),
    *(Case("zABSampler", {"order": n}, f"lms:order={n}") for n in (1, 2, 3)),
    *(Case("vABSampler", {"order": n}, f"flow-ab:order={n}") for n in (1, 2, 3)),
    *(Case("zEABSampler", {"order": n}, f"deis:order={n}") for n in (1, 2, 3)),
    *(Case("REABSampler", {"order": n}, f"reab:order={n}", differs=1e-2, reason=INDEX) for n in (1, 2, 3)),
    *(Case("REABSampler", {"order": n}, f"reab:order={n}", 1e-11, repair=ROSENBROCK, reason=INDEX) for n in (1, 2, 3)),
    *(Case("xEABSampler", {"order": n}, f"exponential-adams:order={n}") for n in (1, 2, 3)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees(case):
    check(case, *both(case))


def test_predictor_corrector():
    """azula's corrector is the exact Ornstein-Uhlenbeck step of variance delta, ours Langevin's with 4 snr^2 = delta.

    They differ by delta^2 / 8 in the weight of the state: at delta = 1e-7 they are one sampler. azula corrects before
    it predicts, ours after: so ours begins with a correction and ends with a prediction.
    """
    snr = 1e-7**0.5 / 2
    case = Case("PCSampler", {"delta": 1e-7}, f"predictor-corrector:predictor=ddim,step_size=level,snr={snr}")
    levels, peers = run(case, normal(), Noises())
    noise = Noises()
    x = ours(f"annealed-langevin:corrections=1,snr={snr}", levels[:1], normal(), noise)
    x = ours(case.ours, levels[:-1], x, noise)
    check(case, peers, ours("ddim", levels[-2:], x))


@pytest.mark.parametrize("repair", [(), EXPLICIT], ids=["", "repaired"])
def test_ito(repair):
    """azula's Ito is Euler-Maruyama in the noise level, with the noise's variance integrated; ours has it in t.

    With the noise of Euler and Maruyama in its place they are the same on the variance-exploding schedule, whose t is
    the noise level.
    """
    case = Case("ItoSampler", {}, "em", reason="see above", differs=0 if repair else 1e-2, repair=repair)
    levels, peers = run(case, normal(), Noises())
    scale = preserving(levels[0]).alpha
    own = ours("em", levels, normal() / scale, Noises(), VE(sigma_max=2 * HIGH))
    check(case, peers, own * preserving(levels[-1]).alpha)
