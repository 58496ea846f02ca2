"""The weights that the package carries: what trained them, and what their cards claim."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from difftool import sample, zoo
from difftool.cli import training
from difftool.cli.app import app
from difftool.data.digits import dataset
from difftool.data.toys import moons
from difftool.metrics import energy_distance, nearest, sliced_wasserstein
from difftool.samplers import EulerMaruyama
from difftool.schedules import Point
from difftool.training.checkpoint import Checkpoint
from difftool.training.config import Training

CARDS = (Path(__file__).parent.parent / "docs" / "weights.md").read_text()
NAMES = ("digits-unet", "moons")
TURNS = torch.arange(1442) % 10


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_the_card_is_what_trained_them(name, monkeypatch):
    (command,) = re.findall(rf"^(difftool train .*--out {name})$", CARDS, flags=re.MULTILINE)
    asked = []
    monkeypatch.setattr(training, "run_training", lambda options, given, *a, **k: asked.append((options, given)))
    result = CliRunner().invoke(app(), shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    wanted = training._training(*asked[0])
    file = Path(str(files("difftool") / "weights" / f"{name}.safetensors"))
    saved = Checkpoint.load(file)
    assert Training.from_dict(saved.facts["training"]) == wanted.filled(wanted.dataset())
    assert saved.facts["step"] == wanted.numbers.steps
    assert [*saved.tensors] == ["ema"]
    assert file.stat().st_size < 2_000_000


def test_digits_of_a_class_are_of_that_class():
    """By the exact model of all digits, which knows 98 of 100 held-out digits at that width."""
    model = zoo.digits_exact(std=0.5)
    labels = TURNS[:200]
    x = sample(zoo.digits_unet(), shape=(200, 1, 8, 8), nfe=20, cond={"label": labels})
    clean = Point(0.0, 1.0, 0.0)
    told = torch.stack([model.log_density(x, clean, label=label) for label in range(10)]).argmax(0)
    assert (told == labels).float().mean() > 0.9


def test_points_lie_on_the_moons():
    x = sample(zoo.moons(), EulerMaruyama(), shape=(2000, 2), steps=200)
    away = nearest(x, moons(n=2000, noise=0.0).x).distance
    assert away.quantile(0.9) < 0.2  # the points of the data set lie 0.05 around the curves


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"nfe": 50}, {"sampler": EulerMaruyama(), "steps": 200}], ids=["flow-abm", "em"])
def test_the_figures_of_the_digits(options):
    held_out, train = dataset("held-out").all().x, dataset().all().x
    x = sample(zoo.digits_unet(), shape=(len(train), 1, 8, 8), batch_size=250, cond={"label": TURNS}, **options)
    assert sliced_wasserstein(x, held_out) < 1.25 * sliced_wasserstein(train, held_out)
    assert nearest(x, train).distance.median() >= nearest(held_out, train).distance.median()


@pytest.mark.slow
def test_the_figures_of_the_moons():
    x = sample(zoo.moons(), EulerMaruyama(), shape=(5000, 2), steps=500)
    assert energy_distance(x, moons(n=5000, seed=1).x) < 2e-3
