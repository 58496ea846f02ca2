"""dpm-2, heunpp2 and gradient estimation, against their authors' loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import levels_of, ours, path_of, paths, runs, same_plan, slope

from difftool.errors import DifftoolError
from difftool.names.specs import make
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, path_error
from difftool.samplers import DDIM, DPM2, Adams, GradientEstimation, HeunPP2
from difftool.schedules import VE, Flow, Path, VPLinear


@given(runs(end=True))
def test_dpm_2(run):
    path, y, _ = run
    start = y
    for a, b in pairwise(levels_of(path)):
        d = slope(y, a)
        if b == 0:
            y = y + (b - a) * d
        else:
            mid = math.exp((math.log(a) + math.log(b)) / 2)
            y = y + (b - a) * slope(y + (mid - a) * d, mid)
    np.testing.assert_allclose(ours(DPM2(), path, start), y, rtol=1e-9, atol=1e-9)  # levels by times and back


@given(runs())
def test_heunpp2(run):
    path, y, _ = run
    levels, start = levels_of(path), y
    n = len(levels) - 1
    for i in range(n):
        l1, l2 = levels[i], levels[i + 1]
        d1 = slope(y, l1)
        if i == n - 1:
            y = y + (l2 - l1) * d1
        elif i == n - 2:
            d2 = slope(y + (l2 - l1) * d1, l2)
            w2 = l2 / (2 * levels[0])
            y = y + (l2 - l1) * ((1 - w2) * d1 + w2 * d2)
        else:
            l3 = levels[i + 2]
            u2 = y + (l2 - l1) * d1
            d2 = slope(u2, l2)
            d3 = slope(u2 + (l3 - l2) * d2, l3)
            w2, w3 = l2 / (3 * levels[0]), l3 / (3 * levels[0])
            y = y + (l2 - l1) * ((1 - w2 - w3) * d1 + w2 * d2 + w3 * d3)
    np.testing.assert_allclose(ours(HeunPP2(), path, start), y, rtol=1e-9, atol=1e-9)


@given(runs(), st.floats(0, 3))
def test_gradient_estimation(run, gamma):
    path, y, _ = run
    start, old = y, None
    for a, b in pairwise(levels_of(path)):
        eps = slope(y, a)
        bar = eps if old is None else gamma * eps + (1 - gamma) * old
        y, old = y + (b - a) * bar, eps
    np.testing.assert_allclose(ours(GradientEstimation(gamma), path, start), y, rtol=1e-9, atol=1e-9)


@given(paths())
def test_gradient_estimation_with_one_weight_is_ddim(path):
    assert same_plan(GradientEstimation(1.0), DDIM(), path, 1e-11)  # the difference of levels up to 60 cancels


def test_gradient_estimation_with_three_halves_is_adams_bashforth_on_equal_steps():
    path = path_of(VE(), (5.0, 4.0, 3.0, 2.0, 1.0))
    assert same_plan(GradientEstimation(1.5), Adams(2, interpolates="eps", variable="level"), path)
    assert not same_plan(GradientEstimation(2.0), Adams(2, interpolates="eps", variable="level"), path)


def test_gradient_estimation_starts_in_pure_noise():
    plan = trace(GradientEstimation(), Path(Flow(), (1.0, 0.5, 0.0)))
    assert all(math.isfinite(c) for row in plan.rows for _, c in row.terms())


ENCODES = [
    "dpm-2", "gradient-estimation:gamma=1.5", "seeds-1:eta=0", "seeds-2:eta=0", "seeds-3:eta=0", "exp-heun",
    "dpmpp-sde:eta=0", "er-sde:eta=0", "interpolant:diffusion=0", "churn:churn=0", "ancestral:eta=0",
    "restart:repeats=0",
]  # fmt: skip


@pytest.mark.parametrize("spec", ENCODES)
def test_without_noise_they_run_upwards(spec):
    """Encoding, from clean data on: the first step knows no noise yet, the rest converges to the probability flow."""
    sampler, data, schedule = make("samplers", spec), Gaussian.of([0.3, -0.5, 0.0], [0.5, 0.05, 1.5]), VPLinear()
    errors = []
    for n in (16, 64):
        levels = np.geomspace(0.05 / n**2, 4.0, n)
        path = path_of(schedule, [0.0, *levels])
        plan = trace(sampler, path)
        assert plan.nfe == sampler.nfe(path)
        errors.append(path_error(plan, data))
    assert errors[0] < 0.15
    assert errors[1] < 0.4 * errors[0]


def test_clean_data_has_no_noise_to_extrapolate():
    """At sigma = 0 eps is not known; the step after it is DDIM's."""
    assert same_plan(GradientEstimation(), DDIM(), path_of(VE(), (0.0, 0.5, 1.0)))


def test_heunpp2_runs_downwards_only():
    with pytest.raises(DifftoolError, match="heunpp2 runs from noise to data"):
        trace(HeunPP2(), path_of(VE(), (0.1, 1.0)))


def test_gamma_is_not_negative():
    with pytest.raises(DifftoolError, match=r"gradient-estimation takes gamma >= 0, got -0\.5"):
        GradientEstimation(-0.5)
