"""Our names in other tools' words and back, and what is said to someone who types theirs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from difftool.errors import DifftoolError
from difftool.names import atlas, translate
from difftool.names.hints import hint
from difftool.names.specs import make

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
    with pytest.raises(DifftoolError, match="no tool 'webui'; available: a1111"):
        translate.translations("webui", "ddim")
    with pytest.raises(DifftoolError, match="no sampler or grid 'karas' in ComfyUI or here; did you mean karras"):
        translate.translations("comfyui", "karas")
    with pytest.raises(DifftoolError, match=r"azula has no flow-abm; docs/names\.md lists what it has"):
        translate.translations("azula", "flow-abm")
    with pytest.raises(DifftoolError, match="DPMSolverMultistepScheduler are 2 samplers of diffusers; look up one"):
        translate.translations("diffusers", "DPMSolverMultistepScheduler EulerDiscreteScheduler")
    with pytest.raises(DifftoolError, match="closest: lms is lms"):
        translate.translations("comfyui", "lms:order=2")


@pytest.mark.parametrize("tool", atlas.tools())
@pytest.mark.parametrize("text", ["", "  ", "@", "+", "()"])
def test_nothing_is_not_a_name(tool, text):
    with pytest.raises(DifftoolError, match="no sampler or grid"):
        translate.translations(tool, text)


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
        ("a1111", "dpm++ 2m sde heun exponential", "dpmpp-2m-sde:order=2,variant=exact",
         "exponential"),
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
        ("diffusers", "ddim:eta=0.4", "DDIMScheduler(clip_sample=False).step(eta=0.4)"),
        ("diffusers", "deis", "DEISMultistepScheduler(solver_order=3)"),
        ("diffusers", "deis:order=2,taper=true", "DEISMultistepScheduler()"),
        ("diffusers", "unipc:bh=bh1,taper=true", 'UniPCMultistepScheduler(solver_order=3, solver_type="bh1")'),
        ("diffusers", "dpm-solver-1",
         'DPMSolverMultistepScheduler(algorithm_type="dpmsolver", solver_order=1, final_sigmas_type="sigma_min")'),
        ("diffusers", "churn",
         'KarrasVeScheduler(s_churn=40.0, s_min=0.0, s_max=float("inf"), s_noise=1.0)'),
        ("azula", "deis", "zEABSampler(denoiser, order=3)"),
        ("azula", "lms", "zABSampler(denoiser, order=4)"),
        ("diffusers", "lms:order=3@trailing", 'LMSDiscreteScheduler(timestep_spacing="trailing").step(order=3)'),
        ("diffusers", "unipc:order=3,taper=true", "UniPCMultistepScheduler(solver_order=3)"),
        ("diffusers", "ddim@linspace:extra=1",
         'DPMSolverMultistepScheduler(solver_order=1, timestep_spacing="linspace")'),
        ("k-diffusion", "adams:order=3,interpolates=eps,variable=level", "sample_lms(model, x, sigmas, order=3)"),
        ("k-diffusion", "churn:churn=40,s_max=50", "sample_heun(model, x, sigmas, s_churn=40.0, s_tmax=50.0)"),
        ("k-diffusion", "karras:rho=5,level_min=0.03", "get_sigmas_karras(n, 0.03, sigma_max, rho=5.0)"),
        ("azula", "flow-ab:order=3", "vABSampler(denoiser, order=3)"),
        ("diffusers", "ddim@leading:offset=1",
         'DDIMScheduler(clip_sample=False, timestep_spacing="leading", steps_offset=1)'),
    ],
)  # fmt: skip
def test_our_names_with_options(tool, ours, theirs):
    assert theirs in [facts["theirs"] for facts in translate.translations(tool, ours)]


def test_general_options_are_told():
    (facts,) = translate.translations("diffusers", "DDIMScheduler(thresholding=True, colour=blue)")
    assert "thresholding: dynamic thresholding of x0" in facts["parity"]
    assert facts["parity"].startswith("differs: without thresholding=True, colour=blue; with clip_sample=False")


@pytest.mark.parametrize(
    ("tool", "theirs", "parity"),
    [
        ("azula", "DDIMSampler(denoiser, eta=0.5)", "differs: without eta=0.5"),
        ("azula", "DDIMSampler(denoiser, eta=0.0)", "same"),
        ("azula", "DDIMSampler(denoiser, eta=0, steps=50)", "same"),
        ("diffusers", "DPMSolverMultistepScheduler(algorithm_type='foo')", "differs: without algorithm_type=foo"),
        ("diffusers", "DPMSolverMultistepScheduler(solver_order=4)", "differs: without solver_order=4"),
        ("diffusers", "DPMSolverMultistepScheduler(solver_order=2, algorithm_type=dpmsolver++)", "same"),
        ("diffusers", "DPMSolverMultistepScheduler(lower_order_final=False)", "same"),
        ("diffusers", "DPMSolverMultistepScheduler(beta_schedule='scaled_linear')", "same"),
        ("diffusers", "EulerDiscreteScheduler(use_karras_sigmas=True, timestep_spacing='trailing')",
         "differs: without timestep_spacing=trailing"),
        ("diffusers", "DDIMScheduler(use_karras_sigmas=True, clip_sample=False)",
         "differs: without use_karras_sigmas=True"),
        ("diffusers", "DDIMScheduler()", "same with clip_sample=False; it clips x0 by default"),
        ("diffusers", "DDIMScheduler(clip_sample=True)", "same with clip_sample=False; it clips x0 by default"),
        ("diffusers", "DDIMScheduler(clip_sample=False)", "same; it clips x0 by default"),
        ("diffusers", "DDIMScheduler(clip_sample=False, set_alpha_to_one=False)",
         "differs: without set_alpha_to_one=False"),
        ("diffusers", "DEISMultistepScheduler()", "same; below 15 steps add taper=true"),
        ("k-diffusion", "sample_euler_ancestral(model, x, sigmas, s_noise=1.1)", "differs: without s_noise=1.1"),
        ("k-diffusion", "sample_euler_ancestral(model, x, sigmas, eta=0.5, disable=True)", "same"),
    ],
)  # fmt: skip
def test_options_that_we_do_not_have_make_it_differ(tool, theirs, parity):
    (facts,) = translate.translations(tool, theirs)
    assert facts["parity"].startswith(parity)
    assert facts["ours"]


def test_karras_wins_over_the_spacing():
    spaced = SDE.replace(")", ', timestep_spacing="trailing")')
    (facts,) = translate.translations("diffusers", spaced)
    assert (facts["grid"], facts["theirs"]) == ("karras", SDE)
    assert facts["parity"].startswith("same")


@pytest.mark.parametrize(
    ("tool", "theirs", "says"),
    [
        ("k-diffusion", "sample_lms(model, x, sigmas, order=9)", "takes order 1, 2, 3, 4 or 5, got 9"),
        ("diffusers", "UniPCMultistepScheduler(solver_order=9)", "unipc takes order 1, 2, 3 or 4, got 9"),
    ],
)
def test_what_we_refuse_is_no_command(tool, theirs, says):
    (facts,) = translate.translations(tool, theirs)
    assert (facts["ours"], facts["sampler"], facts["grid"]) == ("", "", "")
    assert facts["parity"].startswith("no counterpart: ") and says in facts["parity"]


@pytest.mark.parametrize(("tool", "row"), [(t, r) for t, _, r in ROWS if t.form == "call"], ids=lambda v: v.name)
def test_what_is_typed_there_is_python(tool, row):
    """Of every row, and of every name of ours with the options that the row has."""
    for text in (row.name, *([row.ours, row.ours.partition(":")[0]] if row.ours else [])):
        try:
            found = translate.translations(tool.name, text)
        except DifftoolError:  # they do not have the plain one
            continue
        for facts in found:
            call = facts["theirs"] if "(" in facts["theirs"] else f"f({facts['theirs']})"
            values = [word.value for word in ast.walk(ast.parse(call)) if isinstance(word, ast.keyword)]
            names = {value.id for value in values if isinstance(value, ast.Name)} - {"n"}
            assert not names, facts["theirs"]


@pytest.mark.parametrize(
    ("tool", "ours", "first"),
    [
        ("comfyui", "ddim", "ddim"),
        ("comfyui", "euler", "euler"),
        ("diffusers", "euler", "EulerDiscreteScheduler()"),
        ("diffusers", "ddim", "DDIMScheduler(clip_sample=False)"),
        ("a1111", "ddim@karras", "sampling method DDIM, schedule type Karras"),
    ],
)
def test_the_same_name_comes_first(tool, ours, first):
    assert translate.translations(tool, ours)[0]["theirs"] == first


@pytest.mark.parametrize(
    ("tool", "theirs"),
    [
        ("comfyui", "dpmpp_sde"),
        ("comfyui", "dpmpp_sde_gpu + karras"),
        ("a1111", "DPM++ SDE Karras"),
        ("diffusers", "DPMSolverSDEScheduler"),
        ("k-diffusion", "sample_dpmpp_sde(model, x, sigmas)"),
    ],
)
def test_path_noise_is_part_of_the_command(tool, theirs):
    (facts,) = translate.translations(tool, theirs)
    assert facts["ours"].startswith("difftool sample --sampler dpmpp-sde:noise=independent")
    assert facts["ours"].endswith(" --noise path")
    assert "dpmpp-sde:noise=independent" in hint("samplers", theirs)
    assert "--noise path" in hint("samplers", theirs)


@pytest.mark.parametrize(
    ("axis", "name", "says"),
    [
        ("samplers", "dpmpp_2m_sde",
         "no sampler 'dpmpp_2m_sde'; ComfyUI's dpmpp_2m_sde is dpmpp-2m-sde here"),
        ("samplers", "DPM++ 2M SDE Karras",
         "no sampler 'DPM++ 2M SDE Karras'; A1111's DPM++ 2M SDE Karras is --sampler dpmpp-2m-sde --grid "
         "karras here"),
        ("samplers", SDE.replace('"', ""),
         f"diffusers' {SDE} is --sampler dpmpp-2m-sde "
         "--grid karras here".replace('"', "")),
        ("samplers", "euler_cfg_pp", "ComfyUI's euler_cfg_pp is not supported yet: guidance"),
        ("samplers", "VQDiffusionScheduler",
         "diffusers' VQDiffusionScheduler has no counterpart here: discrete tokens"),
        ("samplers", "res_multistep_ancestral", "is closest to dpmpp-2m-sde:order=2,variant=exact here"),
        ("samplers", "LCMScheduler", "diffusers' LCMScheduler is lcm here (for distilled models)"),
        ("samplers", "sgm_uniform", "ComfyUI's sgm_uniform is --grid sgm-uniform here"),
        ("grids", "sgm_uniform", "no grid 'sgm_uniform'; ComfyUI's sgm_uniform is sgm-uniform here"),
        ("grids", "SGM Uniform", "A1111's SGM Uniform is sgm-uniform here"),
        ("samplers", "DDIM", "no sampler 'DDIM'; did you mean ddim?"),
        ("grids", "DDIM", "A1111's DDIM is ddim-uniform here"),
        ("samplers", "ddim_uniform", "ComfyUI's ddim_uniform is --grid ddim-uniform here"),
        ("samplers", "DDIMSampler(denoiser, eta=0.5)",
         "is closest to --sampler ddim --grid uniform here (without eta=0.5)"),
        ("samplers", "DDIMScheduler", "is --sampler ddim --grid leading here (with clip_sample=False)"),
        ("samplers", "DEISMultistepScheduler(solver_order=3)", "here (below 15 steps add taper=true)"),
        ("samplers", "eulr", "no sampler 'eulr'; did you mean euler"),
    ],
)  # fmt: skip
def test_another_tools_name_is_answered_with_ours(axis, name, says):
    with pytest.raises(DifftoolError) as caught:
        make(axis, name)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_is_not_read_before_a_name_is_unknown():
    code = "import sys, difftool.cli.app as a; a.app(); print('difftool.names.atlas' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_misspelled_option_is_no_other_scheduler():
    with pytest.raises(DifftoolError, match=r"no option of diffusers .* did you mean use_karras_sigmas"):
        translate.translations("diffusers", "DPMSolverMultistepScheduler(use_karras_sigma=True)")


def test_a_sampler_and_a_grid_are_given_apart():
    with pytest.raises(DifftoolError, match=r"--sampler dpmpp-2m --grid karras$"):
        make("samplers", "dpmpp-2m@karras")
