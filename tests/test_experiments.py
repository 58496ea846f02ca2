"""Tables of experiments: what they hold, what is done once, what goes on, and what they refuse."""

from __future__ import annotations

import csv
import os
import signal

import pytest

from difftool.errors import DifftoolError
from difftool.files.writing import CHECKPOINT
from difftool.runs.evaluation import evaluate
from difftool.runs.experiments import Table, differing, run_experiments
from difftool.training.config import Training
from difftool.training.trainer import Hyperparameters

TINY = """
[all]
data = "digits"
network = "unet:widths=4+8,depth=1,heads=1"
batch_size = 16
steps = 6

[evaluation]
data = "digits:split=held-out"
num_samples = 12
steps = 3
class = "0-9"

[experiments.first]
[experiments.second]
learning_rate = 5e-4
flip = true
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(place, text=TINY):
    file = place / "table.toml"
    file.write_text(text)
    return Table.load(file)


def carried(place, text=TINY, stop=None):
    """The rows, and what was trained; `stop` an experiment at its second step."""
    trained = []

    def train(name, session):
        trained.append(name)

        def report(told):
            if name == stop and told.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        session.run(report, log_every=2, save_every=2, sample_every=None)

    rows = run_experiments(table(place, text), place / "out", train, lambda name, what: None, device="cpu")
    return rows, trained


def test_every_experiment_is_trained_and_scored_once(place):
    rows, trained = carried(place)
    assert trained == ["first", "second"]
    assert [(row["name"], row["learning_rate"], row["flip"]) for row in rows] == [
        ("first", 1e-3, False), ("second", 5e-4, True)
    ]  # fmt: skip
    recipe = table(place).evaluation.recipe(place / "out" / "second")
    assert (recipe.label, recipe.num_samples) == ("0-9", 12)
    found = evaluate(recipe, "digits:split=held-out").samples.scores
    assert {key: rows[1][key] for key in ("mmd", "energy_distance")} == pytest.approx(
        {key: found[key] for key in ("mmd", "energy_distance")}
    )
    with open("out/table.csv", newline="") as handle:
        written = [*csv.DictReader(handle)]
    assert [float(row["mmd"]) for row in written] == [row["mmd"] for row in rows]
    assert "![second](second/samples.png)" in (place / "out" / "table.md").read_text()
    assert (place / "out" / "second" / "samples.png").stat().st_size > 500

    before = (place / "out" / "first" / CHECKPOINT).stat().st_mtime_ns
    (place / "out" / "first" / "samples.png").unlink()
    assert carried(place) == (rows, [])
    assert (place / "out" / "first" / CHECKPOINT).stat().st_mtime_ns == before
    assert not (place / "out" / "first" / "samples.png").exists()  # it was not drawn again


def test_a_network_that_nobody_names_stays_the_one_that_was_trained(place, monkeypatch):
    unnamed = "\n".join(line for line in TINY.splitlines() if not line.startswith("network"))
    assert unnamed != TINY
    monkeypatch.setattr("difftool.training.config._usual", lambda shape: "unet:widths=8,heads=1,depth=1,attention=")
    rows, _ = carried(place, unnamed)
    monkeypatch.setattr("difftool.training.config._usual", lambda shape: "unet:widths=16,heads=1,depth=1")
    assert carried(place, unnamed) == (rows, [])


@pytest.mark.slow
def test_another_evaluation_trains_nothing(place):
    rows, _ = carried(place)
    others, trained = carried(place, TINY.replace("num_samples = 12", "num_samples = 20"))
    assert trained == []
    assert all(row["mmd"] != other["mmd"] for row, other in zip(rows, others, strict=True))


def test_a_table_that_was_stopped_goes_on(place):
    whole, _ = carried(place)
    weights = (place / "out" / "second" / CHECKPOINT).read_bytes()
    (place / "out").rename(place / "whole")
    with pytest.raises(KeyboardInterrupt):
        carried(place, stop="second")
    assert not (place / "out" / "second" / "scores.json").exists()
    assert carried(place) == (whole, ["second"])
    assert (place / "out" / "second" / CHECKPOINT).read_bytes() == weights


def test_an_experiment_that_fails_is_a_row_and_the_next_one_begins(place):
    bad = (
        '[experiments.bad]\nlearning_rate = 1e3\nclip = 1e9\nnetwork = "unet:widths=4,heads=1,attention="\nsteps = 40\n'
    )
    rows, trained = carried(place, TINY.replace("[experiments.first]", bad + "[experiments.first]"))
    assert trained == ["bad", "first", "second"]
    assert "the loss is" in rows[0]["failed"]
    assert all("mmd" in row for row in rows[1:])


def test_a_folder_of_another_training_is_left_alone(place):
    carried(place)
    rows, trained = carried(place, TINY.replace("batch_size = 16", "batch_size = 8"))
    assert trained == []
    assert "has a training with batch_size=16, but the table says 8; rename the experiment" in rows[0]["failed"]


@pytest.mark.slow
def test_the_column_of_fid(place, network):
    rows, _ = carried(place, TINY.replace("num_samples = 12", f'num_samples = 12\nfeatures = "{network[0]}"'))
    want = evaluate("digits:split=all", "digits:split=held-out", features=str(network[0])).samples.scores["fid"]
    assert all(row["fid"] > 5 * want for row in rows)  # these networks are hardly trained


def test_only_settings_that_differ_are_columns():
    one = Training(data="folder:path=a,size=32", network="unet:widths=8+16,depth=1")
    other = Training(data="folder:path=a,size=64", network="unet:widths=8+16,depth=2", epochs=3)
    assert differing({"a": one, "b": other}) == {
        "a": {"size": "32", "depth": "1", "steps": 10_000, "epochs": ""},
        "b": {"size": "64", "depth": "2", "steps": "", "epochs": 3},
    }


def test_epochs_in_place_of_the_steps_of_all(place):
    made = table(place, TINY.replace("flip = true", "epochs = 2"))
    assert (made.experiments["first"].epochs, made.experiments["first"].numbers.steps) == (None, 6)
    second = made.experiments["second"]
    assert second.epochs == 2
    assert second.filled(second.dataset()).numbers.steps == -(-2 * 1442 // 16)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = [", "is not valid TOML"),
        ("[experiment.a]\n", "no table of .*table.toml 'experiment'; did you mean experiments"),
        ("[all]\nsteps = 3\n", "has no experiments; add one as in"),
        ("all = 3\n[experiments.a]\n", r"all must be a table, as in \[all\], got 3"),
        (
            "[experiments.a]\nlearning_rat = 3\n",
            r"\[experiments.a\]: no setting 'learning_rat'; did you mean learning_rate",
        ),
        ("[experiments.a]\nnumbers = 3\n", "no setting 'numbers'"),
        ("[experiments.a]\ndata = 3\n", "data must be str, got 3"),
        ("[experiments.a]\nsteps = 0\n", "steps must be a whole number of at least 1, got 0"),
        ("[experiments.a]\nsteps = 1\nepochs = 1\n", "give steps or epochs, not both"),
        ("[experiments]\na = 3\n", "an experiment must be a table with a name of letters"),
        ('[experiments."a/b"]\n', "an experiment must be a table with a name of letters"),
        ("[evaluation]\nsampel = 3\n[experiments.a]\n", r"\[evaluation\]: no setting 'sampel'; did you mean sampler"),
        ('[evaluation]\nsteps = "3"\n[experiments.a]\n', "steps must be int, got '3'"),
    ],
)
def test_what_a_table_should_not_hold(place, text, words):
    with pytest.raises(DifftoolError, match=words):
        table(place, text)


def test_a_table_that_is_not_there(place):
    with pytest.raises(DifftoolError, match=r"cannot read nowhere.toml: No such file"):
        Table.load((place / "nowhere.toml").relative_to(place))


@pytest.mark.slow
def test_new_weights_have_new_figures(place):
    rows, _ = carried(place)
    for name in (CHECKPOINT, "model.safetensors"):
        (place / "out" / "first" / name).unlink()
    others, trained = carried(place, TINY.replace("[experiments.first]", "[experiments.first]\nsteps = 9"))
    assert trained == ["first"]
    assert others[0]["mmd"] != rows[0]["mmd"]
    assert others[1]["mmd"] == rows[1]["mmd"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("steps = 3", 'sampler = "ddpmm"'), "no sampler 'ddpmm'"),
        (("steps = 3", 'features = "nowhere.onnx"'), "there is no file nowhere.onnx"),
        (('"0-9"', '"0-12"'), "has 10 classes, the evaluation asks for 0-12"),
        (("digits:split=held-out", "moons"), r"has samples of shape \(1, 8, 8\), the evaluation data \(2,\)"),
        (("flip = true", 'network = "unet:widths=7,heads=2"'), "experiment second: network 'unet': heads must divide"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_training(place, change, words):
    with pytest.raises(DifftoolError, match=words):
        carried(place, TINY.replace(*change))
    assert not (place / "out").exists()


def test_options_of_the_same_name_are_columns_of_their_own():
    made = {
        name: Training(data=f"moons:seed={seed}", numbers=Hyperparameters(seed=9 - seed))
        for name, seed in (("a", 1), ("b", 2))
    }
    assert differing(made) == {"a": {"seed": 8, "data.seed": "1"}, "b": {"seed": 7, "data.seed": "2"}}


def test_a_folder_with_a_comma_in_its_name(place):
    rows = run_experiments(
        table(place), place / "a,b", lambda name, session: session.run(), lambda name, what: None, "cpu"
    )
    assert all("mmd" in row for row in rows)
