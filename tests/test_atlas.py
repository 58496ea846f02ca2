"""The atlas: every name of the other tools has an answer, every answer can be made and runs, the page is up to date."""

from __future__ import annotations

import ast
import importlib.util
import math
from pathlib import Path as File

import pytest
import torch

from difftool import atlas
from difftool.models import GaussianMixture
from difftool.plugins import registry
from difftool.schedules import Path, VPLinear
from difftool.spec_text import parse
from difftool.specs import make, options_of

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
    "heunpp2": "test_heunpp2",
    "exp_heun_2_x0": "test_seeds_2",
    "exp_heun_2_x0_sde": "test_seeds_2",
    "ipndm_v": "test_the_published_coefficients",
    "res_multistep": "test_res_multistep",
    "gradient_estimation": "test_gradient_estimation",
    "er_sde": "test_as_published",
    "seeds_2": "test_seeds_2",
    "seeds_3": "test_seeds_3",
}
MODEL = GaussianMixture(torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64), 0.1)


def run(spec):
    """The end of our sampler from one start on one grid."""
    sampler, schedule = make("samplers", spec), VPLinear()
    levels = (20.0, 9.0, 4.0, 1.7, 0.6, 0.2, *([] if sampler.adaptive else [0.0]))
    g = torch.Generator().manual_seed(0)

    def noise(*ignored):
        return torch.randn(4, 2, dtype=torch.float64, generator=g)

    def x0(x, p):
        return x / p.alpha if isinstance(p.sigma, float) and p.sigma == 0 else MODEL.x0(x, p)

    return sampler(x0, noise(), Path(schedule, [schedule.t_at_level(level) for level in levels]), noise)


@pytest.mark.parametrize("spec", [spec for axis, spec in SPECS if axis == "samplers"])
def test_samplers_run(spec):
    assert torch.isfinite(run(spec)).all()


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
        assert axis == "samplers" or not (row.grid or row.step or row.like), row.name
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
    written = "".join(file.read_text(encoding="utf-8") for file in HERE.rglob("test_*.py"))
    for tool, axis, row in ROWS:
        if tool.form == "menu" and axis == "samplers" and row.parity in ("same", "distilled"):
            assert row.like or f"def {FORMULAS[row.name]}(" in written, row.name
        if row.like:
            of = atlas.tool("diffusers" if "Scheduler" in row.like else "k-diffusion")
            (answer,) = of.lookup(row.like)
            assert make(axis, answer.specs()[axis]) in [make(axis, spec) for spec in (row.ours, *row.also)], row.name
            assert answer.sampler.parity == row.parity, row.name


def classes(package, folder):
    """The classes and functions of a package, with the options of `__init__` and `step`, read and not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    found = {}
    for file in (File(spec.submodule_search_locations[0]) / folder).rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                found[node.name] = arguments(node)
            if isinstance(node, ast.ClassDef):
                methods = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name in ("__init__", "step")]
                found[node.name] = set().union(*map(arguments, methods))
    return found


def arguments(function):
    return {a.arg for a in [*function.args.args, *function.args.kwonlyargs]} - {"self"}


OF_A_STEP = {
    *("model_output", "timestep", "sample", "generator", "return_dict", "variance_noise", "pred_original_sample"),
    *("old_pred_original_sample", "timestep_back", "sigma_hat", "sigma_prev", "sample_hat"),
}


def test_every_scheduler_of_diffusers_and_every_option():
    found = {name: o for name, o in classes("diffusers", "schedulers").items() if name.endswith("Scheduler")}
    tool = atlas.tool("diffusers")
    rows = {name: [row for row in tool.rows["samplers"] if row.head == name] for name in found}
    assert [name for name in found if not rows[name]] == []
    assert {row.head for row in tool.rows["samplers"]} == set(found)
    for name, theirs in found.items():
        answered = {key for row in rows[name] for key in (*row.options, *row.takes, *row.step)}
        assert answered <= theirs, name
        if any(row.ours for row in rows[name]):
            grids = {key for row in tool.rows["grids"] if name in row.of for key in (*row.options, *row.takes)}
            told = {key.removeprefix(f"{name}.") for key in tool.options}
            assert theirs - OF_A_STEP - answered - grids - told == set(), name
    for row in tool.rows["grids"]:
        (key,) = row.options
        having = {name for name, theirs in found.items() if key in theirs}
        assert {name for other in tool.rows["grids"] if key in other.options for name in other.of} == having, row.name


def test_every_sampler_of_azula():
    found = {name for name in classes("azula", ".") if name.endswith("Sampler")} - {"Sampler"}
    assert {row.head for row in atlas.tool("azula").rows["samplers"]} == found


def test_every_function_of_k_diffusion():
    found = {name: o for name, o in classes("k_diffusion", ".").items() if name.startswith(("sample_", "get_sigmas_"))}
    rows = [row for rows in atlas.tool("k-diffusion").rows.values() for row in rows]
    assert {row.head for row in rows} - {"log_likelihood"} == set(found)
    for row in rows:
        assert {*row.options, *row.takes} <= found.get(row.head, set()), row.name


def test_get_sigmas_vp():
    """k-diffusion's levels of the VP SDE: equal steps in t from 1 to eps_s = 1e-3, then 0."""
    times = make("grids", "normal")(VPLinear(), 5)
    theirs = [math.sqrt(math.expm1(19.9 * t**2 / 2 + 0.1 * t)) for t in (1.0, 0.75025, 0.5005, 0.25075, 0.001)]
    assert [VPLinear().level(t) for t in times] == pytest.approx([*theirs, 0.0], rel=1e-12)
