"""The integrals of interpolated answers, against adaptive quadrature, closed forms and Gauss-Legendre tables."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad

from difftool.samplers import quadrature
from difftool.samplers.currencies import CURRENCIES, X0
from difftool.samplers.interpolate import lagrange, noise_std, weights
from difftool.samplers.variables import HALF_LOG_SNR, VARIABLES
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, Path, VPLinear

SMOOTH = [VPLinear(), Cosine(), VE(), Flow()]


def test_the_nodes_are_those_of_gauss_and_legendre():
    nodes, w = np.polynomial.legendre.leggauss(8)
    ours = sorted([(s * x, v) for x, v in quadrature.GAUSS for s in (-1, 1)])
    assert np.array(ours) == pytest.approx(np.stack([nodes, w], 1), abs=1e-15)


@st.composite
def histories(draw):
    """A path of falling points; the last step is the one that is taken."""
    schedule = draw(st.sampled_from(SMOOTH))
    lambdas = [draw(st.floats(-3.5, -1.0))]
    for _ in range(draw(st.integers(1, 5))):
        lambdas.append(lambdas[-1] + draw(st.floats(0.1, 1.3)))
    return Path(schedule, [schedule.t_at_half_log_snr(v) for v in lambdas])


@given(histories(), st.sampled_from([*CURRENCIES]), st.sampled_from([*VARIABLES]), st.sampled_from([1.0, 1.3, 2.0]))
def test_weights_are_the_integrals(path, currency, variable, k):
    """Of every Lagrange polynomial, by scipy's adaptive quadrature over the noise level."""
    k = k if currency == "x0" else 1.0
    now, nxt, nodes = path[-2], path[-1], list(path[:-1])[::-1]
    gain, w = weights(now, nxt, nodes, path, CURRENCIES[currency], VARIABLES[variable], k)
    u = [VARIABLES[variable].coordinate(p) for p in nodes]

    def place(level):
        return VARIABLES[variable].coordinate(path.at(path.schedule.t_at_level(level)))

    density = {
        "eps": lambda level: nxt.alpha,
        "flow": lambda level: (nxt.alpha + nxt.sigma) / (1 + level) ** 2,
        "x0": lambda level: -nxt.alpha * k * (nxt.level / level) ** k / level,
    }[currency]

    def integrand(level, j):
        return density(level) * lagrange(u, place(level))[j]

    for j, weight in enumerate(w):
        exact, _ = quad(integrand, now.level, nxt.level, args=(j,), epsabs=1e-12, epsrel=1e-12)
        # the inverse of the schedule is good to 1e-9, and five points magnify it
        assert weight == pytest.approx(exact, rel=1e-6, abs=1e-7)
    scale = {"eps": "alpha", "flow": "both", "x0": "sigma"}[currency]
    size = [{"alpha": p.alpha, "both": p.alpha + p.sigma, "sigma": p.sigma}[scale] for p in (nxt, now)]
    assert gain == pytest.approx(size[0] / size[1] * (nxt.level / now.level) ** (k - 1), rel=1e-12)


@given(histories(), st.sampled_from([*CURRENCIES]), st.sampled_from([*VARIABLES]))
def test_a_constant_answer_is_integrated_exactly(path, currency, variable):
    """Data at a single point mu with noise e: x = alpha mu + sigma e, whatever the answers are interpolated in."""
    mu, e = 0.7, -1.3
    now, nxt, nodes = path[-2], path[-1], list(path[:-1])[::-1]
    gain, w = weights(now, nxt, nodes, path, CURRENCIES[currency], VARIABLES[variable])
    answer = {"eps": e, "x0": mu, "flow": e - mu}[currency]
    x = gain * (now.alpha * mu + now.sigma * e) + sum(w) * answer
    assert x == pytest.approx(nxt.alpha * mu + nxt.sigma * e, abs=1e-9)


@given(st.sampled_from([*CURRENCIES]), st.sampled_from([*VARIABLES]), st.sampled_from([*SMOOTH, DDPMLinear()]))
def test_both_ends_are_finite(currency, variable, schedule):
    """From the start of the domain (pure noise on flow and cosine) to sigma = 0; the point mass is kept."""
    mu, e = 0.7, -1.3
    assume(not (currency == "eps" and schedule.alpha(schedule.domain[1]) == 0))
    middle = [schedule.t_at_flow(s) for s in (0.7, 0.4, 0.2)]
    path = Path(schedule, [schedule.domain[1], *middle, schedule.domain[0]])
    answer = {"eps": e, "x0": mu, "flow": e - mu}[currency]
    for i, (now, nxt) in enumerate(pairwise(path)):
        gain, w = weights(now, nxt, list(path[: i + 1])[::-1], path, CURRENCIES[currency], VARIABLES[variable])
        assert all(map(math.isfinite, [gain, *w]))
        x = gain * (now.alpha * mu + now.sigma * e) + sum(w) * answer
        assert x == pytest.approx(nxt.alpha * mu + nxt.sigma * e, abs=1e-9)


@given(st.floats(0.01, 3.0), st.sampled_from([VPLinear(), VE(), Flow()]))
def test_the_noise_is_that_of_the_reverse_sde(tau2, schedule):
    """On a point mass the variance stays sigma^2: A^2 sigma_a^2 + std^2 = sigma_b^2."""
    path = Path(schedule, [schedule.t_at_level(level) for level in (2.0, 0.6)])
    gain, _ = weights(path[0], path[1], [path[0]], path, X0, HALF_LOG_SNR, 1 + tau2)
    std = noise_std(path[0], path[1], tau2)
    assert gain**2 * path[0].sigma ** 2 + std**2 == pytest.approx(path[1].sigma ** 2, rel=1e-9)
