"""Grids: end points, spacing in their own variable, bad input."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered import SCHEDULES

from difftool.checks import check_grid
from difftool.errors import DifftoolError
from difftool.grids import Explicit, FlowGrid, Grid, HalfLogSNR, Karras, Quadratic, Uniform
from difftool.schedules import Cosine, Flow, Laplace, Path, VPLinear

GRIDS = [Uniform(), Quadratic(), FlowGrid(), FlowGrid(a=4 / 3, b=5 / 3), HalfLogSNR(), Karras(), Karras(rho=1.5)]
schedules, grids = st.sampled_from(SCHEDULES), st.sampled_from(GRIDS)


@given(schedules, grids, st.sampled_from([1, 2, 3, 10, 999, 1000]))
def test_from_start_to_clean_data(schedule, grid, steps):
    times = grid(schedule, steps)
    assert len(times) == steps + 1
    assert times[0] == schedule.t_start(grid.needs_level)
    assert times[-1] == schedule.domain[0]
    Path(schedule, times)  # finite, strictly falling, in the domain


@given(schedules, grids, st.integers(1, 40), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_given_ends_are_kept_and_up_mirrors_down(schedule, grid, steps, a, b):
    low, high = schedule.domain
    a, b = (low + u * (high - low) for u in sorted((a, b)))
    if b - a < 1e-6 * (high - low):
        return
    down = replace(grid, start=b, end=a)(schedule, steps)
    assert (down[0], down[-1]) == (b, a)
    assert replace(grid, start=a, end=b)(schedule, steps) == down[::-1]


def spacing(values):
    return np.array([b - a for a, b in pairwise(values)])


@given(schedules, st.integers(2, 50))
def test_equal_steps_in_their_own_variable(schedule, steps):
    t = spacing(Uniform()(schedule, steps))
    assert t == pytest.approx(np.full(steps, t[0]), rel=1e-9)
    s = spacing([schedule.at(t).flow for t in FlowGrid()(schedule, steps)])
    assert s == pytest.approx(np.full(steps, s[0]), rel=1e-6)
    regular = HalfLogSNR()(schedule, steps)[:-1]
    level = np.diff([np.log(schedule.level(t)) for t in regular])
    # laplace has its large levels within 1e-12 of t = 1, where float64 keeps four digits of 1 - t
    near = {"rel": 1e-4 if isinstance(schedule, Laplace) else 1e-6}
    assert level == pytest.approx(np.full(steps - 1, level.mean()), **near)
    level = np.diff([schedule.level(t) ** (1 / 7) for t in Karras()(schedule, steps)[:-1]])
    assert level == pytest.approx(np.full(steps - 1, level.mean()), **near)


def test_karras_is_the_published_formula():
    """Karras et al. 2022, eq. 5, in levels: 18 steps, sigma 80 .. 0.002, rho 7, then 0."""
    from difftool.schedules import VE

    n, rho = 18, 7.0
    i = np.arange(n)
    paper = (80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    assert Karras()(VE(), n) == pytest.approx([*paper, 0.0], rel=1e-9)


def test_the_flow_grid_formula():
    n, a, b = 9, 4 / 3, 5 / 3
    expected = (1 - (np.arange(n + 1) / n) ** a) ** b
    assert FlowGrid(a=a, b=b)(Flow(), n) == pytest.approx(list(expected), abs=1e-12)


@given(schedules, grids)
def test_a_level_grid_last_jumps_from_level_min(schedule, grid):
    if grid.needs_level:
        assert schedule.level(grid(schedule, 8)[-2]) == pytest.approx(grid.level_min, rel=1e-6)


@given(schedules, st.sampled_from([HalfLogSNR(), Karras()]), st.floats(1e-4, 0.01), st.integers(1, 9))
def test_a_level_grid_may_start_below_level_min(schedule, grid, level, steps):
    times = replace(grid, start=schedule.t_at_level(level))(schedule, steps)
    assert Path(schedule, times).downwards


@pytest.mark.parametrize("steps", [0, -1, 2.5, "3", True, None])
def test_bad_steps(steps):
    with pytest.raises(DifftoolError, match="whole number of at least 1"):
        Uniform()(Flow(), steps)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Karras(rho=0.0), "rho > 0"),
        (lambda: Karras(level_min=-1.0), "level_min"),
        (lambda: FlowGrid(a=0.0), "a > 0"),
        (lambda: Explicit(times=(1.0,)), "at least two"),
        (lambda: Explicit(times=(1.0, 0.0))(Flow(), 3), "has 1 steps, asked for 3"),
        (lambda: Explicit(times=(1.0, 0.0), start=0.5)(Flow(), 1), "start is 1"),
        (lambda: Uniform(start=2.0)(Flow(), 3), "start is 2.0"),
        (lambda: Uniform(end=float("nan"))(Flow(), 3), "end is nan"),
        (lambda: Uniform(start=0.5, end=0.5)(Flow(), 3), "differ"),
        (lambda: Karras(start=1.0)(Cosine(), 3), "finite noise level"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(DifftoolError) as caught:
        make()
    assert words in str(caught.value)


def test_start_is_set_once():
    assert Uniform().starting(0.7)(VPLinear(), 2)[0] == 0.7
    assert Uniform(start=0.9).starting(0.7)(VPLinear(), 2)[0] == 0.9


@dataclass(frozen=True)
class Short(Grid):
    """One time too few."""

    def between(self, schedule, steps, start, end):
        return Uniform().between(schedule, max(steps - 1, 1), start, end)


@dataclass(frozen=True)
class Repeating(Grid):
    """The same time twice."""

    def between(self, schedule, steps, start, end):
        times = Uniform().between(schedule, steps, start, end)
        return times[:1] + times[:1] + times[2:] if steps > 2 else times


@dataclass(frozen=True)
class Dice(Grid):
    """Other times each time."""

    seen: list = field(default_factory=list)

    def between(self, schedule, steps, start, end):
        self.seen.append(1)
        return [t * (1 - 1e-6 * len(self.seen)) for t in Uniform().between(schedule, steps, start, end)]


@pytest.mark.parametrize(
    "grid", [*GRIDS, Explicit(times=(0.9, 0.5, 0.1)), replace(Karras(), start=0.9, end=0.1)], ids=str
)
def test_the_contract_of_grids(grid):
    for finding in check_grid(grid):
        assert finding.ok, finding


@pytest.mark.parametrize(
    ("wrong", "law"), [(Short(), "steps + 1"), (Repeating(), "falling"), (Dice(), "twice")], ids=str
)
def test_the_contract_rejects(wrong, law):
    assert any(law in finding.check for finding in check_grid(wrong) if not finding.ok)


def test_more_steps_than_anyone_takes():
    with pytest.raises(DifftoolError, match="at most 1000000"):
        Uniform()(VPLinear(), 10**12)


@pytest.mark.parametrize("times", ["abc", None, (1.0, "x")])
def test_times_that_are_no_numbers(times):
    with pytest.raises(DifftoolError, match="takes times"):
        Explicit(times=times)
