"""reab: exact for unit Gaussians, its weights by quadrature, and what azula's index does to its order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from difftool.checks.orders import one_step_order
from difftool.errors import DifftoolError
from difftool.samplers import REAB, Sampler
from difftool.samplers.interpolate import lagrange
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear

SCHEDULES = [VPLinear(), Cosine(), VE(), Flow()]
places = st.lists(st.integers(1, 98), min_size=2, max_size=7, unique=True)


@given(st.sampled_from(SCHEDULES), places, st.sampled_from([1, 2, 5]), st.booleans())
def test_exact_for_unit_gaussian_data_in_any_steps(schedule, s, order, up):
    times = [schedule.t_at_flow(v / 100) for v in sorted(s, reverse=not up)]
    path = Path(schedule, times)

    def model(x, p):
        return p.alpha * x / (p.alpha**2 + p.sigma**2)

    grown = math.hypot(path[-1].alpha, path[-1].sigma) / math.hypot(path[0].alpha, path[0].sigma)
    assert REAB(order)(model, 0.7, path, None) == pytest.approx(0.7 * grown, rel=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_the_rosenbrock_form(order):
    """dy/du = a y + b f, u = log l: y_b = Psi(a, b) y_a + int Psi(u, b) b_u f du, f a polynomial through answers."""
    path = Path(VPLinear(), [0.9, 0.7, 0.62, 0.5, 0.31, 0.2, 0.1])
    points = list(path)
    u = [math.log(p.level) for p in points]

    def model(x, p):
        return np.tanh(x) * (1 + 0.3 * p.flow)

    def psi(v, w):
        return math.sqrt((1 + math.exp(2 * w)) / (1 + math.exp(2 * v)))

    y, history = 0.8 / points[0].alpha, []
    for i, now in enumerate(points[:-1]):
        a = now.level**2 / (1 + now.level**2)
        history.insert(0, ((1 - a) * y - model(now.alpha * y, now)) / math.sqrt(a))
        n = min(order, i + 1)
        known = [u[i - j] for j in range(n)]

        def integrand(v, j, known=known, end=u[i + 1]):
            return psi(v, end) * math.exp(v) / math.sqrt(1 + math.exp(2 * v)) * lagrange(known, v)[j]

        weights = [quad(integrand, u[i], u[i + 1], args=(j,), epsabs=1e-13)[0] for j in range(n)]
        y = psi(u[i], u[i + 1]) * y + sum(w * f for w, f in zip(weights, history, strict=False))
    assert REAB(order)(model, 0.8, path, None) == pytest.approx(points[-1].alpha * y, abs=1e-11)


@dataclass(frozen=True)
class Azulas(Sampler):
    """Its update with sigma of the start of the step where that of the end belongs."""

    end: bool = False

    def __call__(self, model, x, path, noise):
        past = []
        for now, nxt in pairwise(path):
            a = now.level**2 / (1 + now.level**2)
            f = ((1 - a) / now.alpha * x - model(x, now)) / math.sqrt(a)
            past = [(math.log(now.level), f), *past][:3]
            u = [v for v, _ in past]
            scale = math.hypot(nxt.alpha, (nxt if self.end else now).sigma)
            x = math.hypot(nxt.alpha, nxt.sigma) / math.hypot(now.alpha, now.sigma) * x
            for j, (_, f) in enumerate(past):
                weight = quad(lambda v, j=j: lagrange(u, v)[j] / (2 * math.cosh(v)), u[0], math.log(nxt.level))[0]  # noqa: B023
                x = x + scale * weight * f
        return x


def test_the_wrong_index_costs_two_orders():
    assert one_step_order(Azulas()) == pytest.approx(1, abs=0.15)
    assert one_step_order(Azulas(end=True)) == pytest.approx(3, abs=0.15)
    assert one_step_order(REAB(3)) == pytest.approx(3, abs=0.15)


def test_from_pure_noise_and_to_clean_data():
    """Where half-log-snr is infinite v is held: v = -x0 as the angle goes from pi/2 to 0 in one step."""
    path = Path(Flow(), [1.0, 0.0])
    assert REAB()(lambda x, p: 0.3, 0.8, path, None) == pytest.approx(0.8 + math.pi / 2 * 0.3, rel=1e-12)


def test_refusals():
    with pytest.raises(DifftoolError, match="reab takes order 1, 2, 3, 4 or 5, got 6"):
        REAB(6)
