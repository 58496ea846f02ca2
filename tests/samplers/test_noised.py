"""Churn, ancestral steps and restarts, against their authors' loops; what wrappers keep, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import denoised, levels_of, ours, path_of, paths, runs, same_plan, slope

from difftool.errors import DifftoolError
from difftool.names.registry import registry
from difftool.names.specs import make
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, output_law
from difftool.samplers import (
    DDIM,
    DPM2,
    PNDM,
    Adams,
    Ancestral,
    Churn,
    Euler,
    FlowABM,
    GradientEstimation,
    Heun,
    Restart,
    Singlestep,
)
from difftool.samplers.adams import lms
from difftool.samplers.ancestral import dpm_2_a, dpmpp_2s_a, euler_a
from difftool.samplers.wrapper import takes_single_steps
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear, ZeroTerminal

# --- churn -----------------------------------------------------------------------------------------------------------


def edm(levels, y, noises, churn, s_min, s_max, s_noise):
    """Algorithm 2 of Karras et al. 2022, with the raised level clamped at the start's."""
    n, noises, drawn = len(levels) - 1, iter(noises), 0
    for a, b in pairwise(levels):
        gamma = min(churn / n, math.sqrt(2) - 1) if s_min <= a <= s_max else 0.0
        hat = min(a + gamma * a, levels[0])
        if hat > a:
            y = y + math.sqrt(hat**2 - a**2) * s_noise * next(noises)
            drawn += 1
        d = slope(y, hat)
        moved = y + (b - hat) * d
        if b > 0:
            moved = y + (b - hat) * (d / 2 + slope(moved, b) / 2)
        y = moved
    return y, drawn


# levels are found from times and back: 1e-10 of a level up to 60
@given(runs(), st.floats(0.1, 30), st.floats(0, 1), st.floats(1, 80), st.floats(0.9, 1.1))
def test_churn_is_algorithm_2_of_edm(run, churn, s_min, s_max, s_noise):
    path, y, noises = run
    expected, drawn = edm(levels_of(path), y, noises, churn, s_min, s_max, s_noise)
    got = ours(Churn(churn, s_min, s_max, s_noise), path, y, noises[:drawn])
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@given(paths(), st.floats(0.5, 100))
def test_churn_never_asks_above_the_start(path, churn):
    asked = []

    def model(x, p, answers=("x0",)):
        asked.append(p.level)
        return 0.5 * x

    Churn(churn)(model, 1.0, path, lambda now=None, nxt=None: 0.0)
    gamma, levels = min(churn / (len(path) - 1), math.sqrt(2) - 1), levels_of(path)
    assert max(asked) == levels[0]
    assert min(levels[1] * (1 + gamma), levels[0]) == pytest.approx(asked[2], rel=1e-9)  # levels by times and back


@pytest.mark.parametrize("solver", [Heun(variable="level"), DPM2(), DDIM(), Singlestep(3)], ids=str)
def test_without_noise_a_wrapper_is_its_solver(solver):
    path = path_of(VPLinear(), (20.0, 5.0, 1.0, 0.2, 0.0))
    for wrapper in (Churn(0.0, solver=solver), Ancestral(0.0, solver=solver), Restart(repeats=0, solver=solver)):
        assert trace(wrapper, path).rows == trace(solver, path).rows
        assert wrapper.nfe(path) == solver.nfe(path)
        assert not wrapper.stochastic
        assert wrapper.accuracy == solver.accuracy


# --- ancestral steps -------------------------------------------------------------------------------------------------


def step_down(a, b, eta):
    """k-diffusion's levels: down to, and noise up from there."""
    up = min(b, eta * math.sqrt(b**2 * (a**2 - b**2) / a**2))
    return math.sqrt(b**2 - up**2), up


def dpm_2(y, a, b):
    if b == 0:
        return denoised(y, a)
    mid = math.sqrt(a * b)
    return y + (b - a) * slope(y + (mid - a) * slope(y, a), mid)


def dpmpp_2s(y, a, b):
    if b == 0:
        return denoised(y, a)
    h, mid = math.log(a / b), math.sqrt(a * b)
    u = mid / a * y - math.expm1(-h / 2) * denoised(y, a)
    return b / a * y - math.expm1(-h) * denoised(u, mid)


@given(runs(), st.floats(0.05, 0.99), st.floats(0.5, 1.5), st.sampled_from([(dpm_2_a, dpm_2), (dpmpp_2s_a, dpmpp_2s)]))
def test_ancestral_steps_are_k_diffusions(run, eta, s_noise, pair):
    path, y, noises = run
    (name, by), y0, left = pair, y, list(noises)
    for a, b in pairwise(levels_of(path)):
        down, up = step_down(a, b, eta)
        y = by(y, a, down)
        if b > 0:
            y = y + up * s_noise * left.pop(0)
    got = ours(name(eta, s_noise), path, y0, noises[: len(noises) - len(left)])
    np.testing.assert_allclose(got, y, rtol=1e-9, atol=1e-9)  # as above


