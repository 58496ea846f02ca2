"""Every row of the atlas that says it is the same as one of ours is compared in some test of this folder."""

from __future__ import annotations

import importlib
import importlib.util
import re

import pytest
from agreement import Case, Noises, normal, ours

from difftool.errors import DifftoolError
from difftool.names import atlas
from difftool.names.specs import make

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
        for table in ("CASES", "PATH", "PLAIN", "ROWS", "APART"):
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


def lookup(tool: str, case: Case) -> atlas.Answer:
    """What the atlas says to the call that is compared."""
    options = ", ".join(f"{key}={value!r}" for key, value in {**case.options, **case.step_options}.items())
    (answer,) = atlas.tool(tool).lookup(f"{case.peer}({options})")
    return answer


@pytest.mark.parametrize("tool", MODULES)
def test_every_row_is_compared_and_no_comparison_says_other(tool):
    """Rows that taper below 15 steps on both sides of 15."""
    compared = set()
    for case in cases(tool):
        answer = lookup(tool, case)
        assert answer.sampler
        if case.ours not in NOTED:
            few = case.steps < atlas.FEW
            assert same(answer.sampler.spec(answer.options, few), case.ours), case
            compared |= {answer.sampler.name, (answer.sampler.name, few)}
    rows = [row for row in atlas.tool(tool).rows["samplers"] if row.parity in ("same", "distilled")]
    wanted = {name for row in rows for name in ([(row.name, True), (row.name, False)] if row.few else [row.name])}
    assert wanted - compared == set()


@pytest.mark.parametrize("tool", MODULES)
def test_options_of_comparisons_are_named(tool):
    """A row says all with which it is compared: as typed, in its needs or in its note."""
    for case in cases(tool):
        answer = lookup(tool, case)
        told = " ".join(text for row in answer.rows for text in (row.name, *row.notes))
        unnamed = [option for option in answer.without if not re.search(rf"\b{option.partition('=')[0]}\b", told)]
        assert not unnamed and not answer.needs, f"{case}: {unnamed}, {answer.needs}"
