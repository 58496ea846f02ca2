"""The schedules of the catalogue, against their definitions in the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.models import NetworkModel
from difftool.samplers import DDIM
from difftool.sampling import sample
from difftool.schedules import (
    VE,
    Betas,
    Cosine,
    Flow,
    GeometricVE,
    Laplace,
    ScaledLinear,
    Shifted,
    Sigmoid,
    SubVP,
    VPLinear,
    ZeroTerminal,
    shifted_cosine,
)

times = st.floats(0.001, 0.999)


@given(times, st.floats(0.1, 12))
def test_shifted_flow_is_that_of_sd3(t, shift):
    p = Shifted(Flow(), shift).at(t)
    assert p.sigma == pytest.approx(shift * t / (1 + (shift - 1) * t), rel=1e-12)
    assert p.alpha + p.sigma == pytest.approx(1, rel=1e-12)


@given(times, st.integers(8, 1024), st.integers(8, 256))
def test_shifted_cosine_moves_the_log_snr(t, size, base):
    """log SNR = -2 log tan(pi t / 2) + 2 log(base / size)."""
    expected = -2 * math.log(math.tan(math.pi * t / 2)) + 2 * math.log(base / size)
    p = shifted_cosine(size, base).at(t)
    assert 2 * p.half_log_snr == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert p.alpha**2 + p.sigma**2 == pytest.approx(1, rel=1e-12)


@given(times, st.floats(0.2, 5), st.sampled_from([Flow(), VPLinear(), ScaledLinear(), VE(), SubVP(), Cosine()]))
def test_every_shift_multiplies_the_noise_level(u, shift, schedule):
    low, high = schedule.domain
    t = low + u * (high - low)
    p, q = schedule.at(t), Shifted(schedule, shift).at(t)
    assert q.level == pytest.approx(shift * p.level, rel=1e-9)
    kept = [(a.alpha + a.sigma, a.alpha, math.hypot(a.alpha, a.sigma)) for a in (p, q)]
    assert any(a == pytest.approx(b, rel=1e-9) for a, b in zip(*kept, strict=True))


def test_a_shift_there_and_back():
    schedule, back = Sigmoid(), Shifted(Shifted(Sigmoid(), 3.0), 1 / 3)
    for t in (0.0, 0.1, 0.5, 0.9, 1.0):
        np.testing.assert_allclose(back.at(t), schedule.at(t), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("betas", [ScaledLinear().betas, (0.01, 0.05, 0.1, 0.2, 0.4)])
def test_zero_terminal_is_the_papers_algorithm(betas):
    """On the table: sqrt(alpha_bar) shifted to end at 0, scaled to keep its first entry (algorithm 1)."""
    root = np.sqrt(np.cumprod(1 - np.array(betas)))
    wanted = (root - root[-1]) * root[0] / (root[0] - root[-1])
    schedule = ZeroTerminal(Betas(betas))
    n = len(betas)
    got = [schedule.at((i + 1) / n) for i in range(n)]
    np.testing.assert_allclose([p.alpha for p in got], wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([p.sigma for p in got], np.sqrt(1 - wanted**2), rtol=1e-9)
    assert got[-1].alpha == 0
    assert got[-1].sigma == 1


@pytest.mark.parametrize("kind", [float, np.float64, torch.tensor])
def test_tables_that_end_in_pure_noise(kind):
    """alpha beyond what a float can square: 1100 betas of 0.5 end at a noise level of e^381."""
    schedule = Betas((0.5,) * 1100)
    t = kind(1.0) if kind is not torch.tensor else torch.tensor(1.0, dtype=torch.float64)
    assert float(schedule.alpha(t)) == pytest.approx(0.5**550, rel=1e-9)
    assert float(schedule.sigma(t)) == 1.0
    assert float(schedule.alpha(t * 0)) == 1.0
    assert float(schedule.sigma(t * 0)) == 0.0


def test_zero_terminal_keeps_what_is_below_the_first_entry():
    plain, schedule = ScaledLinear(), ZeroTerminal()
    for t in (0.0, 1e-5, 9.9e-4):
        assert schedule.at(t) == plain.at(t)
    assert schedule.alpha(1e-3) == pytest.approx(plain.alpha(1e-3), rel=1e-12)


def test_an_eps_network_starts_short_of_zero_signal():
    """Where its estimate is not defined; a v network starts at pure noise."""
    for predicts, first in (("eps", 1e-3), ("v", 0.0)):
        seen = []
        model = NetworkModel(lambda x, t: 0 * x, ZeroTerminal(), predicts)
        sample(model, DDIM(), shape=(1, 2), steps=3, callback=lambda step, seen=seen: seen.append(step.point.alpha))
        assert seen[0] == pytest.approx(first, rel=1e-6, abs=1e-15)


def test_scaled_linear_is_linear_in_the_roots():
    roots = np.sqrt(ScaledLinear().betas)
    np.testing.assert_allclose(roots, np.linspace(0.00085**0.5, 0.012**0.5, 1000), rtol=1e-12)
    assert ScaledLinear().alpha(1.0) == pytest.approx(0.0682, abs=1e-4)  # as the design has it


@given(times, st.floats(-4, 0), st.floats(0.5, 4), st.floats(0.3, 2))
def test_sigmoid_is_the_difference_of_logistics(t, start, end, tau):
    logistic = lambda v: 1 / (1 + math.exp(-v / tau))  # noqa: E731
    gamma = (logistic(end) - logistic(t * (end - start) + start)) / (logistic(end) - logistic(start))
    p = Sigmoid(start, end, tau).at(t)
    assert p.alpha**2 == pytest.approx(gamma, rel=1e-9, abs=1e-12)
    assert p.sigma**2 == pytest.approx(1 - gamma, rel=1e-9, abs=1e-12)


@given(times, st.floats(-3, 3), st.floats(0.2, 2))
def test_laplace_is_the_quantile_function(t, mu, b):
    expected = mu - b * math.copysign(1, 0.5 - t) * math.log(1 - 2 * abs(t - 0.5))
    assert 2 * Laplace(mu, b).half_log_snr(t) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(times)
def test_the_ve_sde_of_the_paper(t):
    """sigma_min (sigma_max / sigma_min)^t, but for the noise of sigma_min that is there at t = 0."""
    sigma = GeometricVE().sigma(t)
    assert sigma**2 + 0.01**2 == pytest.approx((0.01 * 5000**t) ** 2, rel=1e-9)


@given(times)
def test_sub_vp_has_the_square_of_the_variance(t):
    assert SubVP().sigma(t) == pytest.approx(VPLinear().sigma(t) ** 2, rel=1e-12)
    assert SubVP().alpha(t) == VPLinear().alpha(t)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Shifted(Flow(), 0.0), "shift > 0, got 0"),
        (lambda: shifted_cosine(0), "at least 1 pixel"),
        (lambda: ZeroTerminal(Flow()), "variance-preserving"),
        (lambda: Sigmoid(3.0, -3.0), "start < end"),
        (lambda: Sigmoid(tau=0.0), "tau > 0"),
        (lambda: Laplace(b=0.0), "0 < b <= 100"),
        (lambda: Betas((0.5,)), "at least two"),
        (lambda: Betas((0.5, 1.0)), "each in"),
        (lambda: GeometricVE(1.0, 0.5), "sigma_min < sigma_max"),
        (lambda: SubVP(2.0, 1.0), "beta_min <= beta_max"),
        (lambda: ScaledLinear(length=1), "length from 2 to 100000"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(DifftoolError, match=words):
        make()
