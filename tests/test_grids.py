"""Grids: what holds for all of them. Ends, order, mirror, refinement, bad input, the contract."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered import GIVEN_GRIDS, GRIDS, SCHEDULES

from difftool.checks import check_grid
from difftool.errors import DifftoolError
from difftool.grids import (
    AYS,
    Beta,
    BetaEntries,
    BetaLevel,
    Explicit,
    FlowGrid,
    Grid,
    Karras,
    Leading,
    LevelGrid,
    LinearQuadratic,
    Linspace,
    Normal,
    PolyExponential,
    SGMUniform,
    Trailing,
    Uniform,
    ddim_uniform,
)
from difftool.grids.entries import EntryGrid
from difftool.models import NetworkModel
from difftool.names.registry import registry
from difftool.names.specs import make, parse
from difftool.samplers import DDIM
from difftool.sampling import choose, make_path, shifts_nothing, steps_for_nfe, steps_within
from difftool.schedules import VE, Cosine, Flow, Path, Shifted, VPLinear

MADE = {spec: make("grids", spec) for spec in GRIDS}
schedules, grids = st.sampled_from(SCHEDULES), st.sampled_from(list(MADE.values()))


def built_in():
    return {name: entry for name, entry in registry().axis("grids").items() if entry.origin.startswith("difftool ")}


def test_everything_registered_is_held_to_these_laws():
    assert set(built_in()) == {parse(spec)[0] for spec in GRIDS + GIVEN_GRIDS}


def test_grids_know_what_they_are_called():
    aliases = {"exponential": "half-log-snr", "ddim-uniform": "leading", "file": "explicit"}
    for spec in GRIDS + GIVEN_GRIDS:
        name, grid = parse(spec)[0], make("grids", spec)
        assert grid.name == aliases.get(name, name)
        assert grid.reference, spec


def check_run(grid, schedule, steps):
    times = grid(schedule, steps)
    assert len(times) == steps + 1
    start = schedule.t_start(grid.needs_level)
    assert times[0] <= start if grid.own_start else times[0] == start
    assert times[-1] == schedule.domain[0]
    Path(schedule, times)  # finite, strictly falling, in the domain


def refusal(call, *arguments):
    """The text of the `DifftoolError` that a call ends in, if it does."""
    try:
        call(*arguments)
    except DifftoolError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("spec", GRIDS)
def test_from_start_to_clean_data(spec):
    for schedule in SCHEDULES:
        for steps in (1, 2, 3, 5, 10, 50):
            reason = refusal(check_run, MADE[spec], schedule, steps)
            assert not reason or (steps > schedule.entries // 5 and "take fewer" in reason), schedule


@given(schedules, grids, st.sampled_from([999, 1000]))
def test_many_steps_or_a_reason(schedule, grid, steps):
    """1000 steps are too many for some tables of 1000 entries, and for float64 next to t = 1 of laplace."""
    reason = refusal(check_run, grid, schedule, steps)
    assert not reason or (str(steps) in reason and "take fewer steps" in reason and "\n" not in reason)


@pytest.mark.parametrize("spec", GRIDS)
def test_many_steps_on_the_common_schedules(spec):
    for steps in (999, 1000):
        fewer = {"leading:extra=1": 999, "linspace:extra=1": 999, "beta-entries": 50}.get(spec, 1000)
        for schedule in (VPLinear(), VE(), Flow()):
            if steps > fewer:
                with pytest.raises(DifftoolError, match="take fewer steps"):
                    MADE[spec](schedule, steps)
            else:
                check_run(MADE[spec], schedule, steps)


@given(schedules, grids, st.integers(1, 40), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_given_ends_are_kept_and_up_mirrors_down(schedule, grid, steps, a, b):
    low, high = schedule.domain
    a, b = (low + u * (high - low) for u in sorted((a, b)))
    if b - a < 1e-6 * (high - low):
        return
    reason = refusal(replace(grid, start=b, end=a), schedule, steps)
    if reason:  # a table with few entries between a and b
        assert isinstance(grid, EntryGrid) and "take fewer steps" in reason
        return
    down = replace(grid, start=b, end=a)(schedule, steps)
    assert down[-1] == a
    assert down[0] <= b if grid.own_start else down[0] == b
    assert replace(grid, start=a, end=b)(schedule, steps) == down[::-1]


def flow_steps(grid, schedule, steps):
    s = [schedule.at(t).flow for t in grid(schedule, steps)]
    return [a - b for a, b in pairwise(s)]


@pytest.mark.parametrize("spec", GRIDS)
@pytest.mark.parametrize("schedule", [Flow(), VE()], ids=str)
def test_more_steps_refine_what_says_so(spec, schedule):
    """`refines`: the longest step shrinks with more steps. Else the last one stays, or there are no more steps."""
    grid = MADE[spec]
    reason = refusal(grid, schedule, 4000)
    if reason:
        assert not grid.refines and "take fewer steps" in reason
        return
    few, many = (flow_steps(grid, schedule, steps) for steps in (4000, 16000))
    if grid.refines:
        assert max(many) < 0.5 * max(few)
    else:
        assert many[-1] > 0.7 * few[-1]


@given(schedules, grids)
def test_a_level_grid_last_jumps_from_level_min(schedule, grid):
    if isinstance(grid, LevelGrid):
        lowest = grid.level_min or schedule.lowest or 0.002
        top = float(schedule.level(schedule.t_start(True)))
        assert schedule.level(grid(schedule, 8)[-2]) == pytest.approx(min(lowest, top / 2), rel=1e-6)


@given(schedules, grids, st.floats(1e-4, 0.01), st.integers(1, 9))
def test_a_run_may_start_at_a_small_level(schedule, grid, level, steps):
    if grid.needs_level:
        times = replace(grid, start=schedule.t_at_level(level))(schedule, steps)
        assert Path(schedule, times).downwards


@pytest.mark.parametrize("steps", [0, -1, 2.5, "3", True, None])
def test_bad_steps(steps):
    with pytest.raises(DifftoolError, match="whole number of at least 1"):
        Uniform()(Flow(), steps)


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: Karras(rho=0.0), "the karras grid takes rho > 0, got rho=0.0"),
        (lambda: Karras(level_min=-1.0), "karras takes a finite noise level level_min > 0"),
        (lambda: PolyExponential(rho=-1.0), "the polyexponential grid takes rho > 0"),
        (lambda: PolyExponential(rho=float("nan")), "rho > 0"),
        (lambda: PolyExponential(rho=20.0)(VE(), 1000), "does not decrease with 1000 steps"),
        (lambda: FlowGrid(a=0.0), "the flow grid takes a > 0 and b > 0, got a=0.0, b=1.0"),
        (lambda: Beta(alpha=0.0), "the beta grid takes alpha > 0 and beta > 0"),
        (lambda: BetaEntries(length=0), "beta-entries takes a table of length >= 1"),
        (lambda: BetaEntries(beta=float("inf")), "the beta-entries grid takes alpha > 0 and beta > 0"),
        (lambda: BetaEntries(length=100)(Flow(), 90), "distinct entries of 100 for 90 steps; take fewer steps"),
        (lambda: BetaEntries(length=10, start=0.05)(Flow(), 1), "beta-entries takes at most 0 steps"),
        (lambda: BetaLevel(beta=-0.5), "the beta-level grid takes alpha > 0 and beta > 0"),
        (lambda: LinearQuadratic(threshold_noise=0.5), "0 < threshold_noise < 0.5"),
        (lambda: LinearQuadratic(variable="t"), "variable flow or level, got 't'"),
        (
            lambda: LinearQuadratic(variable="level", start=1.0)(Flow(), 3),
            "linear-quadratic needs a finite noise level",
        ),
        (lambda: Normal(length=0), "the normal grid takes length > 0"),
        (lambda: SGMUniform(length=-1), "the sgm-uniform grid takes length > 0"),
        (lambda: Leading(length=0), "leading takes a table of length >= 1"),
        (lambda: Leading(offset=-1), "leading takes offset >= 0 and extra 0 or 1"),
        (lambda: Leading(extra=2), "leading takes offset >= 0 and extra 0 or 1"),
        (lambda: ddim_uniform(length=0), "length >= 1"),
        (lambda: Linspace(extra=-1), "linspace takes extra 0 or 1"),
        (lambda: Trailing()(Flow(), 1001), "trailing takes at most 1000 steps on a table of 1000 entries"),
        (lambda: Trailing(start=0.2)(Flow(), 201), "trailing takes at most 200 steps"),
        (lambda: Trailing(start=0.0004)(Flow(), 1), "trailing takes at most 0 steps"),
        (lambda: AYS(model="sd3"), "ays takes model sd15, sdxl or svd, got 'sd3'"),
        (lambda: AYS(start=1.0)(Flow(), 3), "ays needs a finite noise level to start at"),
        (lambda: Uniform(start=2.0)(Flow(), 3), "start is 2.0"),
        (lambda: Uniform(end=float("nan"))(Flow(), 3), "end is nan"),
        (lambda: Uniform(start=0.5, end=0.5)(Flow(), 3), "differ"),
        (lambda: Karras(start=1.0)(Cosine(), 3), "karras needs a finite noise level"),
    ],
)
def test_bad_input(make_it, words):
    with pytest.raises(DifftoolError) as caught:
        make_it()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_start_is_set_once():
    assert Uniform().starting(0.7)(VPLinear(), 2)[0] == 0.7
    assert Uniform(start=0.9).starting(0.7)(VPLinear(), 2)[0] == 0.9


def test_more_steps_than_anyone_takes():
    with pytest.raises(DifftoolError, match="at most 100000,"):
        Uniform()(VPLinear(), 10**12)


# --- the contract, and grids that break it ---------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Late(Grid):
    """Begins below the start and does not say so."""

    def __call__(self, schedule, steps):
        return tuple(0.9 * t for t in Uniform()(schedule, steps))

    def between(self, schedule, steps, start, end):
        return []


@dataclass(frozen=True)
class Tired(Grid):
    """Has no ten steps, and no excuse."""

    def between(self, schedule, steps, start, end):
        if steps >= 10:
            raise DifftoolError(f"no {steps} steps today, nor 1000")
        return Uniform().between(schedule, steps, start, end)


@pytest.mark.parametrize("spec", [*GRIDS, *GIVEN_GRIDS])
def test_the_contract_of_grids(spec):
    for finding in check_grid(make("grids", spec)):
        assert finding.ok, finding


@pytest.mark.parametrize("grid", [Explicit(times=(0.9, 0.5, 0.1)), replace(Karras(), start=0.9, end=0.1)], ids=str)
def test_the_contract_of_grids_with_ends(grid):
    for finding in check_grid(grid):
        assert finding.ok, finding


@pytest.mark.parametrize(
    ("wrong", "law"),
    [(Short(), "steps + 1"), (Repeating(), "decreasing"), (Dice(), "twice"), (Late(), "start"), (Tired(), "steps + 1")],
    ids=str,
)
def test_the_contract_rejects(wrong, law):
    assert any(law in finding.check for finding in check_grid(wrong) if not finding.ok)


@dataclass(frozen=True)
class Three(Grid):
    """A stranger's grid of three steps, and no other number."""

    own_steps = 3

    def between(self, schedule, steps, start, end):
        return [end + part * (start - end) for part in (1, 0.5, 0.2, 0)]


