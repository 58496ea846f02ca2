"""`difftool forward` and `difftool neighbors`: what is in their pictures, and what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from registered import slow

from difftool.data.digits import dataset
from difftool.metrics import nearest
from difftool.outputs.plots import beside, image_grid
from difftool.sampling import sample
from difftool.schedules import DDPMLinear
from difftool.zoo import digits_exact


def test_a_row_for_each_sample_a_column_for_each_set(tmp_path):
    sets = [np.full((3, 1, 8, 8), value) for value in (-1.0, 0.0, 1.0, 0.5)]
    beside(sets, ["a", "b", "c", "d"], tmp_path / "a.png")
    expected = image_grid(np.concatenate([np.stack([s[i] for s in sets]) for i in range(3)]), columns=4)
    picture = Image.open(tmp_path / "a.png")
    assert np.array_equal(np.asarray(picture), np.asarray(expected))
    assert picture.width > picture.height


def test_forward_says_where_its_steps_are(ok, folder):
    lines = ok("forward", "--step", 0, "--step", 377, "--step", 1000, "--out", "f.png").stdout.splitlines()
    assert lines[0].split() == ["step", "t", "alpha", "sigma"]
    schedule = DDPMLinear()
    for line, k in zip(lines[1:4], (0, 377, 1000), strict=True):
        told = [float(word) for word in line.split()]
        assert told == pytest.approx([k, k / 1000, schedule.alpha(k / 1000), schedule.sigma(k / 1000)], rel=1e-4)
    assert lines[4].split() == ["written", "to", "f.png"]
    assert Image.open(folder / "f.png").size[0] > 0


def test_forward_draws_points_too(ok, folder):
    ok("forward", "--data", "moons:n=50", "--schedule", "flow", "--out", "f.png")
    assert (folder / "f.png").stat().st_size > 1000


def test_neighbors_are_told_beside_those_of_others(ok, folder):
    train, held_out = dataset("train").all().x, dataset("held-out").all().x
    np.savez(folder / "s.npz", samples=held_out[:20].numpy())
    lines = ok("neighbors", "s.npz", "--against", "digits:split=held-out", "--out", "n.png").stdout.splitlines()
    medians = [float(line.split()[1]) for line in lines[:2]]
    expected = [torch.median(nearest(x, train).distance).item() for x in (held_out[:20], held_out)]
    assert medians == pytest.approx(expected, rel=0.05)  # a quantile of 20 lies between two of them
    np.savez(folder / "t.npz", samples=train[:5].numpy())
    line = ok("neighbors", "t.npz", "--out", "m.png").stdout.splitlines()[0]
    assert line.split()[1] == "0"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("forward", "--step", 1001), ["steps must be from 0 to length=1000, got 1001"]),
        (("forward", "--step", -1), ["from 0 to length=1000, got -1"]),
        (("forward", "--out", "a.jpg"), ["--out a.jpg must end in .png"]),
        (("forward", "--data", "digit"), ["no dataset 'digit'", "did you mean digits"]),
        (("neighbors", "none.npz"), ["cannot read none.npz"]),
        (("neighbors", "bad.npz"), ["not an .npz file"]),
        (("neighbors", "points.npz"), ["points.npz has samples of shape (2,), digits of shape (1, 8, 8)"]),
        (
            ("neighbors", "points.npz", "--data", "moons", "--shown", 0),
            ["shown must be at least 1"],
        ),
    ],
)
def test_refusals(refused, folder, arguments, says):
    (folder / "bad.npz").write_bytes(b"nothing")
    np.savez(folder / "points.npz", samples=np.zeros((4, 2), np.float32))
    refused(*arguments, says=says)


def test_a_run_in_pictures(ok, folder):
    words = ok("trajectory", "--steps", 6, "--num-samples", 3, "--frames", 4, "--out", "t.png").stdout
    assert words.split("\n")[0].split(", ")[-1] == "end"
    alone = np.asarray(image_grid(np.zeros((4, 1, 8, 8)), columns=4))
    assert Image.open(folder / "t.png").width == alone.shape[1]  # a column for each frame
    drawn = sample(digits_exact(), shape=(3, 1, 8, 8), steps=6)
    expected = np.asarray(image_grid(drawn.numpy(), columns=1))
    assert np.array_equal(np.asarray(Image.open(folder / "t.png"))[:, -expected.shape[1] + 1 :], expected[:, 1:])


@pytest.mark.parametrize("model", ["digits-exact", "eight-gaussians"])
def test_a_run_as_a_film(ok, folder, model):
    ok("trajectory", "--model", model, "--sampler", "em", "--steps", 8, "--frames", 5, "--what", "x0", "--out", "t.gif")
    film = Image.open(folder / "t.gif")
    assert film.n_frames == 5
    first = np.asarray(film.convert("RGB")).astype(int)
    film.seek(4)
    assert np.abs(np.asarray(film.convert("RGB")) - first).max() > 50


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--what", "eps"), ["what must be state or x0, got 'eps'"]),
        (("--frames", 1), ["frames must be from 2 to 1000, got 1"]),
        (("--out", "a.mp4"), ["--out a.mp4 must end in .png or .gif"]),
        (("--sampler", "embedded"), ["embedded adapts its steps per sample"]),
        (("--steps", 0), ["steps must be at least 1, got 0"]),
    ],
)
def test_no_run_in_pictures(refused, arguments, says):
    refused("trajectory", *arguments, says=says)


def test_interpolation_begins_and_ends_with_samples(ok, folder):
    """The starts are those of `sample`, and a condition and guidance hold all along."""
    ok("interpolate", "--pairs", 2, "--between", 4, "--steps", 5, "--out", "a.png")
    ok("interpolate", "--pairs", 2, "--between", 4, "--steps", 5, "--class", 3, "--guidance", 2, "--out", "b.gif")
    ok("sample", "--num-samples", 4, "--steps", 5, "--out", "ends.png")
    with Image.open("a.png") as made, Image.open("ends.png") as ends:
        rows, want = np.asarray(made), np.asarray(ends)
    size = 2 + 48
    cell = lambda picture, i, j: picture[2 + i * size : 50 + i * size, 2 + j * size : 50 + j * size]  # noqa: E731
    for row in (0, 1):
        assert (cell(rows, row, 0) == cell(want, 0, row)).all()  # of 2 x 2: the first two samples are the left ends
        assert (cell(rows, row, 3) == cell(want, 1, row)).all()


def test_points_on_their_way_are_as_many_as_show_a_law(ok, folder, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "difftool.runs.pictures.beside", lambda sets, titles, file, data=None: drawn.update(sets=sets, data=data)
    )
    ok("trajectory", "--model", "eight-gaussians", "--steps", 5, "--frames", 3)
    assert [len(x) for x in drawn["sets"]] == [2000] * 3
    assert torch.equal(drawn["data"], drawn["sets"][-1])
    ok("trajectory", "--model", "eight-gaussians", "--steps", 5, "--num-samples", 7, "--force")
    assert len(drawn["data"]) == 7
    ok("trajectory", "--steps", 5, "--force")
    assert len(drawn["data"]) == 8  # pictures


RUNS = [("sample",), ("trajectory",), ("trajectory", "--out", "a.gif"), ("interpolate", "--pairs", 2)]


@pytest.mark.parametrize("line", [*RUNS[1::2], *slow(*RUNS[::2])], ids=lambda line: " ".join(map(str, line)))
def test_a_run_shows_its_steps_on_a_terminal_only(cli, monkeypatch, line):
    options = ("--model", "eight-gaussians", "--steps", 12)
    assert cli(*line, *options).stderr == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    shown = cli(*line, *options, *(("--force",) if line[0] != "sample" else ())).stderr
    assert "steps/s" in shown
    assert "/12" in shown


WRITING = [
    ("sample --steps 3 --out a.npz", "a.npz"),
    ("trajectory --steps 3 --out a.png", "a.png"),
    ("interpolate --steps 3 --pairs 1 --out a.png", "a.png"),
    ("forward --out a.png", "a.png"),
    ("neighbors s.npz --out a.png", "a.png"),
    ("plan ddim --out a.json", "a.json"),
]


@pytest.mark.parametrize(("line", "file"), WRITING)
def test_what_is_written_is_told_in_the_same_words(ok, folder, line, file):
    np.savez(folder / "s.npz", samples=dataset("train").all().x[:3].numpy())
    last = ok(*line.split()).stdout.splitlines()[-1]
    assert last.split() == ["written", "to", file]


def test_nearer_than_fresh_data_is_explained(ok, folder):
    train, held_out = dataset("train").all().x, dataset("held-out").all().x
    np.savez(folder / "heart.npz", samples=train[:20].numpy())
    np.savez(folder / "far.npz", samples=(held_out[:20] + 1).numpy())
    for name, explained in (("heart", True), ("far", False)):
        out = ok("neighbors", f"{name}.npz", "--against", "digits:split=held-out", "--out", f"{name}.png").stdout
        assert ("otherwise memorized" in out) == explained
    assert "memorized" not in ok("neighbors", "heart.npz", "--out", "alone.png").stdout
