"""Stability intervals and the amplification of a network's errors: from the table, held to the classical values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered import ONE_EACH

from difftool.errors import NotAffine
from difftool.grids import FlowGrid
from difftool.models.parametrization import PARAMETRIZATIONS, errors_of
from difftool.names.specs import make
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, exact_x0
from difftool.plan.stability import LARGEST, amplification, error_gains, stability
from difftool.samplers import DDIM, Adams, DPMpp, EulerMaruyama, FlowABM, UniPC
from difftool.schedules import Cosine, DDPMLinear, Flow, Path, VPLinear


def integrals(nodes, a, b):
    """Of the Lagrange polynomials of the nodes over [a, b], by numpy's polynomials."""
    out = []
    for j, node in enumerate(nodes):
        p = np.poly1d([1.0])
        for m, other in enumerate(nodes):
            if m != j:
                p = p * np.poly1d([1.0, -other]) / (node - other)
        whole = p.integ()
        out.append(whole(b) - whole(a))
    return np.array(out)


def largest_stable(companion):
    """The largest z with all eigenvalues of companion(z) in the unit disc, for all smaller z too; by bisection."""
    zs = np.linspace(0.002, 3.0, 3000)
    radius = [np.abs(np.linalg.eigvals(companion(z))).max() for z in zs]
    return zs[int(np.argmax(np.array(radius) > 1 + 1e-6)) - 1]


def adams_bashforth(p):
    b = integrals(-np.arange(p), 0.0, 1.0)

    def companion(z):
        matrix = np.eye(p, k=-1)
        matrix[0] = -z * b
        matrix[0, 0] += 1
        return matrix

    return companion


def pec(p):
    """y, and the last p + 1 velocities -z yp: corrector of p + 1 points, then the predictor of p."""
    am, ab = integrals(1.0 - np.arange(p + 1), 0.0, 1.0), integrals(-np.arange(p), 0.0, 1.0)

    def companion(z):
        size = p + 2  # yp_n, y_(n-1), v_(n-1) .. v_(n-p)
        step = np.zeros((size, size))
        velocity = np.zeros(size)
        velocity[0] = -z
        kept = [velocity] + [np.eye(size)[2 + j] for j in range(p)]
        y = np.eye(size)[1] + sum(w * v for w, v in zip(am, kept, strict=True))
        step[0] = y + sum(w * v for w, v in zip(ab, kept, strict=False))
        step[1] = y
        for j in range(p):
            step[2 + j] = kept[j]
        return step

    return companion


@pytest.mark.parametrize("p", [1, 2, 3, 4])
def test_adams_bashforth_in_every_currency(p):
    """All variables are straight lines of one another over so short a way."""
    expected = {1: 2.0, 2: 1.0, 3: 6 / 11, 4: 0.3}[p]
    assert largest_stable(adams_bashforth(p)) == pytest.approx(expected, abs=2e-3)
    for currency, variable in (("flow", "flow"), ("x0", "half-log-snr"), ("eps", "level"), ("eps", "t")):
        found = stability(Adams(order=p, interpolates=currency, variable=variable))
        assert found.real == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("p", [1, 2, 3, 4, 5])
def test_predict_evaluate_correct(p):
    assert stability(FlowABM(order=p)).real == pytest.approx(largest_stable(pec(p)), rel=0.02)  # a scan by 0.001


@pytest.mark.parametrize(
    ("spec", "real"),
    [
        ("euler", 2.0), ("ddim", 2.0), ("heun", 2.0), ("midpoint", 2.0), ("kutta3", 2.5127), ("rk4", 2.7853),
        ("dpm-solver-2", 2.0), ("dpmpp-2m", 1.0), ("em", 1.0), ("ddim:eta=1", 1.0), ("unip:order=2", 1.0),
    ],
)  # fmt: skip
def test_classical_values(spec, real):
    """Hairer & Wanner, tables IV.2.1 and V.1.1; a step of the reverse SDE is twice as steep as one of the ODE."""
    found = stability(make("samplers", spec))
    assert found.real == pytest.approx(real, rel=1e-3)
    assert 0 < found.disc <= found.real


