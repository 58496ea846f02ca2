"""`difftool train`: what it writes and says, going on, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from reading import read

from difftool.errors import DifftoolWarning

TINY = ("--data", "moons:n=60", "--network", "mlp:widths=8,embedding=4", "--batch-size", 16, "--log-every", 2)


def test_a_training_is_a_folder_and_a_model(ok, folder):
    result = ok("train", *TINY, "--steps", 4, "--sample-every", 4, "--out", "run")
    lines = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert lines[:7] == ["data", "classes", "network", "learns", "steps", "device", "folder"]
    assert "60 samples of 2\n" in result.stdout and " weights\n" in result.stdout
    assert lines[7:] == ["step 2/4", "step 4/4", "run: 4 steps; difftool sample --model checkpoint:path=run"]
    written = ["checkpoint.safetensors", "logs", "model.safetensors", "samples", "training.json"]
    assert sorted(path.name for path in (folder / "run").iterdir()) == written
    assert (folder / "run" / "samples" / "step-000004.png").stat().st_size > 1000
    ok("sample", "--model", "checkpoint:path=run", "--class", 1, "--guidance", 2, "--nfe", 6, "--out", "a.npz")
    samples, recipe = read("a.npz")
    assert samples.shape == (64, 2)
    assert (recipe["guidance"], [*recipe["files"]]) == (2.0, ["run/checkpoint.safetensors"])


def test_threads_and_where_it_goes_on(ok, cli):
    ok("train", *TINY, "--steps", 2, "--out", "run", "--threads", 1)
    assert torch.get_num_threads() == 1
    assert (
        "4 of 16 samples each (1.07 passes over the data), resuming at step 2"
        in cli("train", "--resume", "run", "--steps", 4).stdout
    )
    assert "threads must be from 1 to" in cli("train", *TINY, "--threads", 0).stderr


def test_the_file_to_pass_on_gives_the_same_samples(ok, folder):
    ok("train", *TINY, "--steps", 4, "--out", "run")
    for name, path in (("a.npz", "run"), ("b.npz", "run/model.safetensors")):
        ok("sample", "--model", f"checkpoint:path={path}", "--nfe", 3, "--out", name)
    assert (read("a.npz")[0] == read("b.npz")[0]).all()
    small, whole = ((folder / "run" / name).stat().st_size for name in ("model.safetensors", "checkpoint.safetensors"))
    assert small < whole / 3


def test_options_reach_the_training(ok, folder):
    ok(
        "train", *TINY, "--steps", 2, "--schedule", "cosine", "--predicts", "eps", "--weighting", "min-snr:gamma=3",
        "--times", "table:length=50", "--unconditional", "--ema", 0.5, "--out", "run",
    )  # fmt: skip
    told = json.loads((folder / "run" / "training.json").read_text())
    assert (told["schedule"], told["predicts"], told["weighting"]) == ("cosine", "eps", "min-snr:gamma=3")
    assert (told["times"], told["conditional"], told["numbers"]["ema"]) == ("table:length=50", False, 0.5)
    assert "classes" not in told["network"]


def test_a_variance_is_learned_and_used(ok, folder):
    ok("train", *TINY, "--steps", 50, "--predicts", "v", "--schedule", "cosine", "--learn-variance", "--out", "run")
    told = json.loads((folder / "run" / "training.json").read_text())
    assert told["learn_variance"] is True and "outputs=4" in told["network"]
    model = ("--model", "checkpoint:path=run", "--steps", 5, "--class", 1, "--guidance", 2)
    ok("sample", *model, "--sampler", "ddpm:variance=learned", "--out", "a.npz")
    ok("sample", *model, "--sampler", "ddpm:variance=small", "--out", "b.npz")
    assert (read("a.npz")[0] != read("b.npz")[0]).any()


def test_epochs_and_a_part_of_the_data(ok, refused, folder):
    result = ok("train", *TINY, "--samples", 30, "--epochs", 4, "--warmup", 0, "--out", "run")
    assert "step 8/8" in result.stdout  # 4 times 30 samples, 16 at a time
    told = json.loads((folder / "run" / "training.json").read_text())
    assert (told["samples"], told["epochs"], told["numbers"]["steps"]) == (30, None, 8)
    with pytest.warns(DifftoolWarning, match="the learning rate had decayed to 0 of its peak and rises to 0.095"):
        ok("train", "--resume", "run", "--steps", 10)
    refused("train", *TINY, "--epochs", 2, "--steps", 3, "--out", "b", says=["--steps or --epochs, not both"])
    refused("train", *TINY, "--epochs", 0, "--out", "b", says=["epochs must be a whole number of at least 1, got 0"])
    refused("train", *TINY, "--samples", 61, "--out", "b", says=["samples must be a whole number from 1 to 60"])


def test_it_goes_on_with_more_steps(ok, folder):
    ok("train", *TINY, "--steps", 4, "--decay", "none", "--out", "part")
    ok("train", "--resume", "part", "--steps", 8, "--log-every", 2)
    ok("train", *TINY, "--steps", 8, "--decay", "none", "--out", "whole")
    a, b = ((folder / name / "checkpoint.safetensors").read_bytes() for name in ("part", "whole"))
    assert a == b


def test_a_changed_checkpoint_is_noticed(ok, refused):
    ok("train", *TINY, "--steps", 2, "--out", "run")
    ok("sample", "--model", "checkpoint:path=run", "--nfe", 2, "--num-samples", 4, "--out", "a.npz")
    ok("train", "--resume", "run", "--steps", 4)
    refused("sample", "--recipe", "a.npz", "--out", "b.npz", says=["run/checkpoint.safetensors has changed since"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--steps", 0), ["steps must be a whole number of at least 1, got 0"]),
        (("--save-every", 0), ["--save-every must be at least 1, got 0"]),
        (("--data", "moon"), ["no dataset 'moon'", "did you mean moons"]),
        (("--network", "unit"), ["no network 'unit'", "did you mean unet"]),
        (("--network", "unet:width=8"), ["no option of network 'unet' named 'width'", "widths"]),
        (("--weighting", "min-srn"), ["no weighting 'min-srn'", "min-snr"]),
        (("--times", "log"), ["no time 'log'"]),
        (("--predicts", "noise"), ["no parametrization 'noise'"]),
        (("--schedule", "linear"), ["no schedule 'linear'"]),
        (("--resume", "nowhere"), ["there is no checkpoint nowhere"]),
        (("--precision", "int8"), ["precision must be no, bf16 or fp16, got 'int8'"]),
        (("--data", "folder:path=nowhere"), ["there is no folder nowhere"]),
    ],
)
def test_refusals(refused, arguments, says):
    refused("train", *arguments, says=says)


def test_what_cannot_change_when_it_goes_on(ok, refused):
    ok("train", *TINY, "--steps", 2, "--out", "run")
    refused("train", "--resume", "run", "--learning-rate", 0.1, says=["--learning-rate cannot change"])
    refused("train", *TINY, "--out", "run", says=["run already holds a training; resume it with --resume run"])


def test_the_pictures_on_the_way_are_those_of_the_command_line(ok, folder):
    """Clipped, that is: of a network of a few steps that predicts the noise they were noise otherwise."""
    ok(
        "train", "--network", "unet:widths=4,depth=1", "--schedule", "ddpm-linear", "--predicts", "eps", "--steps", 20,
        "--unconditional", "--batch-size", 8, "--sample-every", 20, "--out", "run",
    )  # fmt: skip
    ok("sample", "--model", "checkpoint:path=run", "--nfe", 20, "--out", "by-hand.png")
    files = folder / "run" / "samples" / "step-000020.png", folder / "by-hand.png"
    way, hand = (np.asarray(Image.open(file), np.int16) for file in files)
    assert way.shape == hand.shape
    assert np.abs(way - hand).max() <= 1  # the last bit of a float can turn a grey
