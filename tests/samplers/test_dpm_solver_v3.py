"""DPM-Solver-v3: its weights by an ODE solver, its corrector by hand, its pseudo order as the published code has it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.interpolate import CubicHermiteSpline

from difftool.errors import DifftoolError, NotAffine
from difftool.plan import trace
from difftool.samplers import DPMSolverV3, Statistics
from difftool.samplers.adams import exponential_adams
from difftool.samplers.dpm_solver_v3 import weights
from difftool.samplers.statistics import NAMES, Curve
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear

KNOTS = np.linspace(-5, 5, 21)
FITTED = Statistics(KNOTS, 1 / (1 + 0.4 * np.exp(2 * KNOTS)), 0.5 * np.cos(KNOTS), 0.2 * np.sin(KNOTS))
AFFINE = Statistics(FITTED.half_log_snr, FITTED.l, FITTED.s, 0 * KNOTS)
NODES = [0.7, 0.1, -0.8]  # newest first
T = 1.6


def model(x, p):
    return x / p.alpha if p.sigma == 0 else np.tanh(x / (p.alpha + p.sigma)) * (1 + 0.3 * p.flow)


def run(sampler, path, x=0.8):
    return sampler(model, x, path, None)


@st.composite
def paths(draw, least=3):
    schedule = draw(st.sampled_from([VPLinear(), Cosine(), VE(), Flow()]))
    s = draw(st.lists(st.integers(2, 95), min_size=least + 1, max_size=8, unique=True))
    times = [schedule.t_at_flow(v / 100) for v in sorted(s, reverse=True)]
    return Path(schedule, [*times, schedule.domain[0]] if draw(st.booleans()) else times)


@given(paths(), st.sampled_from([1, 2, 3]), st.booleans())
def test_without_statistics_it_is_exponential_adams_on_x0(path, order, taper):
    a, b = DPMSolverV3(order, taper=taper, corrector=False), exponential_adams(order, taper=taper)
    assert run(a, path) == pytest.approx(run(b, path), abs=1e-9)


def solution(g, s=NODES[0], t=T, fitted=FITTED):
    """(f at the nodes, y_t from y_s = 0.6) for df/du = s f + b + e^S g', which is what makes g a polynomial."""
    linear, r, b = fitted.curves
    slope = np.polyder(g)

    def f_slope(u, f):
        return r(u) * f + b(u) + math.exp(r.integral(s, u)) * np.polyval(slope, u)

    def both(u, v):
        return [-linear(u) * v[0] - v[1], f_slope(u, v[1])]

    at = {"rtol": 1e-12, "atol": 1e-13, "max_step": 0.1}
    start = np.polyval(g, s)
    f = [solve_ivp(f_slope, (s, u), [start], **at).y[0, -1] if u != s else start for u in NODES]
    return f, solve_ivp(both, (s, t), [0.6, start], **at).y[0, -1]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_step_is_exact_where_g_is_a_polynomial(order):
    g = [0.4, -0.7, 0.9][3 - order :]
    f, exact = solution(g)
    gain, w, constant = weights(NODES[0], T, NODES[:order], FITTED)
    assert gain * 0.6 - np.dot(w, f[:order]) - constant == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_a_step_is_not_exact_one_order_higher(order):
    f, exact = solution([0.4, -0.7, 0.9, 0.3][3 - order :])
    gain, w, constant = weights(NODES[0], T, NODES[:order], FITTED)
    assert abs(gain * 0.6 - np.dot(w, f[:order]) - constant - exact) > 1e-3


@pytest.mark.parametrize("order", [2, 3])
def test_the_pseudo_order_as_published(order):
    """Divided differences D_i in place of g^(i) / i!, in the Taylor polynomial about s."""
    f, (s, *_) = np.array([0.3, -0.5, 0.9]), NODES
    linear, r, _ = AFFINE.curves
    g = [math.exp(-r.integral(s, u)) * value for u, value in zip(NODES[:order], f, strict=False)]
    table = [g]
    for i in range(1, order):
        table.append([(table[-1][j] - table[-1][j + 1]) / (NODES[j] - NODES[i + j]) for j in range(order - i)])

    def integrand(u):
        taylor = sum(row[0] * (u - s) ** i for i, row in enumerate(table))
        return math.exp(r.integral(s, u) - linear.integral(u, T)) * taylor

    gain, w, constant = weights(s, T, NODES[:order], AFFINE, pseudo=True)
    assert constant == 0
    assert gain == pytest.approx(math.exp(-linear.integral(s, T)), rel=1e-12)
    assert np.dot(w, f[:order]) == pytest.approx(
        quad(integrand, s, T, points=KNOTS[(s < KNOTS) & (KNOTS < T)])[0], abs=1e-10
    )


@pytest.mark.parametrize("pseudo", [False, True])
def test_the_corrector_by_hand(pseudo):
    """Three steps of order 2: predict, ask, correct with the same f at the corrected state, predict."""
    path = Path(VPLinear(), [0.8, 0.6, 0.5, 0.35])
    u, linear = [p.half_log_snr for p in path], AFFINE.curves[0]

    def f_of(x, i):
        p = path[i]
        return (p.sigma * (x - p.alpha * model(x, p)) / p.sigma - linear(u[i]) * x) / p.alpha

    def advance(x, s, t, nodes, f, pseudo=False):
        gain, w, _ = weights(u[s], u[t], [u[i] for i in nodes], AFFINE, pseudo)
        return path[t].alpha * (gain * x / path[s].alpha - sum(c * f[i] for c, i in zip(w, nodes, strict=True)))

    x0, f = 0.8, {0: f_of(0.8, 0)}
    x1 = advance(x0, 0, 1, [0], f)
    f[1] = f_of(x1, 1)
    if pseudo:  # one order more than the predictor's
        x1 = advance(x0, 0, 1, [0, 1], f, True)
    x2 = advance(x1, 1, 2, [1, 0], f)
    f[2] = f_of(x2, 2)
    x2 = advance(x1, 1, 2, [1, 2, 0] if pseudo else [1, 2], f, pseudo)
    expected = advance(x2, 2, 3, [2, 1], f)
    made = DPMSolverV3(2, statistics=AFFINE, pseudo_corrector=pseudo)
    assert run(made, path) == pytest.approx(expected, abs=1e-12)


