"""Bad input: one line that says what was expected and what was got, exit code 2, and nothing left behind."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from difftool.cli.app import app

KINDS = ("png", "npz", "safetensors")

SAMPLE = [
    # names
    ("--sampler dmpp", ["no sampler 'dmpp'", "did you mean dpmpp"]),
    ("--sampler zzz", ["no sampler 'zzz'", "ddim", "heun"]),
    ("--model digits", ["no model 'digits'", "did you mean digits-unet or digits-exact"]),
    ("--schedule cosin", ["no schedule 'cosin'", "did you mean cosine"]),
    ("--grid krras", ["no grid 'krras'", "did you mean karras"]),
    ("--sampler predictor-corrector:predictor=emm", ["no sampler 'emm'", "did you mean em"]),
    # specs
    ("--sampler ddim:et=1", ["no option of sampler 'ddim' named 'et'", "did you mean eta"]),
    ("--sampler ddim:eta=x", ["eta=number", "'x'"]),
    ("--sampler ddim:eta=nan", ["eta=number", "'nan'"]),
    ("--sampler ddim:eta=2", ["0 <= eta <= 1", "2"]),
    ("--sampler ddpm:variance=tiny", ["small | large | between", "'tiny'"]),
    ("--sampler annealed-langevin:corrections=1.5", ["corrections=whole number", "'1.5'"]),
    ("--sampler ddim,euler", ["no sampler 'ddim,euler'; did you mean"]),
    ("--sampler ddim,eta=0.2", ["options follow a colon: ddim:eta=0.2"]),
    ("--schedule squaredcos_cap_v2", ["diffusers' squaredcos_cap_v2 is cosine here"]),
    ("--model checkpoint", ["needs the option 'path'", "as in checkpoint:path=..."]),
    ("--sampler ddim:eta", ["'eta'", "key=value"]),
    ("--sampler ddim:", ["key=value"]),
    ("--sampler :eta=1", ["has no name"]),
    ("--sampler ddim:eta=1,eta=1", ["eta twice"]),
    ("""--sampler ddim:eta="0.5""", ["has an unclosed quote"]),
    ("--model digits-exact:std=0", ["std", "positive", "0"]),
    ("--model digits-exact:std=inf", ["std", "finite", "inf"]),
    ("--schedule cosine:s=-1", ["s >= 0", "-1"]),
    ("--grid karras:rho=0", ["rho > 0", "0"]),
    # numbers
    ("--steps 0", ["steps", "at least 1", "got 0"]),
    ("--steps -1", ["steps", "at least 1", "got -1"]),
    ("--nfe 0", ["nfe", "at least 1", "got 0"]),
    ("--num-samples 0", ["num-samples", "at least 1", "got 0"]),
    ("--num-samples -3", ["num-samples", "got -3"]),
    ("--num-samples 4294967297", ["num-samples", "at most 4294967296"]),
    ("--batch-size 0", ["batch-size", "at least 1", "got 0"]),
    ("--seed -1", ["seed", "-1"]),
    ("--seed 18446744073709551616", ["seed", "2**64"]),
    ("--class 12", ["class", "12", "0, 1, 2"]),
    ("--last foo", ["last", "step | mean", "'foo'"]),
    ("--device tpu", ["device", "cpu | cuda", "'tpu'"]),
    ("--dtype float8", ["dtype", "bfloat16", "'float8'"]),
    # network evaluations
    ("--sampler heun --nfe 6", ["6 evaluations", "5 (steps=3)", "7 (steps=4)"]),
    ("--sampler ode --nfe 6", ["nfe=6", "chooses"]),
    ("--sampler ode --steps 6", ["ode chooses its own steps", "leave the number of steps out"]),
    ("--steps 5 --nfe 5", ["--steps or --nfe, not both"]),
    ("--grid explicit:times=1+0.5+0 --nfe 3", ["3 evaluations", "2 (steps=2)"]),
    # grids
    ("--grid explicit:times=1+0.5+0 --steps 3", ["has 2 steps", "got steps=3"]),
    ("--grid explicit:times=1+nan+0", ["1+nan+0", "number"]),
    ("--grid explicit:times=1+0.5+0.7", ["monotone", "0.5", "0.7"]),
    ("--grid explicit:times=1.5+0.5+0", ["1.5", "[0, 1]"]),
    ("--grid explicit:times=1+0.5+-0.5", ["-0.5", "[0, 1]"]),
    ("--grid explicit:times=1", ["at least two times"]),
    ("--grid explicit", ["at least two times", "got 0"]),
    ("--class -1", ["class", "at least 0", "-1"]),
    ("--class x", ["class must be a whole number", "0-9", "'x'"]),
    ("--class 9-0", ["a range such as 0-9, got '9-0'"]),
    ("--class 0-12 --num-samples 4 --model digits-unet", ["unknown class 12; the network knows 0 to 9"]),
    ("--schedule Karras", ["karras is a grid: --grid karras"]),
    ("--class 0-99", ["unknown class 10; the model knows: 0, 1, 2"]),
    ("--steps 100000000000", ["at most 100000"]),
    ("--sampler EM", ["did you mean em"]),
    ("--grid explicit:times=1,0.5,0", ["a+b+c"]),
    ("--grid uniform:start=2", ["start", "2", "[0, 1]"]),
    ("--grid uniform:start=0.5,end=0.5", ["start", "differ"]),
    ("--grid explicit:times=0+0.5+1", ["from data to noise"]),
    # outputs
    ("--out a.jpg", [".png, .npz, .safetensors", "a.jpg"]),
    ("--out a", [".png, .npz, .safetensors"]),
    ("--out nowhere/a.png", ["nowhere/a.png", "no such folder"]),
    ("--out /proc/a.png", ["cannot write /proc/a.png"]),
    ("--out file/a.png", ["cannot write file/a.png"]),
    ("--out file.png", ["file.png exists already", "--force"]),
    ("--out folder.png --force", ["must be a file, got the folder folder.png"]),
    ("--out " + "a" * 300 + ".png", ["cannot write aaa", "too long"]),
    ("--force", ["--force", "--out"]),
    # recipes and plans
    ("--recipe nowhere.png", ["nowhere.png", "No such file"]),
    ("--recipe folder.png", ["folder.png", "folder"]),
    ("--recipe file", ["file", "recipe"]),
    ("--recipe file.png", ["file.png", "not a PNG"]),
    ("--sampler nowhere.json", ["nowhere.json", "No such file"]),
]