def test_a_grid_with_steps_of_its_own_is_used_as_an_explicit_one():
    model, three = NetworkModel(lambda x, time: 0 * x, VPLinear(), "v"), Three()
    explicit = Explicit(times=three(VPLinear(), 3))
    for grid in (three, explicit):
        assert make_path(model, DDIM(), grid=grid).times == explicit.times
        assert choose(model, grid=grid) == (choose(model, steps=3)[0], grid)
        assert steps_for_nfe(model, DDIM(), 3, grid=grid) == 3
        assert [steps_within(model, DDIM(), nfe, grid=grid) for nfe in (2, 3, 9)] == [0, 3, 3]
        assert shifts_nothing(grid, Shifted(Flow(), 3.0), None) is None
        assert all(finding.ok for finding in check_grid(grid))
        with pytest.raises(DifftoolError, match="grid has 3 steps, got steps=5"):
            make_path(model, DDIM(), grid=grid, steps=5)
        with pytest.raises(DifftoolError, match=r"exactly 5 evaluations here; the closest: 3 \(steps=3\)"):
            steps_for_nfe(model, DDIM(), 5, grid=grid)


def test_a_grid_that_repeats_a_time_says_which():
    with pytest.raises(
        DifftoolError, match=r"Repeating does not decrease with 5 steps: time 0 is 1\.0, time 1 is 1\.0"
    ):
        Repeating()(Flow(), 5)
