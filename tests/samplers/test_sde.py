"""Reverse diffusion and the stochastic interpolant: discretised SDEs, against their formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import denoised, levels_of, ours, path_of, paths, runs, same_plan

from difftool.errors import DifftoolError
from difftool.plan import trace
from difftool.samplers import DDIM, EulerMaruyama, Interpolant, ReverseDiffusion
from difftool.schedules import VE, DDPMLinear, Flow, Path


def test_reverse_diffusion_on_a_table_of_betas():
    """x_{i-1} = (2 - sqrt(1 - beta_i)) x_i + beta_i score + sqrt(beta_i) z."""
    schedule, g = DDPMLinear(), np.random.default_rng(0)
    path = Path(schedule, [(i + 1) / 1000 for i in (800, 799, 798, 797)])
    y, noises = path[0].level * g.standard_normal(3), [g.standard_normal(3) for _ in range(3)]
    x = path[0].alpha * y
    for (now, _), i, z in zip(pairwise(path), (800, 799, 798), noises, strict=True):
        beta = np.linspace(1e-4, 0.02, 1000)[i]
        score = -(x - now.alpha * denoised(x / now.alpha, now.level)) / now.sigma**2
        x = (2 - math.sqrt(1 - beta)) * x + beta * score + math.sqrt(beta) * z
    # beta is found again from products of 800 of them, to 1e-12 of itself
    np.testing.assert_allclose(ours(ReverseDiffusion(), path, y, noises), x / path[-1].alpha, rtol=1e-9)


@given(runs(end=False))
def test_reverse_diffusion_where_the_variance_explodes(run):
    """x_s = x_t + (sigma_t^2 - sigma_s^2) score + sqrt(sigma_t^2 - sigma_s^2) z."""
    path, y, noises = run
    path, start = path_of(VE(), levels_of(path)), y
    for (a, b), z in zip(pairwise(levels_of(path)), noises, strict=False):
        y = y - (a**2 - b**2) * (y - denoised(y, a)) / a**2 + math.sqrt(a**2 - b**2) * z
    got = ours(ReverseDiffusion(), path, start, noises[: len(path) - 1])
    np.testing.assert_allclose(got, y, rtol=1e-12, atol=1e-12)


FORMS = {
    "linear": lambda s: s,
    "constant": lambda s: 1.0,
    "bump": lambda s: math.sin(math.pi * s) ** 2,
    "reverse-sde": lambda s: s / (1 - s),
}


@given(runs(), st.floats(0.1, 2.0), st.sampled_from(list(FORMS)))
def test_the_interpolants_sde(run, diffusion, form):
    """dy = (v - e score) ds + sqrt(2 e) dW backwards, v and score as functions of y = (1 - s) x0 + s eps."""
    path, y, noises = run
    left, x = list(noises), y
    s = [level / (1 + level) for level in levels_of(path)]
    y = (1 - s[0]) * y
    for a, b in pairwise(s):
        x0 = denoised(y / (1 - a), a / (1 - a))
        velocity, score = (y - x0) / a, -(y - (1 - a) * x0) / a**2
        e = diffusion * FORMS[form](a) if b > 0 else 0.0
        y = y - (a - b) * (velocity - e * score)
        if b > 0:
            y = y + math.sqrt(2 * e * (a - b)) * left.pop(0)
    got = ours(Interpolant(diffusion, form), path, x, noises[: len(noises) - len(left)])
    np.testing.assert_allclose(got, y / (1 - s[-1]), rtol=1e-9, atol=1e-9)  # levels by times


@given(paths(end=False))
def test_its_reverse_sde_is_euler_maruyama_on_the_flow_schedule(path):
    path = path_of(Flow(), levels_of(path))
    assert same_plan(Interpolant(1.0, "reverse-sde"), EulerMaruyama(), path, 1e-9)  # 1 / (1 - t) is large
    assert not same_plan(Interpolant(0.9, "reverse-sde"), EulerMaruyama(), path, 1e-9)


@given(paths(), st.sampled_from(list(FORMS)))
def test_without_diffusion_it_is_ddim(path, form):
    assert same_plan(Interpolant(0.0, form), DDIM(), path, 1e-11)  # s_b - s_a cancels where they are close


@pytest.mark.parametrize("form", ["linear", "constant", "bump"])
def test_the_interpolant_is_regular_at_both_ends(form):
    plan = trace(Interpolant(form=form), Path(Flow(), (1.0, 0.999, 0.5, 0.001, 0.0)))
    assert max(abs(c) for row in plan.rows for _, c in row.terms()) < 2.5
    assert [c for _, c in plan.rows[-1].m] == pytest.approx([1.0])
    assert not Interpolant(form=form).divides_by_alpha
    assert Interpolant(form="reverse-sde").divides_by_alpha


def test_refusals():
    with pytest.raises(DifftoolError, match="interpolant takes diffusion >= 0, got -1"):
        Interpolant(-1.0)
    with pytest.raises(DifftoolError, match="interpolant takes form linear, constant, bump or reverse-sde, got 'sine'"):
        Interpolant(form="sine")
    for sampler in (Interpolant(), ReverseDiffusion()):
        with pytest.raises(DifftoolError, match="runs from noise to data"):
            trace(sampler, path_of(VE(), (0.1, 1.0)))
