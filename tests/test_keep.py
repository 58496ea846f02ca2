"""What a plan keeps in registers of its own: values that a method carries, that the model is never asked about."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difftool.grids import FlowGrid
from difftool.models import PARAMETRIZATIONS, GaussianMixture, NetworkModel
from difftool.noise import Independent
from difftool.plan import Execution, compile_plan, run, trace
from difftool.samplers import DDIM, DDPM, EulerMaruyama, Heun, Sampler, eps_of
from difftool.schedules import Flow, Path, VPLinear


@dataclass(frozen=True)
class Corrected(Sampler):
    """Adams in PEC mode: the model is asked at the predicted state only, the corrected one is carried on."""

    history: int = 1
    point_mass = True
    accuracy = 2

    def __call__(self, model, x, path, noise):
        y, old, predicted = x / (path[0].alpha + path[0].sigma), [], x
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(predicted, now)
            v = eps_of(predicted, x0, now) - x0
            if i:
                y = y + (now.flow - path[i - 1].flow) * (v + sum(old)) / (1 + len(old))
            old = [v, *old][: self.history]
            predicted = (nxt.alpha + nxt.sigma) * (y + (nxt.flow - now.flow) * sum(old) / len(old))
        return predicted


def path_of(steps, schedule=None):
    schedule = schedule or VPLinear()
    return Path(schedule, FlowGrid()(schedule, steps))


@pytest.mark.parametrize("history", [1, 2, 5])
def test_a_corrected_state_is_kept(history):
    """Or every row would reach back to the input state and all answers."""
    plan = trace(Corrected(history), path_of(40))
    assert plan.nfe == 40
    assert sum(row.kind == "register" for row in plan.rows) >= 40 - history - 4
    assert max(len(row.m) for row in plan.rows) <= history + 2  # in the first steps nothing would be saved yet
    assert [row.index for row in plan.rows if row.kind == "grid"] == list(range(41))
    bound = NetworkModel(lambda x, t: x, Flow(), "flow").bind(VPLinear())
    few, many = (compile_plan(trace(Corrected(history), path_of(n)), bound)[1].registers for n in (20, 40))
    assert few == many


@pytest.mark.parametrize("sampler", [DDIM(), DDPM(), Heun(), Heun(variable="level"), EulerMaruyama()], ids=str)
def test_nothing_more_is_kept_than_needed(sampler):
    assert all(row.kind != "register" for row in trace(sampler, path_of(9)).rows)


@dataclass(frozen=True)
class Anything(Sampler):
    """A loop that carries, mixes and forgets values at random; now and then the model is asked about one."""

    seed: int = 0

    def __call__(self, model, x, path, noise):
        dice = random.Random(self.seed)
        values = [x]
        for now, nxt in pairwise(path):
            for _ in range(dice.randint(1, 3)):
                values.append(model(dice.choice(values), now))
            for _ in range(dice.randint(1, 4)):
                a, b = dice.choice(values), dice.choice(values)
                values.append(dice.uniform(-0.7, 0.7) * a + b / dice.uniform(1.5, 3))
            if dice.random() < 0.5:
                values.append(values[-1] + 0.3 * noise(now, nxt))
            values = dice.sample(values, min(len(values), dice.randint(1, 8)))
        return sum(values)


@given(
    seed=st.integers(0, 2**32), steps=st.integers(1, 12), predicts=st.sampled_from([None, *PARAMETRIZATIONS]),
    at=st.integers(0, 40),
)  # fmt: skip
def test_any_loop_is_its_plan(seed, steps, predicts, at):
    """In every form, whole and taken up again in the middle."""
    sampler, path = Anything(seed), path_of(steps)
    exact = GaussianMixture(torch.tensor([[0.5, -0.3], [-0.6, 0.4]]), 0.04)
    net = torch.nn.Linear(2, 2, dtype=torch.float64)
    model = (
        NetworkModel(lambda x, t: torch.tanh(net(x)), VPLinear(), predicts).to(dtype=torch.float64)
        if predicts
        else exact
    )
    bound = model.bind(VPLinear())
    plan = trace(sampler, path)
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    fresh = lambda: Independent().source((3, 2), seed=seed % 1000, dtype=torch.float64)  # noqa: E731
    with torch.no_grad():
        expected = sampler(bound, x, path, fresh())
        torch.testing.assert_close(run(plan, bound, x, fresh()), expected, rtol=1e-8, atol=1e-8)
        execution = Execution(plan, noise=fresh(), raw=bound)
        steps_, (call, told) = execution.steps(x), bound.prepare([r.point for r in plan.rows if r.channels], x)
        y, _, _ = next(steps_)
        for i in range(at % (plan.nfe + 1)):
            y, _, _ = steps_.send(call(y, told[i]))
        taken_up = run(plan, bound, None, fresh(), state=execution.state())
        torch.testing.assert_close(taken_up, expected, rtol=1e-8, atol=1e-8)
