"""`difftool evaluate`: what it prints, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from difftool.runs.evaluation import Comparison, Figures


def test_a_table_of_figures(ok):
    options = ("--steps", 5, "--num-samples", 40, "--data", "digits:split=held-out", "--exact", "digits-exact")
    lines = ok("evaluate", *options, "--against", "digits").stdout.splitlines()
    assert lines[0] == "compared with 355 samples of digits:split=held-out"
    assert lines[2].split() == ["samples", "digits"]
    assert lines[3].split() == ["samples", "40", "40"]
    assert [line.rsplit(maxsplit=2)[0].strip() for line in lines[4:8]] == [
        "sliced Wasserstein", "energy distance", "MMD", "log density"
    ]  # fmt: skip
    told = json.loads(ok("evaluate", *options, "--json").stdout)
    assert told["figures"]["samples"]["sliced_wasserstein"] == pytest.approx(float(lines[4].split()[2]), rel=1e-3)


def test_samples_of_a_file_and_of_points(ok):
    ok("sample", "--model", "eight-gaussians", "--num-samples", 300, "--steps", 20, "--out", "a.npz")
    data = ("--data", "eight-gaussians:n=400")
    good = json.loads(ok("evaluate", "a.npz", *data, "--json").stdout)["figures"]["samples"]
    bad = json.loads(ok("evaluate", "a.npz", "--data", "moons:n=400", "--json").stdout)["figures"]["samples"]
    assert good["energy_distance"] < bad["energy_distance"] / 10
    drawn = json.loads(
        ok("evaluate", "--model", "eight-gaussians", "--steps", 20, "--num-samples", 300, *data, "--json").stdout
    )
    assert drawn["figures"]["samples"] == pytest.approx(good, rel=1e-5)


def test_figures_that_look_wrong_are_explained_where_they_occur(ok, folder):
    """The same samples: below 0, and nearer than fresh ones."""
    points = np.random.default_rng(0).normal(size=(4, 200, 2)).astype(np.float32)
    for name, x in zip("abcd", points, strict=True):
        np.savez(folder / f"{name}.npz", samples=x)
    np.savez(folder / "far.npz", samples=points[0] + 3)
    lines = ok("evaluate", "a.npz", "--data", "npz:path=a.npz", "--against", "npz:path=b.npz").stdout.splitlines()
    negative = next(line for line in lines if "below 0" in line)
    assert negative.startswith("energy distance, MMD below 0: the estimate is unbiased")
    assert any("has memorized them" in line for line in lines)
    lines = ok("evaluate", "far.npz", "--data", "npz:path=a.npz", "--against", "npz:path=b.npz").stdout
    assert "below that of" not in lines
    assert "memorized" not in lines
    assert "below 0" not in ok("evaluate", "far.npz", "--data", "npz:path=a.npz").stdout


SCORES = {"sliced_wasserstein": 0.2, "energy_distance": 0.1, "mmd": 0.01, "fid": 3.0, "kid": 0.02}


def figures(changed=None):
    changed = dict(changed or {})
    return Figures(changed.pop("number", 100), SCORES | changed)


@pytest.mark.parametrize(
    ("ours", "fresh", "says"),
    [
        ({}, {}, []),
        ({"kid": -0.01}, {"kid": -0.02}, ["KID below 0: the estimate is unbiased"]),
        ({}, {"mmd": -1e-4}, ["MMD below 0"]),
        ({"fid": 2.0}, {}, ["FID below that of b: the samples are as near to the data as fresh ones"]),
        ({"sliced_wasserstein": 0.1, "mmd": 0.001}, {}, ["sliced Wasserstein, MMD below that of b"]),
        ({"fid": 2.0}, {"number": 50}, ["FID below that of b", "FID: larger for fewer samples, and b has only 50"]),
        ({"mmd": 0.001}, {"number": 50}, ["MMD below that of b"]),
    ],
)
def test_remarks(ours, fresh, says):
    from difftool.cli.scores import remarks

    told = remarks(Comparison(figures(ours), 100, figures(fresh)), "b")
    assert len(told) == len(says)
    assert all(line.startswith(start) for line, start in zip(told, says, strict=True))
    assert remarks(Comparison(figures(), 100), None) == []


def test_a_fid_of_nothing_is_shown_as_nothing(cli, monkeypatch):
    found = Comparison(figures({"fid": -1.8e-15}), 5)
    monkeypatch.setattr("difftool.cli.scores.evaluate", lambda *given, **options: found)
    (line,) = (line for line in cli("evaluate").stdout.splitlines() if line.startswith("FID"))
    assert line.split() == ["FID", "0"]
    assert json.loads(cli("evaluate", "--json").stdout)["figures"]["samples"]["fid"] == -1.8e-15


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.npz",), ["cannot read nowhere.npz", "No such file"]),
        (("text.txt",), ["not an .npz file"]),
        (("nowhere",), ["no dataset 'nowhere'"]),
        (("a.npz", "--steps", 3, "--class", 1), ["the samples come from a.npz; leave out --steps"]),
        (("bad.npz",), ["not an .npz file"]),
        (("--data", "digitz"), ["no dataset 'digitz'", "did you mean digits"]),
        (("--data", "moons"), ["the samples have shape (1, 8, 8), but those of moons have (2,)"]),
        (("--features", "nowhere.onnx"), ["there is no file nowhere.onnx"]),
        (("--features", "text.txt"), ["text.txt is not a network in ONNX format"]),
        (("--features", "incepton"), ["no feature 'incepton'", "did you mean inception"]),
        (("--exact", "moons"), ["the model 'moons' has no density"]),
        (("--num-samples", 1), ["at least 2 samples are needed, got 1 to be scored"]),
        (("--batch-size", 0), ["batch-size must be at least 1, got 0"]),
    ],
)
def test_refusals(refused, folder, arguments, says):
    for name in ("text.txt", "bad.npz"):
        (folder / name).write_text("text")
    refused("evaluate", *arguments, says=says)


@pytest.mark.slow
def test_a_folder_of_the_name_of_a_data_set(ok, folder):
    (folder / "moons").mkdir()
    (folder / "samples").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "moons" / "a.png")
    ok("evaluate", "--model", "moons", "--steps", 3, "--num-samples", 20, "--data", "moons:n=50")
    told = ok("evaluate", "--model", "moons", "--steps", 3, "--num-samples", 20, "--data", "moons", "--json").stdout
    assert json.loads(told)["figures"]["samples"]["reference"] == 20_000
