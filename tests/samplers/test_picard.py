"""picard: sweeps that have converged are the sequential run, and what one sweep is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, output_map
from difftool.samplers import DDIM, Euler, Picard
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear


@st.composite
def paths(draw):
    schedule = draw(st.sampled_from([VPLinear(), Cosine(), VE(), Flow()]))
    s = draw(st.lists(st.integers(2, 95), min_size=2, max_size=9, unique=True))
    times = [schedule.t_at_flow(v / 100) for v in sorted(s, reverse=True)]
    return Path(schedule, [*times, schedule.domain[0]] if draw(st.booleans()) else times)


def model(x, p):
    return x / p.alpha if p.sigma == 0 else np.tanh(x / (p.alpha + p.sigma)) * (1 + 0.3 * p.flow)


@given(paths(), st.sampled_from(["flow", "level", "t"]), st.integers(0, 3), st.sampled_from([None, 1, 2, 3, 20]))
def test_as_many_sweeps_as_steps_are_the_sequential_run(path, variable, more, window):
    if variable == "t" and path[-1].sigma == 0:
        path = path[:-1]
    if len(path) < 2:
        return
    sweeps = min(window or len(path), len(path) - 1) + more
    expected = Euler(variable)(model, 0.8, path, None)
    assert Picard(variable, sweeps, window)(model, 0.8, path, None) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("window", [None, 4])
def test_the_plans_give_the_same_on_gaussian_data(window):
    path = Path(VPLinear(), np.linspace(1.0, 0.0, 9))
    data = Gaussian.of([0.4, -0.7], [0.3, 0.01])
    a, b = (output_map(trace(s, path, "step"), data) for s in (Picard(sweeps=8, window=window), DDIM()))
    for ours, sequential in zip(a, b, strict=True):
        np.testing.assert_allclose(ours, sequential, atol=1e-12)


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_a_sweep(sweeps):
    """y_i = y_0 + sum of the slopes of the sweep before, in the flow time; all states evaluated every time."""
    path = Path(Flow(), [0.9, 0.7, 0.6, 0.4, 0.1])
    s = np.array([p.flow for p in path])
    y = np.full(5, 0.8)
    for _ in range(sweeps):
        slopes = np.array([(v - p.alpha * model(v, p)) / p.sigma - model(v, p) for v, p in zip(y, path, strict=True)])
        y = np.concatenate([y[:1], y[0] + np.cumsum(np.diff(s) * slopes[:-1])])
    assert Picard(sweeps=sweeps, window=None)(model, 0.8, path, None) == pytest.approx(y[-1], abs=1e-12)


@given(paths(), st.integers(1, 5), st.sampled_from([None, 1, 2, 3, 20]))
def test_evaluations_do_not_repeat_what_is_known(path, sweeps, window):
    seen = []

    def counted(x, p):
        seen.append((p, x))
        return model(x, p)

    sampler = Picard("flow", sweeps, window)
    sampler(counted, 0.8, path, None)
    assert len(seen) == len(set(seen)) == sampler.nfe(path)


def test_refusals():
    with pytest.raises(DifftoolError, match=r"picard takes sweeps >= 1 \(a whole number\), got 0"):
        Picard(sweeps=0)
    with pytest.raises(DifftoolError, match=r"picard takes window >= 1 \(a whole number\), got 2.5"):
        Picard(window=2.5)