@given(runs(), st.floats(0.05, 1.0), st.floats(0.5, 1.5))
def test_the_flow_rule_is_that_of_flow_models(run, eta, s_noise):
    """x' = r x + (1 - r) x0 with r = s_down / s, then up: x'' = alpha / alpha_down x' + the noise that is missing."""
    path, y, noises = run
    path, left = path_of(Flow(), levels_of(path)), list(noises)
    x = path[0].alpha * y
    for now, nxt in pairwise(path):
        down = nxt.t * (1 + (nxt.t / now.t - 1) * eta)
        x = down / now.t * x + (1 - down / now.t) * denoised(x / now.alpha, now.level)
        if nxt.t > 0:
            missing = nxt.t**2 - down**2 * (1 - nxt.t) ** 2 / (1 - down) ** 2
            x = (1 - nxt.t) / (1 - down) * x + s_noise * math.sqrt(missing) * left.pop(0)
    got = ours(Ancestral(eta, s_noise, "flow"), path, y, noises[: len(noises) - len(left)])
    np.testing.assert_allclose(got, x / path[-1].alpha, rtol=1e-9, atol=1e-9)  # as above


@pytest.mark.parametrize("variable", ["level", "flow"])
@given(path=paths(), eta=st.sampled_from([0.0, 0.3, 1.0]))
def test_euler_ancestral_is_ddim_with_eta(variable, path, eta):
    solver = Euler(variable=variable)
    # the level below is found by its time; the smaller eta, the smaller the noise that is left of it
    assert same_plan(euler_a(eta), Ancestral(eta, solver=solver), path, 1e-9)
    assert not same_plan(euler_a(eta), Ancestral(0.9 * eta + 0.05, solver=solver), path, 1e-9)


def test_full_noise_from_pure_noise_on():
    """At alpha = 0 the whole step is noise: x_b = alpha_b E[x_0] + sigma_b z."""
    schedule = ZeroTerminal(VPLinear())
    path = path_of(schedule, (math.inf, 2.0))
    row = trace(Ancestral(), path).rows[-1]
    assert row.m == (((0, 0), pytest.approx(path[1].alpha, rel=1e-9)),)
    assert row.z == ((0, pytest.approx(path[1].sigma, rel=1e-9)),)
    assert [c for _, c in row.x] == pytest.approx([0.0] * len(row.x), abs=1e-9)
    for row in trace(Ancestral(down="flow"), path).rows:
        assert all(math.isfinite(c) for _, c in row.terms())


# --- restarts --------------------------------------------------------------------------------------------------------


def heun(y, levels):
    for a, b in pairwise(levels):
        d = slope(y, a)
        moved = y + (b - a) * d
        y = moved if b == 0 else y + (b - a) * (d + slope(moved, b)) / 2
    return y


@given(runs(least=4), st.sampled_from([((0.06, 0.3, 2, 3),), ((1.0, 1.9, 1, 2), (0.3, 0.59, 3, 1))]))
def test_restarts_are_those_of_the_paper(run, intervals):
    path, y, noises = run
    levels, left = levels_of(path), list(noises)
    y0, begin = y, 0
    for low, high, repeats, steps in intervals:
        end = 1 + int(np.argmin(np.abs(np.array(levels[1:]) - low)))
        top, bottom = min(high, levels[0]), levels[end]
        if top <= bottom:
            continue
        y, begin = heun(y, levels[begin : end + 1]), end
        again = [(top ** (1 / 7) + i / steps * (bottom ** (1 / 7) - top ** (1 / 7))) ** 7 for i in range(steps + 1)]
        for _ in range(repeats):
            y = y + math.sqrt(top**2 - bottom**2) * left.pop(0)
            y = heun(y, [*again[:-1], bottom])
    y = heun(y, levels[begin:])
    sampler = Restart(*map(tuple, zip(*intervals, strict=True)))
    got = ours(sampler, path, y0, noises[: len(noises) - len(left)])
    np.testing.assert_allclose(got, y, rtol=1e-9, atol=1e-9)  # as above


def test_restarts_on_the_grid_of_the_run():
    path = path_of(VE(), (10.0, 5.0, 2.0, 1.0, 0.5, 0.1, 0.0))
    sampler = Restart(level_min=0.4, level_max=2.3, repeats=2, solver=Euler(variable="level"))
    walked = [row.point.level for row in trace(sampler, path).rows]
    assert walked == pytest.approx([10, 5, 2, 1, 2, 1, 2, 1, 0.5, 0.1, 0], abs=1e-12)  # 0.5 is asked after the last one
    assert sampler.nfe(path) == 10
    assert Restart(level_min=7.0, level_max=9.0, repeats=1).nfe(path) == Heun().nfe(path) + 2  # at least one step


# --- what wrappers share ---------------------------------------------------------------------------------------------