@pytest.mark.parametrize(("options", "says"), SAMPLE, ids=[options[:40] for options, _ in SAMPLE])
def test_sample(refused, folder, options, says):
    (folder / "file").write_text("text")
    (folder / "file.png").write_text("text")
    (folder / "folder.png").mkdir()
    refused("sample", *options.split(" "), says=says)
    assert (folder / "file.png").read_text() == "text"


def test_no_cuda(refused, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused("sample", "--device", "cuda", says=["no cuda device", "--device cpu"])


PLAN = [
    ("foo", ["no sampler 'foo'"]),
    ("ode", ["ode has no plan", "chooses its steps"]),
    ("predictor-corrector", ["predictor-corrector has no plan"]),
    ("ddim --steps 0", ["steps", "at least 1", "got 0"]),
    ("ddim --last foo", ["step or mean", "'foo'"]),
    ("ddim --schedule foo", ["no schedule 'foo'"]),
    ("ddim --grid foo", ["no grid 'foo'"]),
    ("ddim --model foo", ["no model 'foo'"]),
    ("ddim --grid explicit:times=1+0 --steps 3", ["has 1 steps", "got steps=3"]),
    ("ddim --out plan.txt", [".json", "plan.txt"]),
    ("ddim --out nowhere/plan.json", ["nowhere/plan.json", "no such folder"]),
    ("ddim --out there.json", ["there.json exists already", "--force"]),
    ("ddim --force", ["--force", "--out"]),
    ("nowhere.json", ["nowhere.json", "No such file"]),
    ("there.json --steps 3", ["steps", "leave"]),
    ("there.json", ["there.json", "not a"]),
]


@pytest.mark.parametrize(("options", "says"), PLAN, ids=[options for options, _ in PLAN])
def test_plan(refused, folder, options, says):
    (folder / "there.json").write_text("{}")
    refused("plan", *options.split(" "), says=says)
    assert (folder / "there.json").read_text() == "{}"


OTHERS = [
    ("list foo", ["no axis 'foo'", "samplers"]),
    ("list sampler", ["did you mean samplers"]),
    ("show foo", ["'foo'", "did you mean"]),
    ("show ddpn", ["did you mean ddpm"]),
    ("show ddim:eta=1", ["without options", "'ddim'"]),
    ("show sample", ["'sample'"]),
    ("check foo", ["'foo'"]),
    ("check karras:rho=-1", ["rho > 0"]),
    ("check ddim:eta=4", ["0 <= eta <= 1"]),
]


@pytest.mark.parametrize(("line", "says"), OTHERS, ids=[line for line, _ in OTHERS])
def test_others(refused, line, says):
    refused(*line.split(" "), says=says)


USAGE = [
    "sample --steps 2.5", "sample --steps abc", "sample --nfe 2.5", "sample --seed 1.5",
    "sample --bogus", "sample extra", "sample --steps", "plan", "plan ddim --steps 2.5", "plan ddim --rows -1",
    "show", "check", "list samplers grids", "bogus", "--bogus",
]  # fmt: skip


@pytest.mark.parametrize("line", USAGE)
def test_usage_errors(refused, folder, line):
    command = line.split()[0]
    place = f"difftool {command}" if command in ("sample", "plan", "show", "check", "list") else "difftool"
    refused(*line.split(" "), says=["see difftool" if line == "sample --steps" else f"see {place} --help"])
    assert not list(folder.iterdir())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, bytes]:
    """A file of every kind that can be read back, as bytes."""
    place = tmp_path_factory.mktemp("outputs")
    for line in (*(f"sample --num-samples 2 --steps 2 --out a.{kind}" for kind in KINDS), "plan ddim --out a.json"):
        *words, name = line.split()
        assert CliRunner().invoke(app(), [*words, str(place / name)]).exit_code == 0
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.mark.parametrize("name", [f"a.{kind}" for kind in KINDS])
@pytest.mark.parametrize("keep", [0, 1, 7, 100, -1, -9, -100])
def test_truncated_output(refused, folder, outputs, name, keep):
    (folder / name).write_bytes(outputs[name][:keep])
    begun = name == "a.png" and keep not in (0, 1, 7)
    refused("sample", "--recipe", name, says=[name, "damaged", "truncated" if begun else ""])


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_truncated_plan(refused, folder, outputs, keep):
    (folder / "a.json").write_bytes(outputs["a.json"].rstrip()[:keep])
    refused("plan", "a.json", says=["a.json", "truncated"])
    refused("sample", "--sampler", "a.json", says=["a.json", "truncated"])


