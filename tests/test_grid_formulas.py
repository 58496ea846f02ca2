"""Grids: each formula in a second way, in numpy, as its paper or the tool that it is known from has it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from registered import SCHEDULES

from difftool.errors import DifftoolError
from difftool.grids import (
    AYS,
    GITS,
    Beta,
    BetaEntries,
    BetaLevel,
    Explicit,
    FlowGrid,
    HalfLogSNR,
    Karras,
    KLOptimal,
    LinearQuadratic,
    Normal,
    PolyExponential,
    SGMUniform,
    Simple,
    Uniform,
    ddim_uniform,
    from_file,
)
from difftool.schedules import VE, Flow, Laplace, ScaledLinear, Shifted, VPLinear

schedules = st.sampled_from(SCHEDULES)


def latent_table():
    """sigma / alpha of latent diffusion's 1000 entries."""
    alpha_bar = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    return np.sqrt((1 - alpha_bar) / alpha_bar)


def levels(grid, steps, schedule=None):
    schedule = schedule or ScaledLinear()
    return [schedule.level(t) for t in grid(schedule, steps)]


@given(schedules, st.integers(2, 50))
def test_equal_steps_in_their_own_variable(schedule, steps):
    # laplace has its large levels within 1e-12 of t = 1, where float64 keeps four digits of 1 - t
    near = {"rel": 1e-4 if isinstance(schedule, Laplace) else 1e-6}

    def even(values):
        step = np.diff(values)
        assert step == pytest.approx(np.full(len(step), step.mean()), **near)

    even(Uniform()(schedule, steps))
    even([schedule.at(t).flow for t in FlowGrid()(schedule, steps)])
    even([np.log(schedule.level(t)) for t in HalfLogSNR()(schedule, steps)[:-1]])
    even([schedule.level(t) ** (1 / 7) for t in Karras()(schedule, steps)[:-1]])
    even([np.arctan(schedule.level(t)) for t in KLOptimal()(schedule, steps)[:-1]])


@pytest.mark.parametrize("n", [2, 5, 18, 50])
def test_the_formulas_in_the_noise_level(n):
    """k-diffusion's functions, Karras et al. 2022 eq. 5 and ComfyUI's kl_optimal, on levels 80 .. 0.002, then 0."""
    top, low, ramp = 80.0, 0.002, np.linspace(0, 1, n)
    published = {
        Karras(): (top ** (1 / 7) + ramp * (low ** (1 / 7) - top ** (1 / 7))) ** 7,
        HalfLogSNR(): np.exp(np.linspace(np.log(top), np.log(low), n)),
        PolyExponential(rho=2.5): np.exp(np.linspace(1, 0, n) ** 2.5 * (np.log(top) - np.log(low)) + np.log(low)),
        KLOptimal(): np.tan(ramp * np.arctan(low) + (1 - ramp) * np.arctan(top)),
        BetaLevel(alpha=0.7, beta=0.9): low + scipy.stats.beta.ppf(1 - ramp, 0.7, 0.9) * (top - low),
    }
    for grid, expected in published.items():
        assert levels(grid, n, VE()) == pytest.approx([*expected, 0.0], rel=1e-9), grid


def test_the_flow_grid_formula():
    n, a, b = 9, 4 / 3, 5 / 3
    expected = (1 - (np.arange(n + 1) / n) ** a) ** b
    assert FlowGrid(a=a, b=b)(Flow(), n) == pytest.approx(list(expected), abs=1e-12)


# --- as ComfyUI has them, on the 1000 levels of latent diffusion -----------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 20, 30, 48, 333, 999, 1000])
def test_simple(n):
    table = latent_table()
    expected = [table[-(1 + int(k * (1000 / n)))] for k in range(n)]
    assert levels(Simple(), n) == pytest.approx([*expected, 0.0], rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 4, 10, 20, 50, 500])
