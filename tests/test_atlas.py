"""The atlas: every name of the other tools has an answer, every answer can be made and runs, the page is up to date."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path as File

import pytest
import torch

from difftool.models import GaussianMixture
from difftool.names import atlas
from difftool.names.registry import registry
from difftool.names.specs import make, options_of
from difftool.names.text import parse
from difftool.schedules import Path, VPLinear

HERE = File(__file__).parent
ROWS = [(tool, axis, row) for tool in atlas.tools().values() for axis, rows in tool.rows.items() for row in rows]
SPECS = sorted({(axis, spec) for _, axis, row in ROWS for spec in (row.ours, row.flow, *row.also) if spec})
GRIDS = sorted({spec for axis, spec in SPECS if axis == "grids"} | {row.grid for *_, row in ROWS} - {""})
COMFYUI = """euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0 exp_heun_2_x0_sde
dpm_2 dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu
dpmpp_2m dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde
dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v deis cfgpp_ud10_ab res_multistep res_multistep_cfg_pp res_multistep_ancestral
res_multistep_ancestral_cfg_pp gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 sa_solver
sa_solver_pece ddim uni_pc uni_pc_bh2"""
COMFYUI_GRIDS = "simple sgm_uniform karras exponential ddim_uniform beta normal linear_quadratic kl_optimal"
A1111 = """DPM++ 2M|DPM++ SDE|DPM++ 2M SDE|DPM++ 2M SDE Heun|DPM++ 2S a|DPM++ 3M SDE|Euler a|Euler|LMS|Heun|DPM2|DPM2 a|
DPM fast|DPM adaptive|Restart|DDIM|DDIM CFG++|PLMS|UniPC|LCM"""
A1111_GRIDS = """Automatic|Uniform|Karras|Exponential|Polyexponential|SGM Uniform|KL Optimal|Align Your Steps|Simple|
Normal|DDIM|Beta"""
FORMULAS = {  # of ComfyUI's that are in no package: the tests of ours that spell its loop
    "heunpp2": "samplers/test_karras.py::test_heunpp2",
    "exp_heun_2_x0": "samplers/test_seeds.py::test_seeds_2",
    "exp_heun_2_x0_sde": "samplers/test_seeds.py::test_seeds_2",
    "ipndm_v": "samplers/test_pndm.py::test_the_published_coefficients",
    "res_multistep": "test_comfyui.py::test_res_multistep",
    "gradient_estimation": "samplers/test_karras.py::test_gradient_estimation",
    "er_sde": "samplers/test_er_sde.py::test_as_published",
    "seeds_2": "samplers/test_seeds.py::test_seeds_2",
    "seeds_3": "samplers/test_seeds.py::test_seeds_3",
}
MODEL = GaussianMixture(torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64), 0.1)


def run(spec):
    """The end of our sampler from one start on one grid."""
    sampler, schedule = make("samplers", spec), VPLinear()
    levels = (20.0, 9.0, 4.0, 1.7, 0.6, 0.2, *([] if sampler.adaptive else [0.0]))
    g = torch.Generator().manual_seed(0)

    def noise(*ignored):
        return torch.randn(4, 2, dtype=torch.float64, generator=g)

    def x0(x, p, answers=("x0",)):
        estimate = x / p.alpha if isinstance(p.sigma, float) and p.sigma == 0 else MODEL.x0(x, p)
        return estimate if len(answers) == 1 else (estimate, torch.sigmoid(x))

    return sampler(x0, noise(), Path(schedule, [schedule.t_at_level(level) for level in levels]), noise)


@pytest.mark.parametrize("spec", [spec for axis, spec in SPECS if axis == "samplers"])
def test_samplers_run(spec):
    assert torch.isfinite(run(spec)).all()


@pytest.mark.parametrize("tool", atlas.tools().values(), ids=lambda tool: tool.name)
def test_schedules_are_ours(tool):
    assert set(tool.schedules.values()) <= registry().axis("schedules").keys()


@pytest.mark.parametrize("spec", GRIDS)
def test_grids_run(spec):
    times = make("grids", spec)(VPLinear(), 5)
    assert len(times) == 6 and all(map(math.isfinite, times))


@pytest.mark.parametrize("row", [row for *_, row in ROWS if row.also], ids=lambda row: row.name)
def test_also_is_the_same_sampler(row):
    for spec in row.also:
        # two ways of one sum, from 20 times the noise
        torch.testing.assert_close(run(spec), run(row.ours), rtol=0, atol=1e-11)


def options(axis, spec):
    """The names of the options of that thing of ours."""
    return {option.name for option in options_of(registry().find(axis, parse(spec)[0]).load())}


def test_rows_say_one_thing():
    for _, axis, row in ROWS:
        assert bool(row.ours) == (row.parity in ("same", "differs", "distilled")), row.name
        assert bool(row.why) == (row.parity != "same"), row.name
        assert axis == "samplers" or not (row.grid or row.step or row.like or row.few or row.noise), row.name
        assert not any(word in row.why + row.note for word in ("as above", "see there")), row.name
        assert {*row.takes.values(), *row.step.values()} <= (options(axis, row.ours) if row.ours else set()), row.name
    for tool in atlas.tools().values():
        names = [(axis, row.name, row.of) for axis, rows in tool.rows.items() for row in rows]
        assert len(names) == len(set(names)), tool.name


@pytest.mark.parametrize(
    ("tool", "axis", "names"),
    [
        ("comfyui", "samplers", COMFYUI.split()),
        ("comfyui", "grids", COMFYUI_GRIDS.split()),
        ("a1111", "samplers", A1111.replace("\n", "").split("|")),
        ("a1111", "grids", A1111_GRIDS.replace("\n", "").split("|")),
    ],
)
def test_every_name_of_a_menu(tool, axis, names):
    rows = [row.name for row in atlas.tool(tool).rows[axis] if not row.name.endswith("Scheduler")]  # nodes of their own
    assert sorted(rows) == sorted(names)


def test_names_of_menus_are_functions_that_are_compared():
    """A row of a menu is a function or class of a package, as the same sampler of ours, or is spelled in a test."""
    alone = set()
    for tool, axis, row in ROWS:
        if tool.form == "menu" and axis == "samplers" and row.parity in ("same", "distilled") and not row.like:
            alone.add(row.name)
        if row.like:
            of = atlas.tool("diffusers" if "Scheduler" in row.like else "k-diffusion")
            (answer,) = of.lookup(row.like)
            assert make(axis, answer.specs()[axis]) in [make(axis, spec) for spec in (row.ours, *row.also)], row.name
            assert (answer.sampler.parity, answer.sampler.noise) == (row.parity, row.noise), row.name
    assert alone == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_what_spells_a_loop_is_about_that_sampler(name):
    """It names the row, or something of the file of our sampler."""
    file, _, test = FORMULAS[name].partition("::")
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    (body,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == test]
    (row,) = [row for row in atlas.tool("comfyui").rows["samplers"] if row.name == name]
    module = sys.modules[type(make("samplers", row.ours)).__module__]
    own = {key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    named = {getattr(node, "id", None) or getattr(node, "value", None) for node in ast.walk(body)}
    assert named & {name, *own}


@pytest.mark.parametrize("row", [row for *_, row in ROWS if row.few], ids=lambda row: row.name)
def test_few_changes_the_sampler(row):
    """Else there would be nothing to add."""
    assert make("samplers", row.spec({}, few=True)) != make("samplers", row.ours)
    assert f"below 15 steps add {row.few}" in row.notes


def test_get_sigmas_vp():
    """k-diffusion's levels of the VP SDE: equal steps in t from 1 to eps_s = 1e-3, then 0."""
    times = make("grids", "normal")(VPLinear(), 5)
    theirs = [math.sqrt(math.expm1(19.9 * t**2 / 2 + 0.1 * t)) for t in (1.0, 0.75025, 0.5005, 0.25075, 0.001)]
    assert [VPLinear().level(t) for t in times] == pytest.approx([*theirs, 0.0], rel=1e-12)