@pytest.mark.parametrize("name", ["a.png", "a.npz", "a.safetensors", "a.json"])
def test_other_bytes(refused, folder, name):
    (folder / name).write_bytes(bytes(range(256)))
    refused("sample", "--recipe", name, says=[name])


def test_a_plan_of_other_bytes(refused, folder):
    (folder / "a.json").write_bytes(bytes(range(256)))
    refused("plan", "a.json", says=["a.json"])
    refused("sample", "--sampler", "a.json", says=["a.json"])


def test_changed_picture(refused, folder, outputs):
    data = bytearray(outputs["a.png"])
    place = data.index(b"flow-abm")
    data[place : place + 8] = b"flow-sde"
    (folder / "a.png").write_bytes(bytes(data))
    refused("sample", "--recipe", "a.png", says=["a.png", "modified"])


def test_pictures_of_others(refused, folder):
    from PIL import Image

    Image.new("L", (4, 4)).save(folder / "other.png")
    refused("sample", "--recipe", "other.png", says=["other.png", "no recipe"])


def test_newer_plan(refused, folder, outputs):
    plan = json.loads(outputs["a.json"])
    (folder / "a.json").write_text(json.dumps({**plan, "version": 99}))
    refused("plan", "a.json", says=["a.json", "version 99", "update"])
    refused("sample", "--recipe", "a.json", says=["a.json", "no difftool recipe"])


