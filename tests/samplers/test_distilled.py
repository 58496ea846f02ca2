"""Samplers of distilled models: their papers' formulas, what they have in common, and the law that they keep."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.plan import trace
from difftool.samplers import DDIM, TCD, Consistency
from difftool.samplers.distilled import lcm
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear

SCHEDULES = [VPLinear(), Cosine(), VE(), Flow()]
normals = st.lists(st.floats(-2, 2), min_size=9, max_size=9)


@st.composite
def paths(draw):
    schedule = draw(st.sampled_from(SCHEDULES))
    s = draw(st.lists(st.integers(2, 95), min_size=2, max_size=8, unique=True))
    times = [schedule.t_at_flow(v / 100) for v in sorted(s, reverse=True)]
    return Path(schedule, [*times, schedule.domain[0]] if draw(st.booleans()) else times)


def model(x, p):
    return np.tanh(x / (p.alpha + p.sigma)) * (1 + 0.3 * p.flow)


def run(sampler, path, noises=(), x=0.8, model=model):
    source = iter(noises)
    return sampler(model, x, path, lambda *_: next(source))


@given(paths(), normals)
def test_lcm_makes_the_estimate_noisy_again(path, z):
    x = 0.8
    for now, nxt, noise in zip(path, path[1:], z, strict=False):
        x = nxt.alpha * model(x, now) + nxt.sigma * noise
    assert run(lcm(), path, z) == pytest.approx(x, abs=1e-12)


@given(paths(), normals)
def test_the_ends_of_gamma(path, z):
    assert run(TCD(1.0), path, z) == pytest.approx(run(lcm(), path, z), abs=1e-9)
    assert run(TCD(0.0), path) == pytest.approx(run(DDIM(), path), abs=1e-12)


@pytest.mark.parametrize("gamma", [0.1, 0.3, 0.9])
def test_tcd_goes_below_the_next_time_and_back(gamma):
    """Zheng et al. 2024, algorithm 4, with alpha-bar = alpha^2 of a variance preserving schedule."""
    path, z = Path(VPLinear(), [0.9, 0.6, 0.35, 0.1, 0.0]), [0.3, -1.1, 0.6, 5.0]
    x = 0.8
    for (now, nxt), noise in zip(pairwise(path), z, strict=True):
        s = VPLinear().at((1 - gamma) * nxt.t)
        x0 = model(x, now)
        eps = (x - now.alpha * x0) / (1 - now.alpha**2) ** 0.5
        x = s.alpha * x0 + (1 - s.alpha**2) ** 0.5 * eps
        if nxt.sigma > 0:
            ratio = nxt.alpha**2 / s.alpha**2
            x = ratio**0.5 * x + (1 - ratio) ** 0.5 * noise
    assert run(TCD(gamma), path, z) == pytest.approx(x, abs=1e-12)


def test_consistency_as_in_algorithm_1():
    """x <- f(x + sqrt(tau^2 - epsilon^2) z, tau), on noise levels, from f at the first one."""
    levels, z, epsilon = [80.0, 10.0, 1.0, 0.1], [0.3, -1.1, 0.6], 0.05
    path = Path(VE(), [*levels, 0.0])
    x = model(20.0, path[0])
    for p, noise in zip(path[1:-1], z, strict=True):
        x = model(x + math.sqrt(p.t**2 - epsilon**2) * noise, p)
    assert run(Consistency(epsilon), path, z, 20.0) == pytest.approx(x, rel=1e-12)


def test_no_noise_at_or_below_epsilon():
    path = Path(VE(), [80.0, 0.05, 0.02, 0.0])
    x = 20.0
    for p in path[:-1]:
        x = model(x, p)
    assert run(Consistency(0.05), path, (), 20.0) == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_consistency_model_gives_the_right_law_in_any_steps(schedule):
    """For data N(0, v) it is f(x) = sqrt(v / (alpha^2 v + sigma^2)) x. States are their coefficients on all noises."""
    v, basis = 0.3, np.eye(6)

    def f(x, p):
        return math.sqrt(v / (p.alpha**2 * v + p.sigma**2)) * x

    path = Path(schedule, [schedule.t_at_flow(s) for s in (0.95, 0.7, 0.4, 0.2, 0.1)])
    start = math.sqrt(path[0].alpha ** 2 * v + path[0].sigma ** 2) * basis[0]
    out = run(lcm(), path, basis[1:], start, f)
    assert out @ out == pytest.approx(path[-1].alpha ** 2 * v + path[-1].sigma ** 2, rel=1e-12)


def test_refusals():
    with pytest.raises(DifftoolError, match=r"tcd takes 0 <= gamma <= 1, got 1\.5"):
        TCD(1.5)
    with pytest.raises(DifftoolError, match=r"consistency takes epsilon >= 0, got -0\.1"):
        Consistency(-0.1)
    for sampler in (TCD(), Consistency()):
        with pytest.raises(DifftoolError, match="the grid runs upwards"):
            trace(sampler, Path(VPLinear(), [0.1, 0.9]))
    assert run(TCD(0.0), Path(VPLinear(), [0.1, 0.9])) is not None
