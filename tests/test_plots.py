"""Pictures of samples: what is in them, not how they look."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from difftool.plots import scatter


@pytest.mark.parametrize("far", [0, 1, 3])
def test_samples_far_away_do_not_hide_the_others(tmp_path, monkeypatch, far):
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **options: drawn.append(figure))
    points = np.random.default_rng(0).normal(size=(500, 2))
    points[:far] = 1e5
    scatter(points, "points", tmp_path / "points.png", {})
    (figure,) = drawn
    assert max(map(abs, figure.axes[0].get_xlim())) < 10
    assert figure.get_suptitle() == ("points" if far == 0 else f"points; {far} of 500 samples lie far outside")


def test_points_in_one_place_are_all_drawn(tmp_path):
    scatter(np.zeros((4, 2)), "points", tmp_path / "points.png", {})
    assert (tmp_path / "points.png").stat().st_size > 1000