RECIPES = [
    ({"version": 99}, ["version 99", "update"]),
    ({"version": "1"}, ["version '1'"]),
    ({"format": "something"}, ["no difftool recipe"]),
    ({"steps": "x"}, ["steps", "'x'"]),
    ({"steps": 2.5}, ["steps", "2.5"]),
    ({"steps": True}, ["steps", "True"]),
    ({"num_samples": True}, ["num-samples", "True"]),
    ({"seed": False}, ["seed", "False"]),
    ({"steps": 0}, ["steps", "at least 1"]),
    ({"num_samples": None}, ["num-samples", "None"]),
    ({"num_samples": "5"}, ["num-samples", "'5'"]),
    ({"batch_size": 1.5}, ["batch-size", "1.5"]),
    ({"seed": None}, ["seed", "None"]),
    ({"label": "x"}, ["class", "'x'"]),
    ({"label": 77}, ["class", "77"]),
    ({"last": "foo"}, ["last", "'foo'"]),
    ({"threads": -3}, ["threads", "-3"]),
    ({"device": "tpu"}, ["device", "'tpu'"]),
    ({"dtype": 5}, ["dtype", "5"]),
    ({"model": None}, ["model", "None"]),
    ({"model": "foo"}, ["no model 'foo'"]),
    ({"sampler": 5}, ["sampler", "5"]),
    ({"schedule": 5}, ["schedule", "5"]),
    ({"grid": "foo"}, ["no grid 'foo'"]),
    ({"plan": 5}, ["plan", "5"]),
    ({"plan": {}}, ["plan"]),
]


@pytest.mark.parametrize(("change", "says"), RECIPES, ids=[str(change) for change, _ in RECIPES])
def test_recipes_that_are_not_right(refused, folder, outputs, change, says):
    recipe = {**recipe_of(outputs), **change}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    refused("sample", "--recipe", "recipe.json", says=says)


def recipe_of(outputs: dict[str, bytes]) -> dict[str, object]:
    with np.load(io.BytesIO(outputs["a.npz"])) as data:
        return json.loads(str(data["recipe"]))


@pytest.mark.parametrize("text", ["[1]", "5", "null", '"text"', "{}", "", "[" * 100_000])
def test_json_that_is_no_recipe(refused, folder, text):
    (folder / "recipe.json").write_text(text)
    refused("sample", "--recipe", "recipe.json", says=["recipe.json", "recipe"])


def test_recipe_with_a_hole(refused, folder, outputs):
    recipe = recipe_of(outputs)
    del recipe["seed"]
    (folder / "recipe.json").write_text(json.dumps(recipe))
    refused("sample", "--recipe", "recipe.json", says=["incomplete", "seed"])


@pytest.mark.parametrize("option", ["--steps 3", "--nfe 3", "--grid flow", "--schedule ve", "--last mean"])
def test_options_that_a_plan_has(refused, folder, outputs, option):
    (folder / "a.json").write_bytes(outputs["a.json"])
    refused("sample", "--sampler", "a.json", *option.split(), says=["plan", option.split()[0]])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(refused, folder: Path):
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    refused("sample", "--out", "locked/a.png", says=["cannot write locked/a.png"])
