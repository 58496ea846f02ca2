"""ER-SDE-Solver: the published loop, the exact integrals, and its ODE."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import denoised, levels_of, ours, path_of, paths, runs, same_plan
from scipy.integrate import quad

from difftool.errors import DifftoolError
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, error
from difftool.samplers import ERSDE, Adams, Seeds1
from difftool.schedules import VE, Flow, Path, VPLinear

DATA = Gaussian.of([0.3, -0.5, 0.0], [0.5, 0.05, 1.5])


def scale(level, eta=1.0):
    """phi, the noise scale function."""
    return level * (np.exp(level**0.3) + 10) ** eta


def published(levels, y, noises, eta, stages, points):
    """Taylor steps of up to three stages, as in the authors' code (there with 100 points)."""
    past, before = [], None
    for i in range(len(levels) - 1):
        a, b = levels[i], levels[i + 1]
        d0 = denoised(y, a)
        if b == 0:
            return d0
        r = scale(b, eta) / scale(a, eta)
        new = r * y + (1 - r) * d0
        first = None
        if min(stages, i + 1) >= 2:
            u = b + np.arange(points) * (a - b) / points
            first = (d0 - past[-1]) / (a - levels[i - 1])
            new = new + (b - a + (scale(b, eta) / scale(u, eta)).sum() * (a - b) / points) * first
            if min(stages, i + 1) >= 3:
                second = (first - before) / ((a - levels[i - 2]) / 2)
                s = ((u - a) * scale(b, eta) / scale(u, eta)).sum() * (a - b) / points
                new = new + ((b - a) ** 2 / 2 + s) * second
        past, before = [*past, d0], first
        y = new + math.sqrt(b**2 - a**2 * r**2) * noises.pop(0)
    return y


@given(runs(), st.floats(0.1, 1.5), st.sampled_from([1, 2, 3]), st.sampled_from([7, 200]))
def test_as_published(run, eta, order, points):
    path, y, noises = run
    left = list(noises)
    expected = published(levels_of(path), y, left, eta, order, points)
    sampler = ERSDE(order, eta=eta, variant="published", points=points)
    got = ours(sampler, path, y, noises[: len(noises) - len(left)])
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8)  # levels by times; differences of close levels


@given(paths(least=3, end=False), st.floats(0.1, 1.5))
def test_exact_integrals_of_the_line_through_two_answers(path, eta):
    """The last row: int_b^a line(l) phi_b phi' / phi^2 dl, phi = l^k with the right ratio at the ends."""
    row = trace(ERSDE(2, eta=eta), path).rows[-1]
    c, a, b = levels_of(path)[-3:]
    k = math.log(scale(b, eta) / scale(a, eta)) / math.log(b / a)
    weight = [
        quad(lambda u, i=i: (u - c if i == 0 else a - u) / (a - c) * b**k * k * u ** (-k - 1), b, a, epsabs=1e-13)[0]
        for i in (0, 1)
    ]
    answers = sorted(row.m, reverse=True)
    assert [v / path[-1].alpha for _, v in answers] == pytest.approx(weight, rel=1e-9)
    (_, gain), std = row.x[-1], row.z[0][1]
    r = scale(b, eta) / scale(a, eta)
    assert gain * path[-2].alpha / path[-1].alpha == pytest.approx(r, rel=1e-9)
    assert std / path[-1].alpha == pytest.approx(math.sqrt(b**2 - a**2 * r**2), rel=1e-9)


@given(paths(least=3), st.sampled_from([1, 2, 3]), st.sampled_from(["ramp", "runge-kutta"]), st.booleans())
def test_its_ode_is_an_adams_method_in_the_level(path, order, start, taper):
    adams = Adams(order, start, taper, "x0", "level")
    assert same_plan(ERSDE(order, start, taper, eta=0.0), adams, path)
    assert not same_plan(ERSDE(order, taper=taper, eta=0.1), adams, path)


@given(paths(), st.floats(0.1, 1.0))
def test_order_1_is_the_same_in_both_variants(path, eta):
    assert same_plan(ERSDE(1, eta=eta), ERSDE(1, eta=eta, variant="published"), path, 1e-9)  # 1 - r against expm1
    assert not same_plan(ERSDE(1, eta=eta), Seeds1(eta), path, 1e-6)


def test_left_sums_cost_an_order():
    """Measured with 20 points, where it shows at fewer steps than with 200."""
    fine, coarse = (path_of(VPLinear(), np.geomspace(4.0, 0.25, n + 1)) for n in (256, 128))
    rates = [
        math.log2(error(trace(sampler, coarse), DATA) / error(trace(sampler, fine), DATA))
        for sampler in (ERSDE(3), ERSDE(3, variant="published", points=20))
    ]
    assert rates[0] == pytest.approx(2, abs=0.1)
    assert rates[1] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("variant", ["exact", "published"])
def test_from_pure_noise_to_data(variant):
    plan = trace(ERSDE(variant=variant), Path(Flow(), (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)))
    assert all(math.isfinite(c) for row in plan.rows for _, c in row.terms())
    first = plan.rows[1]  # x = alpha x0 + sigma z
    assert first.x == ()
    assert [c for _, c in (*first.m, *first.z)] == pytest.approx([0.2, 0.8])
    assert variant == "exact" or [c for _, c in plan.rows[-1].m] == [pytest.approx(1.0)]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ERSDE(4), "er-sde takes order 1, 2 or 3, got 4"),
        (lambda: ERSDE(eta=-1.0), "er-sde takes eta >= 0, got -1.0"),
        (lambda: ERSDE(s_noise=0.0), "er-sde takes s_noise > 0, got 0.0"),
        (lambda: ERSDE(variant="taylor"), "er-sde takes variant exact or published, got 'taylor'"),
        (lambda: ERSDE(points=0), "er-sde takes points from 1 to 10000 (a whole number), got 0"),
    ],
)
def test_refusals(made, message):
    with pytest.raises(DifftoolError) as error:
        made()
    assert str(error.value) == message


def test_noise_runs_downwards_only():
    with pytest.raises(DifftoolError, match="runs from noise to data"):
        trace(ERSDE(), path_of(VE(), (0.1, 1.0)))
