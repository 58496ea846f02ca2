"""The default from the command line: what a recipe keeps of it, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from difftool import NetworkModel
from difftool.models.clipped import of_pictures
from difftool.runs.recipe import Recipe
from difftool.schedules import Flow


def recipe_of(ok, file, *options):
    ok("sample", *options, "--num-samples", "2", "--out", str(file))
    return Recipe.load(file)


def test_a_recipe_keeps_what_was_chosen_and_says_so(ok, tmp_path):
    told = recipe_of(ok, tmp_path / "a.npz", "--model", "digits-unet", "--steps", "9")
    assert told.chosen == ["sampler", "schedule", "grid", "last", "clip"]
    assert told.sampler.startswith("flow-abm")
    other = told.changed(steps=3, label=3, guidance=8.0)
    assert (other.sampler, other.grid, other.steps) == (None, None, 3)  # chosen anew for what is asked now
    named = told.changed(sampler="ddim")
    assert (named.sampler, named.grid) == ("ddim", None)


def test_a_grid_that_is_named_later_is_no_longer_one_that_was_chosen(ok, tmp_path):
    told = recipe_of(ok, tmp_path / "a.npz", "--sampler", "ddim", "--steps", "5")
    assert told.chosen == ["schedule", "grid", "last", "clip"]
    assert told.changed(grid="karras").chosen == ["schedule", "last", "clip"]


def test_estimates_of_pictures_are_clipped_unless_that_is_turned_off(ok, tmp_path):
    """Of a network whose data were pictures in [-1, 1]; not of points, nor of an exact model."""
    network = "--model", "digits-unet", "--class", "3", "--guidance", "8", "--steps", "6"
    cut = recipe_of(ok, tmp_path / "cut.npz", *network)
    free = recipe_of(ok, tmp_path / "free.npz", *network, "--no-clip")
    assert (cut.clip, free.clip) == (True, False)
    assert "clip" in cut.chosen
    assert "clip" not in free.chosen
    x = {name: np.load(tmp_path / f"{name}.npz")["samples"] for name in ("cut", "free")}
    assert np.abs(x["cut"]).max() < 1.2 < np.abs(x["free"]).max()
    assert cut.changed(model="moons", label=None).clip is None
    for name in ("moons", "digits-exact"):
        assert recipe_of(ok, tmp_path / f"{name}.npz", "--model", name, "--steps", "6").clip is False
    kinds = [((2,), (-1.0, 1.0), False), ((1, 8, 8), (-1.0, 1.0), True), ((1, 8, 8), (-1.0, 1.5), False)]
    for shape, data_range, expected in kinds:
        model = NetworkModel(lambda x, t: x, Flow(), shape=shape, data_range=data_range)
        assert of_pictures(model) == expected


@pytest.mark.parametrize(("steps", "order"), [(1, 1), (5, 2), (10, 3), (29, 4), (50, 5)])
def test_a_recipe_of_the_first_version_runs_as_it_did(ok, tmp_path, steps, order):
    """Its `flow-abm` had the order min(5, 2 + N // 10), on the same grid."""
    file = tmp_path / "new.json"
    today = recipe_of(ok, tmp_path / "a.npz", "--sampler", f"flow-abm:order={order}", "--steps", str(steps)).to_dict()
    old = {k: v for k, v in today.items() if k not in ("stochastic", "chosen", "clip")}
    file.write_text(json.dumps({**old, "version": 1, "sampler": "flow-abm"}))
    read = Recipe.load(file)
    assert (read.sampler, read.grid) == (f"flow-abm:order={order}", today["grid"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--model digits-unet --steps 9", ["flow-abm:order=3", "flow:b=2"]),
        ("--model digits-unet --nfe 18 --guidance 5", ["adams:order=2", "flow:a="]),
        ("--model digits-unet --steps 9 --stochastic", ["flow-sde", "flow:b=2"]),
    ],
)
def test_show_default_says_what_will_run(ok, options, told):
    said = json.loads(ok("show", "default", *options.split(), "--json").stdout)
    assert said["sampler"] == told[0]
    assert said["grid"].startswith(told[1])


@pytest.mark.parametrize(("guidance", "unstable"), [(2, False), (30, True)])
def test_show_default_says_where_it_is_unstable(ok, guidance, unstable):
    said = json.loads(
        ok("show", "default", "--model", "digits-unet", "--nfe", 20, "--guidance", guidance, "--json").stdout
    )
    assert ("unstable" in said) == unstable


def test_what_a_model_brings_goes_with_it_and_what_was_named_stays(ok, tmp_path):
    exact = recipe_of(ok, tmp_path / "a.npz", "--sampler", "ddim", "--steps", "4")
    assert exact.schedule == "vp-linear"
    assert exact.changed(model="digits-unet").schedule is None
    named = recipe_of(ok, tmp_path / "b.npz", "--model", "digits-unet", "--last", "mean", "--steps", "4")
    assert named.changed(steps=5).last == "mean"
    assert named.changed(sampler="heun").last is None


def test_a_recipe_with_a_sampler_that_was_named_is_not_made_stochastic(ok, refused, tmp_path):
    ok("sample", "--sampler", "heun", "--steps", "3", "--num-samples", "2", "--out", str(tmp_path / "a.npz"))
    refused("sample", "--recipe", str(tmp_path / "a.npz"), "--stochastic", says=["--stochastic", "heun"])
