"""`difftool show --as`, and other tools' names typed into the command line."""

from __future__ import annotations

import json

import pytest


def test_ours_in_another_tool(ok, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = ok("show", "--as", "a1111", "dpmpp-2m-sde@karras").stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["a1111", "sampling method DPM++ 2M SDE, schedule type Karras"],
        ["difftool", "difftool sample --sampler dpmpp-2m-sde --grid karras"],
        ["parity", "same; down to the lowest level of the network's table"],
    ]


@pytest.mark.parametrize("words", [["DPM++ 2M SDE Karras"], ["DPM++", "2M", "SDE", "Karras"]])
def test_theirs_quoted_or_not(ok, words):
    (facts,) = json.loads(ok("show", "--as", "a1111", *words, "--json").stdout)
    assert set(facts) == {"tool", "theirs", "sampler", "grid", "ours", "parity"}
    assert facts["ours"] == "difftool sample --sampler dpmpp-2m-sde --grid karras"


def test_what_we_do_not_have(ok):
    out = ok("show", "--as", "diffusers", "VQDiffusionScheduler").stdout
    assert out.splitlines()[1].split() == ["difftool", "-"]
    assert "no counterpart: discrete tokens" in out


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits(ok, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for line in ok("show", "--as", "comfyui", "deis").stdout.splitlines():
        assert len(line) <= width


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["show", "--as", "webui", "ddim"],
            "no tool 'webui'; available: a1111, azula",
        ),
        (["show", "--as", "azula", "flow-abm"], "azula has no flow-abm"),
        (["show", "--as", "comfyui", "nothing"], "no sampler or grid 'nothing' in ComfyUI or here"),
        (["show", "dpmpp_2m"], "ComfyUI's dpmpp_2m is --sampler dpmpp-2m here"),
        (["check", "Euler a"], "A1111's Euler a is --sampler euler-a --grid normal here"),
        (["plan", "dpmpp_2m_sde"], "; ComfyUI's dpmpp_2m_sde is dpmpp-2m-sde here"),
        (["plan", "DPM++ 2M Karras"], "A1111's DPM++ 2M Karras is --sampler dpmpp-2m --grid karras here"),
        (["plan", "ddim", "--grid", "sgm_uniform"], "no grid 'sgm_uniform'; ComfyUI's sgm_uniform is sgm-uniform here"),
        (["plan", "sample_lms"], "k-diffusion's sample_lms is lms here"),
    ],
)
def test_refusals(cli, arguments, says):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
