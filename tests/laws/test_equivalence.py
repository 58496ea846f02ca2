"""Statements about tables: which samplers are the same, and how two discretisations of one SDE approach each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered import SCHEDULES, slow

from difftool.plan import Plan, trace
from difftool.samplers import DDIM, DDPM, Euler, EulerMaruyama, Sampler
from difftool.schedules import VE, Flow, Path, VPLinear


def table(plan: Plan) -> np.ndarray:
    """All coefficients of a plan, (rows, x's + answers + noises), on the scale x / (alpha + sigma) of every row."""
    n, z = len(plan.rows), len(plan.noises)
    scale = [row.point.alpha + row.point.sigma for row in plan.rows]
    out = np.zeros((n, 2 * n + z))
    for r, row in enumerate(plan.rows):
        for k, c in row.x:
            out[r, k] = c * scale[k] / scale[r]
        for (k, _), c in row.m:
            out[r, n + k] = c / scale[r]
        for j, c in row.z:
            out[r, 2 * n + j] = c / scale[r]
    return out


@st.composite
def paths(draw) -> Path:
    schedule = draw(st.sampled_from(SCHEDULES))
    low = schedule.domain[0]
    top = schedule.t_start(True)
    places = draw(st.lists(st.floats(0.02, 1.0), min_size=2, max_size=8, unique_by=lambda u: round(u, 3)))
    times = sorted((low + u * (top - low) for u in places), reverse=True)
    return Path(schedule, [*times, low] if draw(st.booleans()) else times)


SAME: list[tuple[Sampler, Sampler]] = [
    (DDIM(eta=1.0), DDPM()),
    (DDPM(variance="between", v=0.0), DDPM()),
    (DDPM(variance="between", v=1.0), DDPM(variance="large")),
    (DDIM(), Euler(variable="level")),
    (DDIM(), Euler(variable="flow")),
]


@given(st.sampled_from(SAME), paths())
def test_the_same_sampler_twice(pair, path):
    a, b = (trace(sampler, path, "step") for sampler in pair)
    assert a.noises == b.noises
    # euler in the level divides by levels up to 1000, which costs it three digits of sixteen
    assert np.abs(table(a) - table(b)).max() < 1e-12


@given(paths())
def test_euler_in_t_is_another_sampler(path):
    other = not isinstance(path.schedule, (VE, Flow))  # there t is the level, or the flow time
    if other and path[-1].sigma > 0 and path.times[0] - path.times[1] > 0.05 * path.schedule.domain[1]:
        a, b = trace(DDIM(), path), trace(Euler(variable="t"), path)
        assert np.abs(table(a) - table(b)).max() > 1e-6


def difference(a: Plan, b: Plan) -> tuple[float, float, float]:
    """Largest difference of the A, B and C parts of two tables."""
    n = len(a.rows)
    gap = np.abs(table(a) - table(b))
    return gap[:, :n].max(), gap[:, n : 2 * n].max(), gap[:, 2 * n :].max()


def rates(sampler: Sampler, other: Sampler, schedule, low: float, high: float, steps: int = 100) -> np.ndarray:
    """Orders at which the A, B and C parts approach each other as the step goes to 0 on a fixed interval."""
    gaps = []
    for n in (steps, 2 * steps):
        path = Path(schedule, np.linspace(high, low, n + 1))
        gaps.append(difference(*(trace(s, path, "step") for s in (sampler, other))))
    return np.log2(np.array(gaps[0]) / np.array(gaps[1]))


def made_from_betas(schedule) -> bool:
    """Whether it is a table, or a transform of one."""
    inner = getattr(schedule, "schedule", None)
    return hasattr(schedule, "betas") or (inner is not None and made_from_betas(inner))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("shift", [0, *slow(1, 2)])
def test_ddpm_tends_to_euler_maruyama(shift, schedule):
    """Away from t = 0 the A and B rows agree to O(h^2), the C rows to O(h^1.5), for every choice of the variance.

    Iterated, that is: DDPM and Euler-Maruyama discretise the same reverse SDE. Every schedule meets every variance in
    one of the shifts.
    """
    variance = ("small", "large", "between")[(SCHEDULES.index(schedule) + shift) % 3]
    low, high = schedule.domain
    low, high = low + 0.3003 * (high - low), low + 0.8003 * (high - low)
    jumps = made_from_betas(schedule)
    a, b, c = rates(DDPM(variance=variance), EulerMaruyama(), schedule, low, high, 400 if jumps else 100)
    # a table's drift jumps at its 4, 50 or 1000 entries: a step over one is off by the jump, O(h) with a small factor
    if jumps:
        assert min(a, b) > 0.9
        assert c > 0.9
    else:
        assert a == pytest.approx(2.0, abs=0.1)
        assert b == pytest.approx(2.0, abs=0.1)
        assert c == pytest.approx(1.5, abs=0.1)


class HalfDiffusion(EulerMaruyama):
    """The reverse SDE with the drift of the probability flow: half the score."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            g2, dt = path.diffusion2(now), nxt.t - now.t
            eps = (x - now.alpha * model(x, now)) / now.sigma
            x = x + dt * (path.drift(now) * x + g2 / (2 * now.sigma) * eps) + (g2 * -dt) ** 0.5 * noise(now, nxt)
        return x


class WrongVariance(DDPM):
    """DDPM with the noise of the forward step."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            r = nxt.sigma * now.alpha / (now.sigma * nxt.alpha)
            x = nxt.alpha * (1 - r * r) * model(x, now) + nxt.sigma / now.sigma * r * x
            x = x + (1 - r * r) * noise(now, nxt)
        return x


@pytest.mark.parametrize("wrong", [HalfDiffusion(), WrongVariance()], ids=lambda s: type(s).__name__)
def test_the_rates_reject(wrong):
    other = DDPM() if isinstance(wrong, EulerMaruyama) else EulerMaruyama()
    a, b, c = rates(wrong, other, VPLinear(), 0.3, 0.8)
    assert min(a - 2, b - 2, c - 1.5) < -0.3
