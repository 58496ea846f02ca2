"""stork: the Runge-Kutta-Gegenbauer stages, and what they are on a polynomial."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.samplers import Stork
from difftool.samplers.adams import flow_ab
from difftool.samplers.stork import _b, stork_4
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear

places = st.lists(st.integers(2, 98), min_size=3, max_size=7, unique=True)


def model(x, p):
    return x / p.alpha if p.sigma == 0 else np.tanh(x / (p.alpha + p.sigma)) * (1 + 0.3 * p.flow)


@given(st.sampled_from([VPLinear(), Cosine(), VE(), Flow()]), places, st.integers(3, 60))
def test_in_the_flow_time_it_is_adams_bashforth_whatever_the_stages(schedule, s, stages):
    path = Path(schedule, [*(schedule.t_at_flow(v / 100) for v in sorted(s, reverse=True)), schedule.domain[0]])
    expected = flow_ab(2)(model, 0.8, path, None)
    assert Stork("flow", stages)(model, 0.8, path, None) == pytest.approx(expected, abs=1e-9)


def polynomial(stages, times):
    """What the recurrence makes of y' = 1, and of y' = u with the stages at the given times, over a step of 1."""
    w = 6 / ((stages + 4) * (stages - 1))
    f = np.array([1.0, 0.0])
    before, last = np.zeros(2), w * f
    for j in range(2, stages + 1):
        mu, nu = (2 * j + 1) * _b(j) / (j * _b(j - 1)), -(j + 1) * _b(j) / (j * _b(j - 2))
        gamma = -mu * w * (1 - j * (j + 1) * _b(j - 1) / 2)
        before, last = last, mu * last + nu * before + mu * w * np.array([1.0, times(j - 1)]) + gamma * f
    return last


@pytest.mark.parametrize(("stages", "missing"), [(5, 0.123), (50, 0.0208)])
def test_the_times_of_the_stages(stages, missing):
    """Those of the recurrence integrate 1 and u exactly; the published ones do not integrate u."""

    def ours(j):
        return 6 / ((stages - 1) * (stages + 4)) if j == 1 else (j - 1) * (j + 4) / ((stages - 1) * (stages + 4))

    def published(j):
        return 4 / (3 * (stages**2 + stages - 2)) if j == 1 else (j * j + j - 2) / (stages**2 + stages - 2)

    np.testing.assert_allclose(polynomial(stages, ours), [1, 0.5], rtol=1e-10)
    one, half = polynomial(stages, published)
    assert one == pytest.approx(1)
    assert 1 - 2 * half == pytest.approx(missing, abs=1e-3)


@pytest.mark.parametrize("stages", [3, 10, 50])
def test_the_linear_part_is_of_order_two_and_stable(stages):
    """With eps = 0 the drift is f(t) x and x goes as alpha, whatever the step."""
    schedule = VPLinear()

    def defect(h):
        path = Path(schedule, [0.8, 0.8 - h])
        exact = path[1].alpha / path[0].alpha
        return abs(Stork(stages=stages)(lambda x, p: x / p.alpha, 1.0, path, None) - exact)

    assert math.log2(defect(0.02) / defect(0.01)) == pytest.approx(3, abs=0.15)
    up = Path(schedule, [0.5, 0.95])  # where f dt = -3.4 altogether
    out = Stork(stages=stages)(lambda x, p: x / p.alpha, 1.0, up, None)
    assert 0 < out < 0.3
    assert 1 + schedule.drift(0.5) * 0.45 < -1  # what Euler's method makes of it


def test_the_extrapolation_is_through_the_answers():
    """eps of degree 2 in t: three answers or four give the same step, two another."""
    path = Path(VPLinear(), [0.9, 0.8, 0.72, 0.6, 0.5])
    past = [(p, 1 + p.t - 2 * p.t**2) for p in path.points[3::-1]]

    def step(n):
        kept, w = Stork(stages=9)._weights(path[3], path[4], [p for p, _ in past[:n]], path)
        return 0.8 * kept + sum(c * answer for c, (_, answer) in zip(w, past[:n], strict=True))

    two, three, four = map(step, (2, 3, 4))
    assert three == pytest.approx(four, abs=1e-12)
    assert abs(three - two) > 1e-3


def test_order_four_in_the_flow_time_is_adams_bashforth():
    assert [stork_4(d) for d in (1, 2, 3)] == [flow_ab(2), flow_ab(3), flow_ab(4)]


def test_refusals():
    with pytest.raises(DifftoolError, match="stork takes variable t or flow, got 'level'"):
        Stork("level")
    with pytest.raises(DifftoolError, match=r"stork takes stages from 3 to 1000 \(a whole number\), got 2"):
        Stork(stages=2)
    with pytest.raises(DifftoolError, match="stork takes derivatives 1, 2 or 3, got 4"):
        Stork(derivatives=4)
    with pytest.raises(DifftoolError, match="stork-4 takes derivatives 1, 2 or 3, got 0"):
        stork_4(0)