def test_a_method_that_is_not_zero_stable_has_no_interval():
    """The most accurate explicit two-step method: y'' = -4 y' + 5 y + h (4 f' + 2 f), Dahlquist's example."""

    class Dahlquist(Adams):
        def __call__(self, model, x, path, noise):
            before = None
            for now, nxt in pairwise(path):
                y = x / (now.alpha + now.sigma)
                v = (x - now.alpha * model(x, now)) / now.sigma - model(x, now)
                h = nxt.flow - now.flow
                new = y + h * v if before is None else -4 * y + 5 * before[0] + h * (4 * v + 2 * before[1])
                before, x = (y, v), (nxt.alpha + nxt.sigma) * new
            return x

    assert stability(Dahlquist()).real == 0


def test_what_no_plan_holds_has_none():
    assert stability(make("samplers", "ode")) is None
    assert stability(make("samplers", "embedded")) is None


def run(plan, x, at=None):
    """The plan on the exact model of N(0, 1/2), with 1 added to the answer number `at`."""
    data, states, answers, count = Gaussian.of(0.0, 0.5), {0: x}, {}, 0
    for r, row in enumerate(plan.rows):
        if r:
            states[r] = sum(c * states[k] for k, c in row.x) + sum(c * answers[k] for (k, _), c in row.m)
        if row.channels:
            answers[r] = float(exact_x0(data, row.point)[1][0]) * states[r] + (count == at)
            count += 1
    return states[len(plan.rows) - 1]


@pytest.mark.parametrize("schedule", [DDPMLinear(), Cosine(), Flow()], ids=str)
@given(spec=st.sampled_from(ONE_EACH), steps=st.integers(3, 9))
def test_gains_are_differences(schedule, spec, steps):
    """An error of 1 is put into each answer in turn, and its effect at the end is seen."""
    sampler = make("samplers", spec)
    times = FlowGrid(start=schedule.t_start(True))(schedule, max(steps, sampler.needs_steps))
    try:
        plan = trace(sampler, Path(schedule, times))
    except NotAffine:
        return
    if any(row.channels > 1 for row in plan.rows):
        return
    end = run(plan, 0.3)
    expected = [abs(run(plan, 0.3, at) - end) for at in range(plan.nfe)]
    np.testing.assert_allclose(error_gains(plan, lambda p: 1.0), expected, rtol=1e-6, atol=1e-9 * max(expected))


@pytest.mark.parametrize("predicts", sorted(PARAMETRIZATIONS))
def test_errors_of_an_answer_are_errors_of_x0(predicts):
    """|x0(F + 1) - x0(F)| by the affine form."""
    for p in (VPLinear().at(0.3), VPLinear().at(0.9)):
        skip, out, _ = PARAMETRIZATIONS[predicts].coefficients(p, 0.5)
        assert errors_of(predicts)(p) == pytest.approx(abs((skip * 0.7 + out * 1.4) - (skip * 0.7 + out * 0.4)))


def test_published_figures():
    """Measured by another implementation for the search of the default: data of variance 1/2 on ddpm-linear."""

    def figure(sampler, grid, steps):
        schedule = DDPMLinear()
        return amplification(trace(sampler, Path(schedule, make("grids", grid)(schedule, steps))), errors_of("eps"))

    default = "flow:a=4/3,b=5/3"
    assert [figure(FlowABM(order=p), default, n) for p, n in ((2, 5), (3, 10), (4, 20))] == pytest.approx(
        [9.1, 3.3, 1.6], rel=0.03
    )  # told to two digits
    found = [figure(DPMpp(order=2), "karras:level_min=0.002", n) for n in (5, 10, 20, 50)]
    assert found == pytest.approx([32, 1.5, 1.0, 0.68], rel=0.04)


def test_a_steep_network_runs_away_beyond_the_interval_and_not_within():
    """One run of many equal steps, the velocity kappa (y - 1): what the interval says is what happens."""
    for sampler in (DDIM(), FlowABM(order=2), FlowABM(order=4), UniPC(order=2), EulerMaruyama()):
        real, h = stability(sampler).real, 1e-4
        path = Path(Flow(), [0.6 - h * i for i in range(1001)])
        for factor, runs_away in ((0.9, False), (1.1, True)):
            kappa = factor * real / h
            model = lambda x, p, kappa=kappa: x - p.sigma * kappa * x  # noqa: E731
            end = abs(sampler(model, 1.0, path, lambda now=None, nxt=None: 0.0))
            assert (end > 1e6 or np.isnan(end)) == runs_away, (sampler, factor, end)
    assert LARGEST > 10