def test_path_noise_is_not_drawn_twice():
    """Overlapping levels of one Brownian path would be the same noise again."""
    path = path_of(VPLinear(), (20.0, 5.0, 1.0, 0.2, 0.0))
    for sampler in (Churn(), Churn(solver=DDIM(1.0)), Restart(), Restart(solver=DDIM(1.0))):
        assert all(key.interval is None for key in trace(sampler, path, correlated=True).noises)
    asked = []

    def noise(now=None, nxt=None):
        asked.append((now, nxt))
        return 0.0

    Ancestral()(lambda x, p, answers=("x0",): 0.5 * x, 1.0, path, noise)
    assert asked == [*pairwise(path[:-1])]  # a step's noise is that of its own levels


@pytest.mark.parametrize(
    "sampler", ["churn", "ancestral", "restart", "seeds-1", "seeds-2", "seeds-3", "dpmpp-sde", "er-sde"]
)
def test_scaled_noise_says_that_the_law_is_lost(sampler):
    assert make("samplers", sampler).weak_order
    scaled = make("samplers", f"{sampler}:s_noise=1.003")
    assert scaled.weak_order == 0
    assert not scaled.point_mass
    path, g = path_of(VE(), (5.0, 1.0, 0.3)), np.random.default_rng(0)
    y, noises = g.standard_normal(3), g.standard_normal((len(trace(scaled, path).noises), 3))
    plain = make("samplers", sampler)
    np.testing.assert_allclose(ours(scaled, path, y, noises), ours(plain, path, y, 1.003 * noises), rtol=1e-12)


def test_which_samplers_take_single_steps():
    taken = {"euler", "heun", "dpm-2", "ddim", "dpmpp-2s", "seeds-3", "ddpm", "interpolant"}
    refused = {"flow-abm", "flow-sde", "adams", "dpmpp-2m", "unipc", "gradient-estimation", "heunpp2", "er-sde"}
    assert taken | refused <= set(registry().axis("samplers"))
    assert all(takes_single_steps(make("samplers", name)) for name in taken)
    assert not any(takes_single_steps(make("samplers", name)) for name in refused)
    assert takes_single_steps(make("samplers", "predictor-corrector"))  # its norms are those of tensors


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Churn(-1.0), "churn takes churn >= 0, got -1.0"),
        (lambda: Churn(s_min=2.0, s_max=1.0), "churn takes s_max >= 2, got 1.0"),
        (lambda: Churn(s_noise=0.0), "churn takes s_noise > 0, got 0.0"),
        (lambda: Churn(solver=lms(start="runge-kutta")), "churn takes a single-step solver"),
        (lambda: Ancestral(solver=PNDM()), "ancestral takes a single-step solver"),
        (
            lambda: Restart(restart_steps=3, solver=Adams(order=5)),
            "restart takes restart_steps from 5 to 10000 (a whole number), got 3",
        ),
        (lambda: Churn(solver=FlowABM()), "churn takes a single-step solver (euler, heun, dpm-2, ..)"),
        (lambda: Ancestral(solver=GradientEstimation()), "GradientEstimation keeps history between steps"),
        (lambda: Ancestral(solver=make("samplers", "embedded")), "ancestral takes a solver with fixed steps"),
        (lambda: Ancestral(solver="heun"), "the solver of ancestral must be a sampler, got 'heun'"),
        (lambda: Ancestral(1.2), "ancestral takes 0 <= eta <= 1, got 1.2"),
        (lambda: Ancestral(down="up"), "ancestral takes down level or flow, got 'up'"),
        (lambda: Restart(0.3, 0.06), "restart takes 0 <= level_min < level_max, got 0.3 and 0.06"),
        (lambda: Restart(repeats=1.5), "restart takes repeats from 0 to 1000 (a whole number), got 1.5"),
        (lambda: Restart(restart_steps=0), "restart takes restart_steps from 1 to 10000 (a whole number), got 0"),
        (lambda: Restart((0.1, 0.2), (1.0, 2.0, 3.0)), "restart takes one value or one per interval, got [2, 3, 3, 3]"),
    ],
)
def test_refusals(made, message):
    with pytest.raises(DifftoolError) as error:
        made()
    assert message in str(error.value)


@pytest.mark.parametrize("schedule", [Cosine(), VPLinear()])
@given(st.floats(1e-12, 1e-6))
def test_ever_less_noise_is_none(schedule, eta):
    """Rounding must not put the way down above the next level."""
    path = Path(schedule, [0.9 - 0.1 * i for i in range(9)])
    plan, quiet = trace(Ancestral(eta=eta), path), trace(Ancestral(eta=0.0), path)
    law, exact = (output_law(p, Gaussian.of([0.5], 0.2)) for p in (plan, quiet))
    assert abs(law.variance - exact.variance).max() < 1e-5


def test_upwards_there_is_no_noise_to_add():
    path = path_of(VE(), (0.1, 1.0, 5.0))
    for sampler in (Churn(), Ancestral(), Restart()):
        with pytest.raises(DifftoolError, match="runs from noise to data"):
            trace(sampler, path)
