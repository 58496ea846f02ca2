"""Everything registered, with the options that change what a thing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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

GRIDS = [
    "uniform", "quadratic", "leading", "leading:offset=1", "leading:extra=1", "ddim-uniform", "trailing",
    "trailing:length=2000", "linspace", "linspace:extra=1", "simple", "normal", "normal:length=50", "sgm-uniform",
    "flow", "flow:a=1.3333333,b=1.6666667", "linear-quadratic", "linear-quadratic:variable=level,threshold_noise=0.1",
    "half-log-snr", "exponential:level_min=0.0292", "polyexponential", "polyexponential:rho=2", "karras",
    "karras:rho=1.5", "kl-optimal", "beta", "beta:alpha=0.8,beta=1.2", "beta-entries", "beta-level", "ays",
    "ays:model=sdxl", "ays:model=svd", "gits",
]  # fmt: skip

GIVEN_GRIDS = [  # these have their own number of steps
    "explicit:times=0.9+0.5+0.1", "explicit:times=900+40+10+1+0.1+0,what=level",
    f"file:path='{Path(__file__).parent / 'levels.txt'}',what=level",
]  # fmt: skip

SAMPLERS = [
    "ddpm", "ddpm:variance=large", "ddpm:variance=between,v=0.3", "ddim", "ddim:eta=0.4", "ddim:eta=1", "em",
    "euler", "euler:variable=t", "euler:variable=level", "heun", "heun:variable=t", "heun:variable=level",
    "ode", "ode:method=bosh3,rtol=1e-5,atol=1e-5", "ode:method=dopri8", "ode:method=adaptive-heun",
    "embedded", "embedded:method=bosh3", "embedded:method=heun-euler", "dpm-adaptive", "dpm-adaptive:order=2",
    "gotta-go-fast:rtol=0.2,atol=0.1", "gotta-go-fast", "gotta-go-fast:rejected=fresh",  # the first is quick
    "ode:method=scipy-rk45", "annealed-langevin:corrections=2", "annealed-langevin:step_size=sample",
    "predictor-corrector", "predictor-corrector:step_size=batch,predictor=ddpm",
    "predictor-corrector:step_size=level,corrections=2",
    "flow-abm", "flow-abm:order=1", "flow-abm:order=4", "flow-sde", "flow-sde:tau=0", "flow-sde:tau=0.5", "midpoint",
    "midpoint:variable=t", "ralston", "heun3", "kutta3", "kutta3:variable=level", "rk4", "rk4:variable=t",
    "runge-kutta", "adams", "adams:order=2,taper=true", "adams:order=5,start=runge-kutta",
    "adams:interpolates=x0,variable=level",
    "adams:interpolates=x0,variable=flow", "adams:interpolates=flow,variable=half-log-snr",
    "adams:interpolates=eps,variable=flow", "adams:interpolates=x0,variable=t", "lms", "lms:start=runge-kutta",
    "deis", "deis:order=2", "deis:variable=t", "flow-ab", "exponential-adams", "dpmpp", "dpmpp:order=1",
    "dpmpp:order=2,variant=2m-exact", "dpmpp:order=2,start=runge-kutta", "dpmpp:interpolates=eps",
    "dpmpp:order=3,taper=true",
    "dpmpp-2m", "dpmpp-3m", "dpmpp-3m:variant=published", "dpmpp-2m-sde", "dpmpp-2m-sde:variant=exact,eta=0.5",
    "dpmpp-3m-sde", "singlestep", "singlestep:order=2,interpolates=eps,r1=0.4,variant=exact", "dpm-solver-1",
    "dpm-solver-2", "dpm-solver-3", "dpm-fast", "dpm-fast:ending=1", "dpmpp-2s", "dpmpp-3s", "res-2s", "unipc",
    "unipc:order=1", "unipc:order=2,bh=bh1", "unipc:order=4,start=runge-kutta", "unipc:taper=true", "unip",
    "unip:order=2,bh=bh1", "sa-solver", "sa-solver:order=2,corrector_order=2,variant=published",
    "sa-solver:corrector_order=0,tau=0.5", "sa-solver:tau=0,start=runge-kutta,order=2",
    "sa-solver:level_min=0.05,level_max=10",
    "churn", "churn:churn=5,s_min=0.1,s_max=3,solver='dpm-2'", "churn:solver=ddim", "ancestral",
    "ancestral:eta=0.5,solver=heun", "ancestral:eta=0.7,down=flow,solver='dpmpp-2s'", "euler-a", "dpm-2-a",
    "dpmpp-2s-a", "dpmpp-2s-a:eta=0.5", "restart", "restart:level_min=0.2+0.05,level_max=1+0.3,repeats=1+3", "dpm-2",
    "heunpp2", "reverse-diffusion", "gradient-estimation", "gradient-estimation:gamma=1.5", "interpolant",
    "interpolant:diffusion=0", "interpolant:form=bump", "interpolant:form=constant,diffusion=0.3",
    "interpolant:form=reverse-sde", "seeds-1", "seeds-1:eta=0.3", "seeds-2", "seeds-2:r=0.7,variant=exact,eta=0.5",
    "seeds-2:eta=0", "seeds-3", "seeds-3:r1=0.25,r2=0.5", "seeds-3:eta=0", "exp-heun", "exp-heun:eta=1", "dpmpp-sde",
    "dpmpp-sde:noise=independent", "dpmpp-sde:eta=0.5,r=1", "er-sde", "er-sde:order=1", "er-sde:order=2,eta=0.5",
    "er-sde:eta=0,start=runge-kutta", "er-sde:eta=0,taper=true", "ipndm", "ipndm:order=2",
    "ipndm:order=3,start=runge-kutta", "ipndm:taper=true", "ipndm-v", "ipndm-v:order=2,published=true", "pndm-prk",
    "pndm-plms", "reab", "reab:order=2", "reab:start=runge-kutta", "reab:taper=true", "stork",
    "stork:variable=flow,stages=5,derivatives=2", "stork-4", "stork-4:derivatives=1", "dpm-solver-v3",
    "dpm-solver-v3:order=2,corrector=false", "dpm-solver-v3:pseudo_corrector=true,pseudo_predictor=true",
    "dpm-solver-v3:start=runge-kutta", f"dpm-solver-v3:statistics='{Path(__file__).parent / 'statistics.json'}'",
    "consistency", "consistency:epsilon=0.1", "lcm", "tcd", "tcd:gamma=0", "tcd:gamma=1", "picard",
    "picard:sweeps=2,window=3,variable=t", "picard:sweeps=3,window=3",
]  # fmt: skip

# the first spec of every name
ONE_EACH = list({spec.split(":")[0]: spec for spec in reversed(SAMPLERS)}.values())[::-1]


def slow(*values: Any) -> list[Any]:
    """Parameters that are too slow for every run."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
