"""Pictures of samples: what is in them, not how they look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from difftool.outputs.plots import animation, beside, scatter


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """What a scatter of points shows: its title, and the points in it."""

    def draw(points):
        figures: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **options: figures.append(figure))
        scatter(points, "points", tmp_path / "points.png", {})
        (figure,) = figures
        return figure.get_suptitle(), figure.axes[0].collections[0].get_offsets()

    return draw


@pytest.mark.parametrize("value", [1e5, math.inf, math.nan])
@pytest.mark.parametrize(("far", "count"), [(1, 6), (1, 500), (40, 500)])
def test_samples_far_away_do_not_hide_the_others(drawn, far, count, value):
    points = np.random.default_rng(0).normal(size=(count, 2))
    points[:far] = value
    title, shown = drawn(points)
    assert title == f"points; {far} of {count} samples lie far outside"
    assert np.array_equal(shown, points[far:])


@pytest.mark.parametrize("coordinate", [0.0, 1e-3])
def test_all_others_are_drawn(drawn, coordinate):
    """Normal ones; all in one place; some beside a line, at a hundredth of its length."""
    normal = np.random.default_rng(0).normal(size=(5000, 2))
    line = np.stack([np.linspace(-1, 1, 100), np.zeros(100)], 1)
    line[:4, 1] = coordinate
    for points in (normal, np.full((4, 2), coordinate), line, normal[:1]):
        title, shown = drawn(points)
        assert title == "points"
        assert np.array_equal(shown, points)


@pytest.mark.parametrize("value", [1e5, math.inf, math.nan])
@pytest.mark.parametrize("as_film", [False, True], ids=["beside", "film"])
def test_axes_are_those_of_the_most_samples_at_the_end(tmp_path, monkeypatch, value, as_film):
    """The start is wider, and one sample ran away."""
    draw, figures = np.random.default_rng(0), []
    end = draw.uniform(-1, 1, size=(500, 2))
    end[0] = value
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **o: (figures.append(f), savefig(f, *a, **o)))
    sets = [draw.normal(size=(500, 2)) * 20, end, end]
    (animation if as_film else beside)(sets, ["a", "b", "c"], tmp_path / "a", end)
    axes = [axes for figure in figures for axes in figure.axes]
    assert len(axes) == 3
    for one in axes:
        for limits in (one.get_xlim(), one.get_ylim()):
            assert limits == pytest.approx((-1.4, 1.4), abs=0.02)
        assert np.array_equal(one.collections[0].get_facecolors(), axes[0].collections[0].get_facecolors())


@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (1, 2)], ids=["wide", "square", "tall"])
@pytest.mark.parametrize("kind", [scatter, beside])
def test_no_wide_empty_margins(tmp_path, kind, shape):
    """Of the picture's height and width the plots take most, and of the plots the points."""
    points = np.random.default_rng(0).uniform(-1, 1, size=(3000, 2)) * shape + 5
    file = tmp_path / "a.png"
    if kind is scatter:
        scatter(points, "points", file, {})
    else:
        beside([points, points], ["a", "b"], file)
    picture = np.asarray(Image.open(file).convert("RGB"))
    assert picture.shape[1] / picture.shape[0] > 1.3 * shape[0] / shape[1]  # two of them
    inked = (picture.max(2) < 250) | (np.ptp(picture, axis=2) > 5)
    rows, columns = (np.flatnonzero(inked.mean(axis) > 0.1) for axis in (1, 0))
    assert np.ptp(rows) > 0.75 * len(picture)
    assert np.ptp(columns) > (0.75 if shape != (1, 2) else 0.6) * picture.shape[1]


def sets_of(count):
    return list(np.random.default_rng(0).normal(size=(9, count, 2)))


def test_few_points_are_followed(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **options: figures.append(figure))
    for count in (8, 2000):
        sets = sets_of(count)
        beside(sets, list("abcdefghi"), tmp_path / "a.png", sets[-1])
    few, many = figures
    trails = [path.vertices for path in few.axes[4].collections[1].get_paths()]
    np.testing.assert_array_equal(trails, np.stack(sets_of(8)[:5], 1))
    assert all(len(axes.collections) == 1 for axes in many.axes)
    assert few.get_figwidth() < 1.1 * few.get_figheight() < 1.3 * few.get_figwidth()  # 3 x 3, no strip
