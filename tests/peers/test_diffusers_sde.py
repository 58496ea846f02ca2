"""Agreement with diffusers' ancestral, churned and SDE schedulers: `pip install diffusers`."""

from __future__ import annotations

from typing import Any

import pytest
from agreement import Case, Increments, check

pytest.importorskip("diffusers")

from diffusers_peer import both

KARRAS = {"use_karras_sigmas": True}
STALE = (
    "with churn it steps from the raised noise level with the answer of the network from before the noise was added "
    "(EDM, arXiv 2206.00364, algorithm 2, asks at the raised level; so does k-diffusion)"
)
HALF = "as its authors' code, it takes h^2 / 2 for the integral of the linear part where there are two estimates"
# the exact integrals, in the predictor and in the corrector
EXACT_LINE = (
    ("* (h**2 / 2 - (h * (1 + tau**2)", "* 0 * (h**2 / 2 - (h * (1 + tau**2)"),
    ("* (h / 2 - (h * (1 + tau**2)", "* 0 * (h / 2 - (h * (1 + tau**2)"),
)


def always(t: int) -> int:
    """Noise at all times."""
    return 1


def half(t: int) -> float:
    """Half the noise."""
    return 0.5


def never(t: int) -> int:
    """No noise."""
    return 0


def sa(ours: str, predictor: int, corrector: int, tau: Any = always, lower: bool = True, **more: Any) -> Case:
    options = {"predictor_order": predictor, "corrector_order": corrector, "tau_func": tau, "lower_order_final": lower}
    return Case("SASolverScheduler", options, f"sa-solver:order={predictor},corrector_order={corrector}{ours}", **more)


CASES = [
    Case(
        "EulerDiscreteScheduler",
        KARRAS,
        "churn:churn=3,s_max=50,solver=euler",
        step_options={"s_churn": 3.0, "s_tmax": 50.0},
        differs=1e-2,
        reason=STALE,
    ),
    Case("EulerAncestralDiscreteScheduler", {}, "euler-a"),
    Case("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler-a", steps=8),
    Case("KDPM2DiscreteScheduler", KARRAS, "dpm-2"),
    Case("KDPM2AncestralDiscreteScheduler", KARRAS, "dpm-2-a"),
    sa(",taper=true", 1, 1),
    sa(",taper=true,variant=published", 2, 2),
    sa(",taper=true,variant=published,tau=0.5", 2, 2, half),
    sa(",taper=true,variant=published,tau=0", 2, 2, never),
    sa(",taper=true,variant=published", 2, 3),
    sa(",taper=true,variant=published", 3, 3),
    sa(",variant=published", 3, 4, lower=False),
    sa(",variant=published", 4, 4, lower=False),
    sa(",taper=true", 2, 2, differs=1e-2, reason=HALF),
    sa(",taper=true", 2, 2, repair=EXACT_LINE, reason=HALF),
    sa("", 4, 4, lower=False, repair=EXACT_LINE, reason=HALF),
]
PATH = [
    Case("DPMSolverSDEScheduler", KARRAS, "dpmpp-sde:noise=independent"),
    Case("DPMSolverSDEScheduler", KARRAS, "dpmpp-sde:noise=independent,s_noise=1.1", step_options={"s_noise": 1.1}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees(case):
    check(case, *both(case))


@pytest.mark.parametrize("case", PATH, ids=str)
def test_agrees_with_path_noise(case):
    check(case, *both(case, Increments))