def test_ddim_uniform_where_the_steps_divide_the_table(n):
    expected = latent_table()[1 :: 1000 // n][::-1]
    assert levels(ddim_uniform(), n) == pytest.approx([*expected, 0.0], rel=1e-9)


@pytest.mark.parametrize("n", [3, 30, 48, 300, 999])
def test_ddim_uniform_where_they_do_not(n):
    """The same entries; the first of them, which are more steps than were asked for, are left out."""
    expected = latent_table()[1 :: 1000 // n][::-1][-n:]
    assert levels(ddim_uniform(), n) == pytest.approx([*expected, 0.0], rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 10, 35, 1000])
def test_normal_and_sgm_uniform(n):
    def at(timesteps):
        return np.exp(np.interp(timesteps, np.arange(1000), np.log(latent_table())))

    assert levels(Normal(), n) == pytest.approx([*at(np.linspace(999, 0, n)), 0.0], rel=1e-9)
    assert levels(SGMUniform(), n) == pytest.approx([*at(np.linspace(999, 0, n + 1)[:-1]), 0.0], rel=1e-9)


def test_normal_and_sgm_uniform_below_their_first_entry():
    assert Normal(start=0.001)(Flow(), 3) == pytest.approx((0.001, 0.00075, 0.0005, 0))
    assert SGMUniform(start=0.001)(Flow(), 2) == pytest.approx((0.001, 0.00075, 0))
    for grid in (Normal(end=0.2), SGMUniform(end=0.2)):
        assert grid(Flow(), 4) == Uniform(end=0.2)(Flow(), 4)


@pytest.mark.parametrize("n", [1, 2, 10, 40, 200])
def test_beta(n):
    q = scipy.stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6)
    assert Beta()(Flow(), n) == pytest.approx([*q, 0.0], abs=1e-12)
    entries = np.rint(q * 999).astype(int)
    if len(set(entries)) == n:
        assert levels(BetaEntries(), n) == pytest.approx([*latent_table()[entries], 0.0], rel=1e-9)
    else:
        with pytest.raises(DifftoolError, match=f"has {len(set(entries))} distinct entries"):
            BetaEntries()(ScaledLinear(), n)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 30, 101])
@pytest.mark.parametrize("d", [0.025, 0.3])
def test_linear_quadratic(n, d):
    """A line to (h, d), then the parabola that continues it to (n, 1), by its three conditions."""
    h = n // 2
    parabola = np.linalg.solve([[h * h, h, 1], [2 * h, 1, 0], [n * n, n, 1]], [d, d / h, 1.0])
    i = np.arange(n + 1)
    left = 1 - np.where(i <= h, d * i / h, np.polyval(parabola, i))
    assert LinearQuadratic(d)(Flow(), n) == pytest.approx(list(left), abs=1e-9)
    in_levels = levels(LinearQuadratic(d, variable="level"), n)
    assert in_levels == pytest.approx(list(left * latent_table()[-1]), abs=1e-8)


def test_linear_quadratic_of_one_step():
    assert LinearQuadratic()(Flow(), 1) == (1.0, 0.0)


# --- published noise levels ------------------------------------------------------------------------------------------

SVD = [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002]
GITS_1_20 = [  # as published, coefficient 1.20
    [14.61464119, 0.803307],
    [14.61464119, 2.84484982, 1.24153244, 0.59516323, 0.25053367],
    [14.61464119, 5.85520077, 2.84484982, 1.67050016, 1.08895338, 0.74807048, 0.50118381, 0.32104823, 0.19894916,
     0.09824532],
    [14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.19988537, 1.61558151, 1.24153244, 0.95350921, 0.74807048,
     0.59516323, 0.50118381, 0.41087446, 0.34370604, 0.29807833, 0.25053367, 0.22545385, 0.19894916, 0.17026083,
     0.13792117, 0.09824532],
]  # fmt: skip


@pytest.mark.parametrize("n", [5, 10, 11, 20, 37])
def test_ays_is_log_linear_between_the_published_levels(n):
    table = latent_table()[[999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0]]
    for grid, published, schedule in [(AYS("svd"), SVD, VE(sigma_max=700.0)), (AYS(), table, ScaledLinear())]:
        expected = np.exp(np.interp(np.arange(n) * 10 / n, np.arange(11), np.log(published)))
        assert levels(grid, n, schedule) == pytest.approx([*expected, 0.0], rel=1e-9)


@pytest.mark.parametrize("published", GITS_1_20, ids=len)
def test_gits_are_the_published_levels(published):
    # published from a table in float32, of which its smallest levels keep four digits
    assert levels(GITS(), len(published)) == pytest.approx([*published, 0.0], rel=1e-4)


def test_gits_beyond_twenty_steps():
    row = [*GITS_1_20[-1], 0.02916753]
    expected = np.exp(np.interp(np.arange(45) * 20 / 45, np.arange(21), np.log(row)))
    assert levels(GITS(), 45) == pytest.approx([*expected, 0.0], rel=1e-4)  # float32, see above


@pytest.mark.parametrize("grid", [AYS(), AYS("sdxl"), GITS()], ids=str)
def test_published_levels_on_other_schedules(grid):
    """Only the ends give way: levels that a run does not reach are cut, levels beyond the table stretch its ends."""
    own = levels(grid, 10)
    for schedule in (VPLinear(), VE(), Shifted(ScaledLinear(), 3.0)):  # these start above 14.6
        assert levels(grid, 10, schedule)[1:] == pytest.approx(own[1:], rel=1e-7)


