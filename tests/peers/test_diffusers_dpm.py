"""Agreement with diffusers' DPM-Solver, DPM-Solver++ and UniPC, multistep and singlestep: `pip install diffusers`."""

from __future__ import annotations

from typing import Any

import pytest
from agreement import Case, check

pytest.importorskip("diffusers")

from diffusers_peer import both

KARRAS = {"use_karras_sigmas": True}
EVEN = {"use_exponential_sigmas": True}  # stages at equal parts of a step in half-log-snr
EPS = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
SDE = {"algorithm_type": "sde-dpmsolver++", **KARRAS}
LOW = {"final_sigmas_type": "sigma_min"}

FACTOR_2 = (
    "the second difference D2 lacks the factor 2 of the polynomial's second derivative (arXiv 2211.01095, appendix B); "
    "its authors' code lacks it too. Ours has it, and without it as variant=published"
)
SIGN = (
    "the coefficient of D2 has the wrong sign in (e^-2h - 1 + 2h) / (2h)^2: it tends to -1 as h -> 0 where "
    "DPM-Solver++(3M) has one that tends to 0 (compare its own ODE branch, and k-diffusion's dpmpp_3m_sde)"
)
STAGE = (
    "its second stage, at 2/3 of the step, takes the midpoint form of order 2 where DPM-Solver-3 (arXiv 2206.00927, "
    "algorithm 2) integrates the line through the first stage exactly; both are of order 3"
)
ENTRIES = "its stages are every second entry of the grid, and not half way in half-log-snr where the grid is not even"
EVENS = "of an even number of its steps the last two are of order 1"

LARGE = "x / alpha, the state of methods on eps, is up to 500 at the start, which costs two to three digits"


def multistep(ours: str, options: dict[str, Any], **more: Any) -> Case:
    return Case("DPMSolverMultistepScheduler", options, ours, **more)


def singlestep(ours: str, options: dict[str, Any], **more: Any) -> Case:
    return Case("DPMSolverSinglestepScheduler", {**EVEN, **options}, ours, **more)


def unipc(ours: str, options: dict[str, Any], **more: Any) -> Case:
    return Case("UniPCMultistepScheduler", options, ours, **more)


THIRD = {"solver_order": 3, "lower_order_final": False}
D2 = (("D2 = (1.0 / (r0 + r1))", "D2 = (2.0 / (r0 + r1))"),)
MINUS = (
    (
        "(alpha_t * ((1.0 - torch.exp(-2.0 * h) - 2.0 * h) / (2.0 * h) ** 2 - 0.5))",
        "(alpha_t * ((1.0 - torch.exp(-2.0 * h) - 2.0 * h) / (2.0 * h) ** 2 + 0.5))",
    ),
)
# solver_type=heun has the paper's second stage; with midpoint's last line it is the paper's method
LINE = (
    (
        """* D1
                    - (alpha_t * ((torch.exp(-h) - 1.0 + h) / h**2 - 0.5)) * D2""",
        "* D1_1",
    ),
)
LINE_EPS = (
    (
        """* D1
                    - (sigma_t * ((torch.exp(h) - 1.0 - h) / h**2 - 0.5)) * D2""",
        "* D1_1",
    ),
)

