"""Every row of the atlas that says it is the same as one of ours is compared in some test of this folder."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
from agreement import Case, Noises, normal, ours

from difftool import atlas
from difftool.errors import DifftoolError
from difftool.specs import make

MODULES = {
    "diffusers": (
        "test_diffusers",
        "test_diffusers_dpm",
        "test_diffusers_others",
        "test_diffusers_sde",
        "test_diffusers_variants",
    ),
    "azula": ("test_azula",),
    "k-diffusion": ("test_k_diffusion",),
}
ELSEWHERE = {  # compared by a test of its own
    "PNDMScheduler()": "test_diffusers_others.test_pndm",
    "PNDMScheduler(skip_prk_steps=True)": "test_diffusers_others.test_pndm",
    "LCMScheduler()": "test_diffusers_others.test_lcm",
    "TCDScheduler()": "test_diffusers_others.test_tcd",
    "SASolverScheduler()": "test_diffusers_variants.test_sa_solver_between_two_times",
    "sample_dpm_adaptive(model, x, sigma_min, sigma_max)": "test_k_diffusion.test_adaptive",
}
SA = "sa-solver:order=2,corrector_order=2,taper=true,variant=published"
NOTED = {f"{SA},tau=0.5", f"{SA},tau=0", "dpm-fast:ending=1", "dpm-fast:ending=2", "ddim:eta=0.5"}  # in notes of rows
LEVELS = [20.0, 9.0, 4.0, 1.7, 0.6, 0.2, 0.0]


def need(tool: str) -> None:
    """Skip where the tool is not installed; k-diffusion cannot be imported as a whole."""
    if importlib.util.find_spec(tool.replace("-", "_")) is None:
        pytest.skip(f"{tool} is not installed")


def cases(tool: str) -> list[Case]:
    """The comparisons in the tests of that tool that find agreement with it as it is."""
    need(tool)
    found: list[Case] = []
    for name in MODULES[tool]:
        tests = importlib.import_module(name)
        for table in ("CASES", "PATH", "PLAIN", "ROWS"):
            found += [row if isinstance(row, Case) else row[0] for row in getattr(tests, table, ())]
    return [case for case in found if not case.repair and not case.differs]


def same(spec: str, other: str) -> bool:
    """Whether two specs are one sampler: equal, or the same on a grid."""
    try:
        if make("samplers", spec) == make("samplers", other):
            return True
        ends = [ours(one, LEVELS, normal(), Noises()) for one in (spec, other)]
    except DifftoolError:
        return False
    return float((ends[0] - ends[1]).abs().max()) < 1e-11  # two ways of one sum, from 20 times the noise


@pytest.mark.parametrize("tool", MODULES)
def test_every_row_is_compared_and_no_comparison_says_other(tool):
    compared = set(ELSEWHERE)
    for case in cases(tool):
        options = ", ".join(f"{key}={value!r}" for key, value in {**case.options, **case.step_options}.items())
        (answer,) = atlas.tool(tool).lookup(f"{case.peer}({options})")
        if case.ours not in NOTED:
            assert same(answer.specs()["samplers"], case.ours), case
            compared.add(answer.sampler.name)
    rows = [row for row in atlas.tool(tool).rows["samplers"] if row.parity in ("same", "distilled")]
    assert [row.name for row in rows if row.name not in compared] == []


@pytest.mark.parametrize("name", sorted(set(ELSEWHERE.values())))
def test_what_is_compared_elsewhere_is_there(name):
    module, test = name.split(".")
    need("k_diffusion" if "k_diffusion" in module else "diffusers")
    assert callable(getattr(importlib.import_module(module), test))
