"""SEEDS, exponential Heun and DPM-Solver++(SDE): the published formulas, and which of them are one method."""

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
from difftool.plan.analysis import Gaussian, error
from difftool.samplers import DDIM, DDPM, DPMpp, DPMppSDE, Seeds1, Seeds2, Seeds3, Singlestep
from difftool.samplers.seeds import exp_heun
from difftool.schedules import VE, VPLinear


def phi_1(h):
    """(1 - e^-h), the weight of a constant answer."""
    return -math.expm1(-h)


def phi_2(h):
    """h times the second exponential function at -h: the weight of a slope over the step."""
    return 1 - (1 - math.exp(-h)) / h


def spread(h, eta):
    """Standard deviation of the fresh noise, in parts of the level."""
    return math.sqrt(-math.expm1(-2 * eta * h))


def seeds_2(y, a, b, eta, r, exact, noises):
    h = math.log(a / b)
    mid = a * math.exp(-r * h)
    d1 = denoised(y, a)
    z1 = mid * spread(r * h, eta) * noises.pop(0)
    d2 = denoised(mid / a * math.exp(-r * h * eta) * y + phi_1(r * h * (1 + eta)) * d1 + z1, mid)
    if exact:
        w2 = phi_2(h * (1 + eta)) / r
        d = (phi_1(h * (1 + eta)) - w2) * d1 + w2 * d2
    else:
        d = phi_1(h * (1 + eta)) * (d1 + (d2 - d1) / (2 * r))
    z = b / mid * math.exp(-(1 - r) * h * eta) * z1
    if r < 1:
        z = z + b * spread((1 - r) * h, eta) * noises.pop(0)
    return b / a * math.exp(-h * eta) * y + d + z


def seeds_3(y, a, b, eta, r1, r2, noises):
    h, k = math.log(a / b), 1 + eta
    l1, l2 = a * math.exp(-r1 * h), a * math.exp(-r2 * h)
    d1 = denoised(y, a)
    z1 = l1 * spread(r1 * h, eta) * noises.pop(0)
    d2 = denoised(l1 / a * math.exp(-r1 * h * eta) * y + phi_1(r1 * h * k) * d1 + z1, l1)
    z2 = l2 / l1 * math.exp(-(r2 - r1) * h * eta) * z1 + l2 * spread((r2 - r1) * h, eta) * noises.pop(0)
    w = r2 / r1 * phi_2(r2 * h * k)
    d3 = denoised(l2 / a * math.exp(-r2 * h * eta) * y + (phi_1(r2 * h * k) - w) * d1 + w * d2 + z2, l2)
    z3 = b / l2 * math.exp(-(1 - r2) * h * eta) * z2 + b * spread((1 - r2) * h, eta) * noises.pop(0)
    w = phi_2(h * k) / r2
    return b / a * math.exp(-h * eta) * y + (phi_1(h * k) - w) * d1 + w * d3 + z3


def walk(path, y, step, *options):
    noises = options[-1]
    for a, b in pairwise(levels_of(path)):
        y = denoised(y, a) if b == 0 else step(y, a, b, *options)
    return y, 40 - len(noises)


@given(runs(), st.floats(0.05, 1.5), st.sampled_from([0.3, 0.5, 1.0]), st.booleans())
def test_seeds_2(run, eta, r, exact):
    path, y, noises = run
    expected, drawn = walk(path, y, seeds_2, eta, r, exact, list(noises))
    sampler = Seeds2(eta, r=r, variant="exact" if exact else "midpoint")
    np.testing.assert_allclose(
        ours(sampler, path, y, noises[:drawn]), expected, rtol=1e-9, atol=1e-9
    )  # levels by times
    if exact and r == 1.0:
        assert exp_heun(eta) == sampler


@given(runs(), st.floats(0.05, 1.5), st.sampled_from([(1 / 3, 2 / 3), (0.2, 0.9)]))
def test_seeds_3(run, eta, r):
    path, y, noises = run
    expected, drawn = walk(path, y, seeds_3, eta, *r, list(noises))
    np.testing.assert_allclose(ours(Seeds3(eta, 1.0, *r), path, y, noises[:drawn]), expected, rtol=1e-9, atol=1e-9)


def dpmpp_sde(y, a, b, eta, r, noises):
    """k-diffusion's loop; its noise is drawn over the stage and then over the whole step."""

    def down(high, low):
        up = eta * low * math.sqrt(1 - (low / high) ** 2)
        return math.sqrt(low**2 - up**2), up

    s = a * (b / a) ** r
    d1 = denoised(y, a)
    sd, su = down(a, s)
    d2 = denoised(sd / a * y + (1 - sd / a) * d1 + su * noises.pop(0), s)
    sd, su = down(a, b)
    return sd / a * y + (1 - sd / a) * ((1 - 1 / (2 * r)) * d1 + d2 / (2 * r)) + su * noises.pop(0)