@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_a_late_start_is_the_tail_of_the_published_levels(model):
    own, schedule = levels(AYS(model), 10), ScaledLinear()
    late = AYS(model, start=schedule.t_at_level(own[3]))
    assert levels(late, 7) == pytest.approx(own[3:], rel=1e-9)
    early_end = AYS(model, end=schedule.t_at_level(own[8]))
    assert levels(early_end, 8) == pytest.approx(own[:9], rel=1e-9)
    beyond = levels(AYS(model, end=schedule.t_at_level(0.001)), 10)
    assert beyond == pytest.approx([*own[:10], 0.001], rel=1e-9)


# --- the user's own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: Explicit(times=(1.0,)), "at least two"),
        (lambda: Explicit(times="abc"), "takes times"),
        (lambda: Explicit(times=None), "takes times"),
        (lambda: Explicit(times=(1.0, "x")), "takes times"),
        (lambda: Explicit(times=(1.0, 0.0))(Flow(), 3), "has 1 steps, got steps=3"),
        (lambda: Explicit(times=(1.0, 0.0), start=0.5)(Flow(), 1), "start is 1"),
        (lambda: Explicit(times=(1.0, 0.0), what="sigma"), "what=level or what=entry, got 'sigma'"),
        (lambda: Explicit(times=(1.0, -1.0), what="level"), "noise levels >= 0 with what=level, got -1"),
        (lambda: Explicit(times=(1.0, float("nan")), what="level"), "got nan"),
        (lambda: Explicit(times=(90, 85, 1), what="level")(VE(), 2), "2 noise levels at or above 80"),
    ],
)
def test_bad_explicit_grids(make_it, words):
    with pytest.raises(DifftoolError) as caught:
        make_it()
    assert words in str(caught.value)


@given(schedules)
def test_explicit_levels(schedule):
    given_levels = (0.9, 0.3, 0.1, 0.0)
    down = Explicit(times=given_levels, what="level")
    assert levels(down, 3, schedule) == pytest.approx(list(given_levels), rel=1e-6)
    assert Explicit(times=given_levels[::-1], what="level")(schedule, 3) == down(schedule, 3)[::-1]


def test_a_level_above_the_schedule_is_its_end():
    assert Explicit(times=(700.0, 1.0, 0.0), what="level")(VE(), 2) == (80.0, 1.0, 0.0)
    assert Explicit(times=(float("inf"), 1.0, 0.0), what="level")(Flow(), 2) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    "text", ["1\n0.5\n0\n", "[1, 0.5, 0]", " \n# times\n 1e0 # first\n\n.5\n0", "\n[1.0,\n 5e-1, 0]\n", "1\r\n0.5\r\n0"]
)
def test_a_file_of_times(tmp_path, text):
    file = tmp_path / "grid.txt"
    file.write_text(text)
    assert from_file(file) == Explicit(times=(1.0, 0.5, 0.0))
    assert from_file(file, what="level") == Explicit(times=(1.0, 0.5, 0.0), what="level")
    with pytest.raises(DifftoolError, match=r"start is 1, got start=0\.7"):
        from_file(file, start=0.7)(Flow(), 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at least two numbers, got 0"),
        (b"1\n", "at least two numbers, got 1"),
        (b"[]", "at least two numbers, got 0"),
        (b"1\nabc\n0", "line 2 of the grid file {} is 'abc', not a finite number"),
        (b"# a\n1\n\nnan", "line 4 of the grid file {} is 'nan'"),
        (b"1 0.5 0", "line 1 of the grid file {} is '1 0.5 0'"),
        (b"[1, null]", "entry 1 of the grid file {} is None"),
        (b"[true, 0]", "entry 0 of the grid file {} is True"),
        (b"[1, NaN]", "entry 1 of the grid file {} is nan"),
        (b"[1, [0]]", "entry 1 of the grid file {} is [0]"),
        (b"[1" + b"0" * 400 + b", 0]", "entry 0 of the grid file {} is 1000000"),
        (b"[1, 0", "is not a JSON list of numbers"),
        (b"[" * 100_000, "is not a JSON list of numbers"),
        (b'{"times": [1, 0]}', "got a JSON object"),
        (b"\x80\x04\x95\xff", "is not a text file"),
    ],
)
def test_a_bad_file(tmp_path, content, words):
    file = tmp_path / "grid.json"
    file.write_bytes(content)
    with pytest.raises(DifftoolError) as caught:
        from_file(file)
    assert words.format(file) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_no_file(tmp_path):
    with pytest.raises(DifftoolError, match=r"cannot read .*: No such file"):
        from_file(tmp_path / "none.txt")
    with pytest.raises(DifftoolError, match="cannot read"):
        from_file(tmp_path)


def test_json_and_lines_are_the_same_file(tmp_path):
    values = list(np.random.default_rng(0).random(5))
    (tmp_path / "a").write_text("\n".join(map(repr, map(float, values))))
    (tmp_path / "b").write_text(json.dumps(values))
    assert from_file(tmp_path / "a") == from_file(tmp_path / "b")