CASES = [
    multistep("dpmpp:order=1", {"solver_order": 1, **KARRAS}),
    multistep("dpmpp-2m", KARRAS),
    multistep("dpmpp-2m", {}, steps=20),
    multistep("dpmpp-2m:order=2,variant=exact", {**KARRAS, "solver_type": "heun"}),
    multistep("dpmpp-2m:taper=true", {**LOW}),
    multistep("dpmpp-3m:variant=published,taper=true", {**KARRAS, "solver_order": 3}),
    multistep("dpmpp-3m:variant=published", {**KARRAS, "solver_order": 3}, steps=20),
    multistep("dpmpp-3m:variant=published", {**KARRAS, **THIRD}),
    multistep("dpmpp-3m", {**KARRAS, **THIRD, "solver_type": "heun"}, differs=1e-2, reason=FACTOR_2),
    multistep("dpmpp-3m", {**KARRAS, **THIRD, "solver_type": "heun"}, repair=D2, reason=FACTOR_2),
    multistep("dpm-solver-1", {**EPS, "solver_order": 1}),
    multistep("dpmpp:order=2,interpolates=eps,taper=true", EPS),
    multistep("dpmpp:order=2,interpolates=eps", EPS, steps=20),
    multistep("dpmpp:order=2,interpolates=eps,taper=true,variant=2m-exact", {**EPS, "solver_type": "heun"}),
    multistep("dpmpp:order=2,interpolates=eps,variant=2m-exact", {**EPS, "solver_type": "heun"}, steps=20),
    multistep("dpmpp:order=3,interpolates=eps,taper=true,variant=3m-published", {**EPS, "solver_order": 3}),
    multistep("dpmpp:order=3,interpolates=eps,variant=3m-published", {**EPS, "solver_order": 3}, steps=20),
    multistep("dpmpp:order=3,interpolates=eps", {**EPS, **THIRD, "solver_type": "heun"}, repair=D2, reason=FACTOR_2),
    multistep("dpmpp-2m-sde:order=1", {**SDE, "solver_order": 1}),
    multistep("dpmpp-2m-sde", SDE),
    multistep("dpmpp-2m-sde:order=2,variant=exact", {**SDE, "solver_type": "heun"}),
    multistep("dpmpp-3m-sde:variant=published", {**SDE, **THIRD}, differs=1e-2, reason=SIGN),
    multistep("dpmpp-3m-sde:variant=published", {**SDE, **THIRD}, repair=MINUS, reason=SIGN),
    multistep("dpmpp-3m-sde", {**SDE, **THIRD, "solver_type": "heun"}, repair=(*MINUS, *D2), reason=FACTOR_2 + SIGN),
    singlestep("dpmpp-2s", {"solver_order": 2}, every=2),
    Case("DPMSolverSinglestepScheduler", {}, "dpmpp-2s", every=2, steps=19, differs=1e-2, reason=ENTRIES),
    singlestep("dpmpp-2s", {}, every=2, steps=20, differs=1e-4, reason=EVENS),
    singlestep("res-2s", {"solver_order": 2, "solver_type": "heun"}, every=2),
    singlestep("dpm-solver-2", {"solver_order": 2, **EPS}, every=2, steps=5, tolerance=1e-11, reason=LARGE),
    singlestep("dpmpp-3s", {"solver_order": 3}, every=3, steps=31, differs=1e-4, reason=STAGE),
    singlestep("dpmpp-3s", {"solver_order": 3, "solver_type": "heun"}, every=3, repair=LINE, reason=STAGE),
    singlestep("dpm-solver-3", {"solver_order": 3, **EPS}, every=3, steps=31, differs=1e-4, reason=STAGE),
    singlestep(
        "dpm-solver-3", {"solver_order": 3, **EPS, "solver_type": "heun"}, every=3, repair=LINE_EPS, reason=STAGE
    ),
    unipc("unipc:order=1", {**KARRAS, "solver_order": 1}),
    unipc("unipc:order=2,taper=true", {**KARRAS, "solver_order": 2}),
    unipc("unipc:order=3,taper=true", {**KARRAS, "solver_order": 3}),
    unipc("unipc:order=3", {**LOW, **THIRD}),
    unipc("unipc:order=1,bh=bh1", {**LOW, "solver_order": 1, "solver_type": "bh1"}),
    unipc("unipc:order=2,bh=bh1,taper=true", {**LOW, "solver_order": 2, "solver_type": "bh1"}),
    unipc("unipc:order=3,bh=bh1,taper=true", {**LOW, "solver_order": 3, "solver_type": "bh1"}),
    unipc("unip:order=3,taper=true", {**KARRAS, "solver_order": 3, "disable_corrector": [*range(9)]}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees(case):
    check(case, *both(case))
