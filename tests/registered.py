"""Everything registered, with the options that change what a thing is."""

from __future__ import annotations

from difftool.schedules import (
    VE,
    Betas,
    Cosine,
    DDPMLinear,
    Flow,
    GeometricVE,
    Laplace,
    ScaledLinear,
    Schedule,
    Shifted,
    Sigmoid,
    SubVP,
    VPLinear,
    ZeroTerminal,
    shifted_cosine,
)

SCHEDULES: list[Schedule] = [
    VPLinear(), VPLinear(0.5, 5.0), DDPMLinear(), DDPMLinear(length=50, beta_min=1e-3, beta_max=0.3), Cosine(),
    Cosine(s=0.0), VE(), VE(sigma_max=10.0), Flow(), SubVP(), SubVP(0.5, 5.0), ScaledLinear(),
    Betas((0.01, 0.02, 0.3, 0.5)), shifted_cosine(), shifted_cosine(32), Sigmoid(), Sigmoid(0.0, 3.0, 0.7), Laplace(),
    Laplace(1.0, 0.9), GeometricVE(), GeometricVE(0.1, 5.0), Shifted(), Shifted(ScaledLinear(), 0.5),
    Shifted(VE(), 2.0), ZeroTerminal(), ZeroTerminal(VPLinear()), Shifted(ZeroTerminal(), 2.0),
]  # fmt: skip

SAMPLERS = [
    "ddpm", "ddpm:variance=large", "ddpm:variance=between,v=0.3", "ddim", "ddim:eta=0.4", "ddim:eta=1", "em",
    "euler", "euler:variable=t", "euler:variable=level", "heun", "heun:variable=t", "heun:variable=level",
    "ode", "ode:method=bosh3,rtol=1e-5,atol=1e-5", "ode:method=dopri8", "ode:method=adaptive-heun",
    "ode:method=scipy-rk45", "annealed-langevin:corrections=2", "annealed-langevin:step_size=sample",
    "predictor-corrector", "predictor-corrector:step_size=batch,predictor=ddpm",
    "predictor-corrector:step_size=level,corrections=2",
]  # fmt: skip
