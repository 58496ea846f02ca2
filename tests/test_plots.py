"""Pictures of samples: what is in them, not how they look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from difftool.plots import scatter


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