@given(st.floats(-2, 2), st.floats(0.05, 2), st.integers(0, 3))
def test_one_step_is_exact_for_gaussian_data_with_its_statistics(mean, variance, place):
    """l = 1 / (1 + v e^(2 lambda)) and f = -mu l, so that f' = s f with s = l' / l = -2 (1 - l)."""
    u = np.linspace(-4, 4, 801)
    linear = 1 / (1 + variance * np.exp(2 * u))
    statistics = Statistics(u, linear, -2 * (1 - linear), 0 * u)
    schedule = [VPLinear(), Cosine(), VE(), Flow()][place]
    path = Path(schedule, [schedule.t_at_level(v) for v in (20.0, 0.1)])
    a, b = path[0], path[1]

    def exact(x, p):
        shrink = p.alpha**2 * variance + p.sigma**2
        return (mean * p.sigma**2 + p.alpha * variance * x) / shrink

    ratio = math.sqrt((b.alpha**2 * variance + b.sigma**2) / (a.alpha**2 * variance + a.sigma**2))
    x = a.alpha * mean + 0.7 * a.sigma
    out = DPMSolverV3(statistics=statistics)(exact, x, path, None)
    # 1e-6: the statistics are cubic between knots that are 0.01 apart
    assert out == pytest.approx(b.alpha * mean + ratio * 0.7 * a.sigma, abs=1e-6)


def test_b_adds_a_constant_which_no_plan_can_hold():
    path = Path(VPLinear(), [0.9, 0.5, 0.1])
    with pytest.raises(NotAffine):
        trace(DPMSolverV3(statistics=FITTED), path)
    assert np.isfinite(run(DPMSolverV3(statistics=FITTED), path))
    assert len(trace(DPMSolverV3(statistics=AFFINE), path).rows) == 3


def test_curves_are_hermite_splines():
    knots, values = np.array([-1, 0.3, 0.5, 2.0, 2.2]), np.array([1, 0.2, 0.7, -1, 3.0])
    h, rise = np.diff(knots), np.diff(values) / np.diff(knots)
    slopes = [0, *(h[1:] * rise[:-1] + h[:-1] * rise[1:]) / (h[1:] + h[:-1]), 0]
    spline, curve = CubicHermiteSpline(knots, values, slopes), Curve(knots, values)
    for u in np.linspace(-1, 2.2, 30):
        assert curve(u) == pytest.approx(float(spline(u)), abs=1e-12)
        assert curve.integral(-1.5, u) == pytest.approx(0.5 + float(spline.integrate(-1, u)), abs=1e-12)
    assert (curve(-9), curve(9)) == (1, 3)
    assert curve.integral(5, 4) == pytest.approx(-3)
    assert Curve([0.0], [2.0]).integral(-1, 3) == pytest.approx(8)


def test_statistics_are_saved_and_read(tmp_path):
    FITTED.save(tmp_path / "ems.json")
    assert Statistics.load(tmp_path / "ems.json") == FITTED
    path = Path(VPLinear(), [0.9, 0.5, 0.1])
    AFFINE.save(tmp_path / "ems.json")
    by_name, by_value = (DPMSolverV3(statistics=s) for s in (str(tmp_path / "ems.json"), AFFINE))
    assert run(by_name, path) == run(by_value, path) != run(DPMSolverV3(), path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds no statistics"),
        ('{"format": "difftool-statistics", "l": [1]}', "holds no statistics"),
        (json.dumps({"format": "difftool-plan", "version": 1, **{key: [0] for key in NAMES}}), "holds no statistics"),
        (json.dumps({"format": "difftool-statistics", "version": 2, **{key: [0] for key in NAMES}}),
         "has version 2, this difftool reads 1; update difftool"),
        (json.dumps({"format": "difftool-statistics", "version": 1, **dict.fromkeys(NAMES, "x")}),
         "must be a list of numbers"),
    ],
)  # fmt: skip
def test_files_that_hold_no_statistics(tmp_path, text, says):
    (tmp_path / "ems.json").write_text(text)
    with pytest.raises(DifftoolError, match=says):
        DPMSolverV3(statistics=str(tmp_path / "ems.json"))


def test_refusals():
    with pytest.raises(DifftoolError, match="dpm-solver-v3 takes order 1, 2 or 3, got 4"):
        DPMSolverV3(4)
    with pytest.raises(DifftoolError, match=r"cannot read .*nowhere.json: No such file"):
        DPMSolverV3(statistics="nowhere.json")
    with pytest.raises(DifftoolError, match="the half_log_snr of statistics must rise"):
        Statistics([0, 0], [1, 1], [0, 0], [0, 0])
    with pytest.raises(DifftoolError, match="as many l as half_log_snr, at least 1, got 1"):
        Statistics([0, 1], [1], [0, 0], [0, 0])
    with pytest.raises(DifftoolError, match="the s of statistics must be finite"):
        Statistics([0, 1], [1, 1], [0, math.inf], [0, 0])
