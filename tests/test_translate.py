"""Our names in other tools' words and back, and what is said to someone who types theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from difftool import atlas, translate
from difftool.errors import DifftoolError
from difftool.specs import make

ROWS = [(tool, axis, row) for tool in atlas.tools().values() for axis, rows in tool.rows.items() for row in rows]
HERE = Path(__file__).parent


@pytest.mark.parametrize(("tool", "axis", "row"), [r for r in ROWS if r[2].ours], ids=lambda v: getattr(v, "name", v))
def test_there_and_back(tool, axis, row):
    """Ours leads to theirs, theirs to ours."""
    key = "sampler" if axis == "samplers" else "grid"
    there = translate.translations(tool.name, row.ours)
    plain = row.name.partition("(")[0]
    assert any(facts["theirs"].startswith(plain) for facts in there)
    assert all(facts[key] == row.ours for facts in there if facts["theirs"] == row.name)
    back = translate.translations(tool.name, row.name.replace("=...", "=1").replace("=[1]", "=1"))
    assert any(make(axis, facts[key]) for facts in back if facts[key])
    assert row.ours.partition(":")[0] in {facts[key].partition(":")[0] for facts in back}


def test_the_page_is_up_to_date():
    written = (HERE.parent / "docs" / "names.md").read_text(encoding="utf-8")
    assert written == translate.page(), "write it anew: python docs/generate.py"


def test_unknown_tools_and_names():
    with pytest.raises(DifftoolError, match="no tool 'webui'; there are: a1111"):
        translate.translations("webui", "ddim")
    with pytest.raises(DifftoolError, match="no sampler or grid 'karas' in ComfyUI or here; did you mean karras"):
        translate.translations("comfyui", "karas")
    with pytest.raises(DifftoolError, match="azula has no flow-abm"):
        translate.translations("azula", "flow-abm")
    with pytest.raises(DifftoolError, match="nearest: lms is lms"):
        translate.translations("comfyui", "lms:order=2")


SDE = 'DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", use_karras_sigmas=True)'


@pytest.mark.parametrize(
    ("tool", "theirs"),
    [
        ("comfyui", "sampler_name dpmpp_2m_sde, scheduler karras"),
        ("a1111", "sampling method DPM++ 2M SDE, schedule type Karras"),
        ("diffusers", SDE),
        ("k-diffusion", "sample_dpmpp_2m_sde(model, x, get_sigmas_karras(n, sigma_min, sigma_max))"),
    ],
)
@pytest.mark.parametrize("ours", ["dpmpp-2m-sde@karras", "dpmpp-2m-sde karras", "dpmpp-2m-sde @ karras"])
def test_a_combination(tool, theirs, ours):
    facts = translate.translations(tool, ours)[0]
    assert (facts["theirs"], facts["sampler"], facts["grid"]) == (theirs, "dpmpp-2m-sde", "karras")
    assert facts["ours"] == "difftool sample --sampler dpmpp-2m-sde --grid karras"
    assert facts["parity"].startswith("same")


@pytest.mark.parametrize(
    ("tool", "theirs", "sampler", "grid"),
    [
        ("comfyui", "dpmpp_2m_sde + karras", "dpmpp-2m-sde", "karras"),
        ("comfyui", "dpmpp_2m_sde/sgm_uniform", "dpmpp-2m-sde", "sgm-uniform"),
        ("comfyui", "DPMPP_2M", "dpmpp-2m", ""),
        ("comfyui", "ddim_uniform", "", "ddim-uniform"),
        ("a1111", "DPM++ 2M SDE Karras", "dpmpp-2m-sde", "karras"),
        ("a1111", "dpm++ 2m sde heun exponential", "dpmpp-2m-sde:order=2,variant=exact", "exponential"),
        ("a1111", "DPM++ 2M", "dpmpp-2m", "karras"),
        ("a1111", "Euler a", "euler-a", "normal"),
        ("diffusers", SDE, "dpmpp-2m-sde", "karras"),
        ("diffusers", "DDIMScheduler", "ddim", "leading"),
        ("diffusers", "diffusers.DDIMScheduler(timestep_spacing='trailing')", "ddim", "trailing"),
        ("diffusers", "DDIMScheduler().step(eta=0.5)", "ddim:eta=0.5", "leading"),
        ("diffusers", "UniPCMultistepScheduler(solver_order=3, solver_type='bh1')", "unipc:order=3,taper=true,bh=bh1",
         "linspace:extra=1"),
        ("diffusers", "EulerDiscreteScheduler(use_beta_sigmas=True)", "euler", "beta-level"),
        ("k-diffusion", "sample_euler_ancestral(model, x, sigmas, eta=0.5)", "euler-a:eta=0.5", ""),
        ("k-diffusion", "K.sampling.sample_heun(m, x, get_sigmas_karras(10, 0.1, 10, rho=5))", "heun:variable=level",
         "karras:rho=5"),
        ("azula", "zABSampler(denoiser, order=3)", "lms:order=3", "uniform"),
    ],
)  # fmt: skip
def test_their_names(tool, theirs, sampler, grid):
    assert [(facts["sampler"], facts["grid"]) for facts in translate.translations(tool, theirs)] == [(sampler, grid)]


@pytest.mark.parametrize(
    ("tool", "ours", "theirs"),
    [
        ("diffusers", "ddim:eta=0.4", "DDIMScheduler().step(eta=0.4)"),
        ("diffusers", "lms:order=3@trailing", 'LMSDiscreteScheduler(timestep_spacing="trailing").step(order=3)'),
        ("diffusers", "unipc:order=3,taper=true", "UniPCMultistepScheduler(solver_order=3)"),
        ("diffusers", "ddim@linspace:extra=1",
         'DPMSolverMultistepScheduler(solver_order=1, timestep_spacing="linspace")'),
        ("k-diffusion", "adams:order=3,interpolates=eps,variable=level", "sample_lms(model, x, sigmas, order=3)"),
        ("k-diffusion", "churn:churn=40,s_max=50", "sample_heun(model, x, sigmas, s_churn=40.0, s_tmax=50.0)"),
        ("k-diffusion", "karras:rho=5,level_min=0.03", "get_sigmas_karras(n, 0.03, sigma_max, rho=5.0)"),
        ("azula", "flow-ab:order=3", "vABSampler(denoiser, order=3)"),
        ("diffusers", "ddim@leading:offset=1", 'DDIMScheduler(timestep_spacing="leading", steps_offset=1)'),
    ],
)  # fmt: skip
def test_our_names_with_options(tool, ours, theirs):
    assert theirs in [facts["theirs"] for facts in translate.translations(tool, ours)]


def test_general_options_are_told():
    (facts,) = translate.translations("diffusers", "DDIMScheduler(thresholding=True, colour=blue)")
    assert "thresholding: dynamic thresholding of x0" in facts["parity"]
    assert "colour: an option that is not looked at" in facts["parity"]


@pytest.mark.parametrize(
    ("axis", "name", "says"),
    [
        ("samplers", "dpmpp_2m_sde",
         "no sampler 'dpmpp_2m_sde'; ComfyUI's dpmpp_2m_sde is dpmpp-2m-sde here"),
        ("samplers", "DPM++ 2M SDE Karras",
         "no sampler 'DPM++ 2M SDE Karras'; A1111's DPM++ 2M SDE Karras is --sampler dpmpp-2m-sde --grid karras here"),
        ("samplers", SDE.replace('"', ""),
         f"diffusers' {SDE} is --sampler dpmpp-2m-sde --grid karras here".replace('"', "")),
        ("samplers", "euler_cfg_pp", "ComfyUI's euler_cfg_pp comes later here: guidance"),
        ("samplers", "VQDiffusionScheduler", "diffusers' VQDiffusionScheduler is nothing here: discrete tokens"),
        ("samplers", "res_multistep_ancestral", "is nearest to dpmpp-2m-sde:order=2,variant=exact here"),
        ("samplers", "LCMScheduler", "diffusers' LCMScheduler is lcm here (for distilled models)"),
        ("samplers", "sgm_uniform", "ComfyUI's sgm_uniform is --grid sgm-uniform here"),
        ("grids", "sgm_uniform", "no grid 'sgm_uniform'; ComfyUI's sgm_uniform is sgm-uniform here"),
        ("grids", "SGM Uniform", "A1111's SGM Uniform is sgm-uniform here"),
        ("samplers", "eulr", "no sampler 'eulr'; did you mean euler"),
    ],
)  # fmt: skip
def test_another_tools_name_is_answered_with_ours(axis, name, says):
    with pytest.raises(DifftoolError) as caught:
        make(axis, name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_is_not_read_before_a_name_is_unknown():
    code = "import sys, difftool.cli.app as a; a.app(); print('difftool.atlas' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