@given(runs(), st.floats(0.05, 0.99), st.sampled_from([0.3, 0.5, 0.8]))
def test_dpmpp_sde_as_published(run, eta, r):
    path, y, noises = run
    expected, drawn = walk(path, y, dpmpp_sde, eta, r, list(noises))
    sampler = DPMppSDE(eta, r=r, noise="independent")
    np.testing.assert_allclose(ours(sampler, path, y, noises[:drawn]), expected, rtol=1e-9, atol=1e-9)


@given(paths())
def test_names_that_are_one_method(path):
    assert same_plan(Seeds1(1.0), DDPM(), path)
    assert same_plan(Seeds1(0.0), DDIM(), path, 1e-11)  # sigma_b - alpha_b l_b ... cancels where levels are close
    assert same_plan(Seeds1(0.4), DPMpp(1, eta=0.4), path)
    assert same_plan(Seeds2(0.0, r=0.4), Singlestep(2, r1=0.4), path)
    assert same_plan(Seeds2(0.0, r=0.4, variant="exact"), Singlestep(2, r1=0.4, variant="exact"), path)
    assert same_plan(Seeds3(0.0), Singlestep(3), path)
    assert same_plan(DPMppSDE(1.0), Seeds2(1.0), path, 1e-9)  # 1 - g^2 r^2 against expm1
    assert same_plan(DPMppSDE(0.0), Singlestep(2), path, 1e-9)
    assert not same_plan(DPMppSDE(0.5), Seeds2(0.5), path, 1e-9) or len(path) == 2
    assert not same_plan(Seeds1(0.9), DDPM(), path, 1e-9)


@given(paths(end=False), st.floats(0.05, 1.0), st.sampled_from([0.25, 0.5, 1.0]))
def test_the_noise_of_a_step_is_that_of_its_stages(path, eta, r):
    """On a point mass at 0 all that is left is noise: sigma_end exactly, with shared noise."""
    data = Gaussian.of([0.0], [0.0])
    for sampler in (DPMppSDE(eta, r=r), Seeds2(eta, r=r), Seeds3(eta)):
        assert error(trace(sampler, path), data) < 1e-9 * path[0].sigma


def test_independent_noise_costs_an_order():
    data = Gaussian.of([0.3, -0.5, 0.0], [0.5, 0.05, 1.5])
    fine, coarse = (path_of(VPLinear(), np.geomspace(4.0, 0.25, n + 1)) for n in (128, 64))
    rates = {}
    for kind in ("shared", "independent"):
        sampler = DPMppSDE(noise=kind)
        rates[kind] = math.log2(error(trace(sampler, coarse), data) / error(trace(sampler, fine), data))
    assert rates["shared"] == pytest.approx(2, abs=0.1)
    assert rates["independent"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Seeds1(-0.1), "seeds-1 takes eta >= 0, got -0.1"),
        (lambda: Seeds2(r=0.0), "seeds-2 takes 0.01 <= r <= 1, got 0.0"),
        (lambda: Seeds2(variant="phi"), "seeds-2 takes variant midpoint or exact, got 'phi'"),
        (lambda: Seeds3(r1=0.7), "seeds-3 takes r1 < r2, got 0.7 and 0.666667"),
        (lambda: Seeds3(r1=0.7, r2=1.2), "seeds-3 takes 0.01 <= r2 <= 1, got 1.2"),
        (lambda: Seeds3(s_noise=-1), "seeds-3 takes s_noise > 0, got -1"),
        (lambda: DPMppSDE(1.5), "dpmpp-sde takes 0 <= eta <= 1, got 1.5"),
        (lambda: DPMppSDE(r=2), "dpmpp-sde takes 0.01 <= r <= 1, got 2"),
        (lambda: DPMppSDE(noise="none"), "dpmpp-sde takes noise shared or independent, got 'none'"),
    ],
)
def test_refusals(made, message):
    with pytest.raises(DifftoolError) as error:
        made()
    assert str(error.value) == message


@pytest.mark.parametrize("sampler", [Seeds1(), Seeds2(), Seeds3(), DPMppSDE()], ids=str)
def test_noise_runs_downwards_only(sampler):
    with pytest.raises(DifftoolError, match="runs from noise to data"):
        trace(sampler, path_of(VE(), (0.1, 1.0)))
