"""`difftool sample`: what it draws, writes, reports, and that a recipe repeats it bit for bit."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from reading import files, read

import difftool
from difftool.metrics import Distance
from difftool.noise import BrownianPath, Generator
from difftool.plan import plan_from_json
from difftool.samplers import DDIM, EulerMaruyama, Heun
from difftool.schedules import VPLinear
from difftool.zoo import digits_exact, eight_gaussians

FEW = ("--num-samples", 3, "--steps", 2)


def test_the_main_job(ok, folder):
    out = ok("sample", "--sampler", "em", "--steps", 20, "--num-samples", 5).stdout
    assert files(folder) == ["digits-exact-em-001.png"]
    words = {line.split("  ")[0]: line for line in out.splitlines()}
    assert words.keys() >= {"samples", "model", "sampler", "schedule", "grid", "NFE", "time", "sliced Wasserstein"}
    assert "20 steps" in words["grid"]
    assert words["NFE"].endswith(" 20")
    assert "per step" in words["time"]
    assert "expected by chance" in words["sliced Wasserstein"]
    assert out.split()[-1].endswith("digits-exact-em-001.png")  # a long path has a line of its own


def test_every_run_has_a_new_name(ok, folder):
    for _ in range(3):
        ok("sample", *FEW)
    assert files(folder) == [f"digits-exact-flow-abm-00{i}.png" for i in (1, 2, 3)]


def test_the_samples_are_those_of_the_library(ok):
    ok("sample", "--sampler", "em", "--num-samples", 7, "--batch-size", 3, "--steps", 4, "--seed", 5, "--out", "a.npz")
    expected = difftool.sample(digits_exact(), EulerMaruyama(), shape=(7, 1, 8, 8), steps=4, seed=5, batch_size=3)
    np.testing.assert_array_equal(read("a.npz")[0], expected.numpy())


def test_threads_are_those_that_were_asked_for(ok, cli, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    ok("sample", *FEW, "--threads", 3, "--out", "a.npz")
    assert asked == [3]
    assert read("a.npz")[1]["threads"] == 3
    assert "threads must be at least 1, got 0" in cli("sample", *FEW, "--threads", 0).stderr


def test_options_reach_the_things_they_name(ok):
    ok(
        "sample", "--model", "eight-gaussians:std=0.3", "--sampler", "ddim:eta=0.5", "--schedule", "cosine", "--grid",
        "karras:rho=5,level_min=0.01", "--last", "mean", *FEW, "--dtype", "float64", "--out", "a.npz",
    )  # fmt: skip
    from difftool.grids import Karras
    from difftool.schedules import Cosine

    expected = difftool.sample(
        eight_gaussians(0.3), DDIM(eta=0.5), schedule=Cosine(), grid=Karras(rho=5.0, level_min=0.01), last="mean",
        shape=(3, 2), steps=2, dtype=torch.float64,
    )  # fmt: skip
    samples, _ = read("a.npz")
    assert samples.dtype == np.float64
    np.testing.assert_array_equal(samples, expected.numpy())


def test_class(ok):
    ok(
        "sample",
        "--model",
        "eight-gaussians:std=0.01",
        "--class",
        2,
        "--num-samples",
        20,
        "--steps",
        20,
        "--out",
        "a.npz",
    )
    samples, _ = read("a.npz")
    assert abs(samples - [0, 1]).max() < 0.1  # class 2 of 8 counted from the right stands at the top; ten times the std


def test_classes_in_turn(ok):
    options = ("--model", "eight-gaussians:std=0.01", "--num-samples", 10, "--steps", 20, "--batch-size", 3)
    ok("sample", *options, "--class", "2-4", "--out", "a.npz")
    samples, recipe = read("a.npz")
    assert recipe["label"] == "2-4"
    angle = (np.arctan2(samples[:, 1], samples[:, 0]) / (math.pi / 4)).round() % 8
    assert angle.tolist() == [2, 3, 4] * 3 + [2]
    ok("sample", "--recipe", "a.npz", "--out", "b.npz")
    np.testing.assert_array_equal(samples, read("b.npz")[0])


def test_kinds_of_files_hold_the_same(ok):
    for name in ("a.npz", "a.safetensors", "a.png"):
        ok("sample", *FEW, "--out", name)
    samples, recipe = read("a.npz")
    again, same = read("a.safetensors")
    np.testing.assert_array_equal(samples, again)
    pixels, equal = read("a.png")
    assert recipe == same == equal
    first = (samples[0, 0].clip(-1, 1) + 1) / 2 * 255
    shown = pixels[2:50, 2:50].reshape(8, 6, 8, 6)  # each pixel as 6 x 6, behind a margin of 2
    assert shown.max(axis=(1, 3)).tolist() == shown.min(axis=(1, 3)).tolist()
    assert abs(shown[:, 0, :, 0] - first).max() <= 0.5


def test_points_are_drawn_as_a_scatter(ok):
    ok("sample", "--model", "eight-gaussians", *FEW, "--out", "a.png")
    with Image.open("a.png") as picture:
        assert min(picture.size) > 300
    assert read("a.png")[1]["model"] == "eight-gaussians"


@pytest.mark.parametrize("model", ["moons", "digits-unet"])
def test_the_models_own_schedule_is_told_as_it_is_typed(ok, model):
    lines = ok("sample", "--model", model, *FEW, "--out", "a.png").stdout.splitlines()
    (told,) = (line.split("the model's own, ")[1] for line in lines if line.startswith("schedule"))
    ok("sample", "--model", model, "--schedule", told, *FEW, "--out", "b.png")
    assert (read("a.png")[0] == read("b.png")[0]).all()


@pytest.mark.parametrize(("distance", "said"), [(0.1, True), (0.3, False)])
def test_a_distance_below_that_of_exact_samples_is_explained(ok, monkeypatch, distance, said):
    monkeypatch.setattr("difftool.runs.run.Run.quality", lambda run, samples: Distance(distance, 0.2, 0.02))
    assert ("no error is visible" in ok("sample", *FEW).stdout) == said


def test_class_and_guidance_are_told(ok):
    run = ("sample", *FEW, "--class", 3, "--guidance", 2)
    words = {line.split("  ")[0]: line for line in ok(*run).stdout.splitlines()}
    assert words["class"].endswith(" 3") and words["guidance"].endswith(" 2.0")
    facts = json.loads(ok(*run, "--json").stdout)
    assert (facts["class"], facts["guidance"]) == (3, 2.0)


def test_upper_case_suffix(ok):
    ok("sample", *FEW, "--out", "a.PNG")
    ok("sample", "--recipe", "a.PNG", "--out", "b.NPZ")


RUNS = {
    "em": ["--sampler", "em", "--steps", "5"],
    "ddpm by nfe": ["--sampler", "ddpm", "--nfe", "5"],
    "adaptive": ["--sampler", "ode"],
    "plain loop": ["--sampler", "predictor-corrector", "--steps", "3"],
    "a plan": ["--sampler", "plan.json"],
    "explicit grid": ["--grid", "explicit:times=1+0.5+0.1+0", "--sampler", "em"],
    "class": ["--class", "3", "--steps", "4", "--sampler", "em"],
    "another schedule": ["--schedule", "ve:sigma_max=20", "--grid", "karras", "--steps", "4", "--last", "mean"],
}


@pytest.mark.parametrize(("run", "suffix"), [*((run, ".npz") for run in RUNS), ("em", ".safetensors"), ("em", ".png")])
def test_a_recipe_repeats_bit_for_bit(ok, run, suffix):
    if run == "a plan":
        ok("plan", "em", "--steps", 4, "--out", "plan.json")
    ok("sample", *RUNS[run], "--num-samples", 5, "--batch-size", 2, "--seed", 11, "--out", f"a{suffix}")
    ok("sample", "--recipe", f"a{suffix}", "--out", f"b{suffix}")
    samples, recipe = read(f"a{suffix}")
    again, same = read(f"b{suffix}")
    assert recipe == same
    assert recipe["seed"] == 11
    assert recipe["batch_size"] == 2
    np.testing.assert_array_equal(samples, again)
    ok("sample", "--recipe", f"a{suffix}", "--seed", 12, "--out", f"c{suffix}")
    assert (read(f"c{suffix}")[0] != samples).any()


def test_a_recipe_has_every_default_filled_in(ok):
    torch.set_num_threads(2)
    ok("sample", "--sampler", "em", "--nfe", 4, "--num-samples", 2, "--out", "a.npz")
    recipe = read("a.npz")[1]
    expected = {
        "format": "difftool-recipe", "version": 3, "difftool": difftool.__version__, "torch": torch.__version__,
        "model": "digits-exact", "sampler": "em", "stochastic": False, "chosen": ["schedule", "grid", "last", "clip"],
        "schedule": "vp-linear", "grid": "flow", "steps": 4, "nfe": None, "last": EulerMaruyama.last, "num_samples": 2,
        "batch_size": None, "seed": 0, "label": None, "guidance": None, "clip": False, "device": "cpu",
        "dtype": "float32", "noise": "independent", "threads": 2, "files": None, "plan": None,
    }  # fmt: skip
    assert recipe == expected
    torch.set_num_threads(1)
    ok("sample", "--recipe", "a.npz", "--out", "b.npz")
    assert torch.get_num_threads() == 2
    assert read("b.npz")[1] == expected


def test_a_recipe_knows_its_files(ok, refused, folder):
    """What the run read is not what it was: the recipe cannot repeat it, and says so."""
    (folder / "g.txt").write_text("0.9\n0.5\n0.1\n")
    ok("sample", "--grid", "file:path=g.txt", "--num-samples", 2, "--out", "a.npz")
    ok("sample", "--recipe", "a.npz", "--out", "b.npz")
    np.testing.assert_array_equal(read("a.npz")[0], read("b.npz")[0])
    (folder / "g.txt").write_text("0.9\n0.4\n0.1\n")
    refused("sample", "--recipe", "a.npz", "--out", "c.npz", says=["g.txt has changed since"])
    ok("sample", "--recipe", "a.npz", "--grid", "file:path=g.txt", "--out", "c.npz")
    (folder / "g.txt").unlink()
    refused("sample", "--recipe", "a.npz", "--out", "d.npz", says=["cannot read g.txt"])


def test_another_grid_keeps_the_steps_unless_it_has_its_own(ok):
    ok("sample", "--sampler", "heun", "--steps", 7, "--num-samples", 2, "--out", "a.npz")
    ok("sample", "--recipe", "a.npz", "--grid", "karras", "--out", "b.npz")
    ok("sample", "--recipe", "b.npz", "--grid", "explicit:times=1+0.5+0", "--out", "c.npz")
    ok("sample", "--recipe", "c.npz", "--grid", "karras", "--out", "d.npz")
    assert [read(f"{name}.npz")[1]["steps"] for name in "abcd"] == [7, 7, 2, 50]


def test_a_stochastic_recipe_made_deterministic(ok):
    ok("sample", "--stochastic", "--steps", 8, "--num-samples", 2, "--out", "a.npz")
    ok("sample", "--recipe", "a.npz", "--deterministic", "--out", "b.npz")
    ok("sample", "--steps", 8, "--num-samples", 2, "--out", "c.npz")
    assert read("a.npz")[1]["sampler"] == "flow-sde"
    assert read("b.npz")[1] == read("c.npz")[1]


@pytest.mark.parametrize(("noise", "kind"), [("path", BrownianPath), ("generator", Generator)])
def test_noise_of_other_kinds(ok, noise, kind):
    ok("sample", "--sampler", "em", "--steps", 4, "--num-samples", 2, "--noise", noise, "--out", "a.npz")
    expected = difftool.sample(
        digits_exact(), EulerMaruyama(), shape=(2, 1, 8, 8), steps=4, noise=kind(), schedule=VPLinear()
    )
    np.testing.assert_array_equal(read("a.npz")[0], expected.numpy())


def test_a_recipe_needs_no_plan_file(ok, folder):
    ok("plan", "em", "--steps", 4, "--out", "plan.json")
    ok("sample", "--sampler", "plan.json", "--num-samples", 2, "--out", "a.npz")
    (folder / "plan.json").unlink()
    ok("sample", "--recipe", "a.npz", "--out", "b.npz")
    np.testing.assert_array_equal(read("a.npz")[0], read("b.npz")[0])


def test_options_beside_a_recipe_take_the_place_of_its_own(ok):
    ok("sample", "--sampler", "em", *FEW, "--seed", 3, "--out", "a.npz")
    ok("sample", "--recipe", "a.npz", "--num-samples", 5, "--nfe", 4, "--out", "b.npz")
    recipe = read("b.npz")[1]
    assert (recipe["num_samples"], recipe["steps"], recipe["seed"], recipe["sampler"]) == (5, 4, 3, "em")
    ok("sample", "--recipe", "a.npz", "--sampler", "ddim", "--out", "c.npz")
    ok("sample", "--sampler", "ddim", *FEW, "--seed", 3, "--out", "d.npz")
    np.testing.assert_array_equal(read("c.npz")[0], read("d.npz")[0])  # em's last step is not ddim's
    ok("plan", "em", "--steps", 7, "--out", "plan.json")
    ok("sample", "--sampler", "plan.json", "--num-samples", 2, "--out", "e.npz")
    ok("sample", "--recipe", "e.npz", "--sampler", "ddim", "--steps", 3, "--out", "f.npz")
    assert read("f.npz")[1]["plan"] is None


def test_a_recipe_as_json(ok, folder):
    ok("sample", *FEW, "--out", "a.npz")
    samples, recipe = read("a.npz")
    (folder / "recipe.json").write_text(json.dumps(recipe))
    ok("sample", "--recipe", "recipe.json", "--out", "b.npz")
    np.testing.assert_array_equal(samples, read("b.npz")[0])


@pytest.mark.parametrize(("sampler", "nfe"), [("ddim", 7), ("heun", 9), ("em", 4), ("annealed-langevin", 11)])
def test_nfe_is_what_the_model_is_asked(ok, faulty, sampler, nfe):
    facts = json.loads(
        ok("sample", "--model", "plain", "--sampler", sampler, "--nfe", nfe, "--num-samples", 2, "--json").stdout
    )
    assert facts["nfe"] == nfe
    assert faulty.Faulty.evaluations == nfe


def test_nfe_of_an_adaptive_sampler_is_counted(ok, faulty):
    options = ("--model", "plain", "--sampler", "ode", "--num-samples", 5, "--out", "a.npz")
    facts = json.loads(ok("sample", *options, "--json").stdout)
    assert facts["nfe"] == faulty.Faulty.evaluations > 5
    assert facts["steps"] is None
    faulty.Faulty.evaluations = 0
    out = ok("sample", *options, "--force", "--batch-size", 2).stdout
    counts = [int(n) for line in out.splitlines() if line.startswith("NFE") for n in line.split() if n.isdigit()]
    assert 2 * min(counts) + max(counts) <= faulty.Faulty.evaluations <= min(counts) + 2 * max(counts)
    assert "chosen by the sampler" in out
    assert "per evaluation" in out


def test_heun_by_nfe_is_heun_by_steps(ok):
    ok("sample", "--sampler", "heun", "--nfe", 5, "--num-samples", 2, "--out", "a.npz")
    expected = difftool.sample(digits_exact(), Heun(), shape=(2, 1, 8, 8), steps=3)  # two each, one in the last
    np.testing.assert_array_equal(read("a.npz")[0], expected.numpy())


def test_json(ok, folder):
    result = ok("sample", *FEW, "--batch-size", 2, "--json")
    facts = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert (facts["samples"], facts["steps"], facts["nfe"], facts["seed"], facts["device"]) == (3, 2, 2, 0, "cpu")
    assert facts["seconds"] > 0
    assert facts["milliseconds_per_step"] == pytest.approx(1e3 * facts["seconds"] / 4)  # two batches of two steps
    assert facts["file"] == str(folder / "digits-exact-flow-abm-001.png")


def test_the_distance_tells_good_samples_from_bad(ok):
    good, bad = (json.loads(ok("sample", "--num-samples", 200, "--steps", steps, "--json").stdout) for steps in (50, 1))
    assert good["sliced_wasserstein"] < 2 * good["sliced_wasserstein_of_exact"]
    assert bad["sliced_wasserstein"] > 2 * bad["sliced_wasserstein_of_exact"]  # one step: the mean of all digits
    assert good["sliced_wasserstein_of_exact"] == bad["sliced_wasserstein_of_exact"]


def test_force(ok, refused, folder):
    ok("sample", *FEW, "--out", "a.npz")
    before = (folder / "a.npz").read_bytes()
    refused("sample", *FEW, "--out", "a.npz", "--seed", 1, says=["exists", "--force"])
    assert (folder / "a.npz").read_bytes() == before
    ok("sample", *FEW, "--out", "a.npz", "--seed", 1, "--force")
    assert read("a.npz")[1]["seed"] == 1


def test_a_name_that_was_taken_while_sampling(ok, folder, monkeypatch):
    """Two runs at the same time: neither overwrites the other."""
    from difftool.cli import report

    free_name = report.free_name

    def slow(stem, place, suffix):
        name = free_name(stem, place, suffix)
        if not (folder / "other").exists():  # the other run is first
            (folder / "other").touch()
            name.write_text("theirs")
        return name

    monkeypatch.setattr(report, "free_name", slow)
    ok("sample", *FEW)
    assert (folder / "digits-exact-flow-abm-001.png").read_text() == "theirs"
    assert read(folder / "digits-exact-flow-abm-002.png")[1]["sampler"].startswith("flow-abm")


@pytest.mark.parametrize("name", ["日本語 ü.png", "[red]a[blue].npz", "a b:c,d=e.npz", "$x^$.png"])
def test_names_of_files(ok, folder, name):
    out = ok("sample", "--model", "eight-gaussians", *FEW, "--out", name).stdout
    assert re.search(rf"^written to +{re.escape(name)}\n\Z", out, re.MULTILINE)
    ok("sample", "--recipe", name, "--out", "again.npz")


def test_a_title_is_not_read_as_a_formula(ok):
    """The title of a scatter names model and sampler; matplotlib would read dollars as TeX."""
    ok("plan", "ddim", "--steps", 2, "--out", "$x^$.json")
    ok("sample", "--model", "eight-gaussians", "--sampler", "$x^$.json", "--num-samples", 3)


def test_a_plan_in_a_file_with_a_colon(ok):
    ok("plan", "ddim", "--steps", 2, "--out", "a:b,c.json")
    ok("sample", "--sampler", '"a:b,c.json"', "--num-samples", 3, "--out", "a.npz")
    ok("sample", "--sampler", "ddim", *FEW, "--out", "b.npz")
    np.testing.assert_array_equal(read("a.npz")[0], read("b.npz")[0])
    assert plan_from_json(json.dumps(read("a.npz")[1]["plan"])).nfe == 2


def test_samples_that_make_no_picture(ok, refused, faulty, folder):
    ok("sample", "--model", "flat", *FEW)
    assert files(folder) == ["flat-flow-abm-001.npz"]
    assert read("flat-flow-abm-001.npz")[0].shape == (3, 5)
    refused("sample", "--model", "flat", *FEW, "--out", "a.png", says=["(5,)", ".npz"])
    refused("sample", "--model", "shapeless", *FEW, says=["'shapeless'", "shape"])


@pytest.mark.parametrize("schedule", ["vp-linear", "ddpm-linear", "cosine", "ve", "flow"])
def test_em_on_every_schedule(ok, schedule):
    facts = json.loads(
        ok("sample", "--sampler", "em", "--schedule", schedule, "--steps", 100, "--num-samples", 100, "--json").stdout
    )
    assert facts["sliced_wasserstein"] < 2 * facts["sliced_wasserstein_of_exact"]


def test_a_long_path_stays_in_one_piece(ok, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "a" * 120 + ".npz"
    assert name in ok("sample", *FEW, "--out", name).stdout
