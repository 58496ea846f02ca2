"""What runs where no sampler is named: it runs at any number of steps, and is stable."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from difftool import NetworkModel, sample
from difftool.grids import Explicit, FlowGrid, Karras
from difftool.models import Guided
from difftool.models.parametrization import PARAMETRIZATIONS, errors_of
from difftool.names.specs import make
from difftool.plan import trace
from difftool.plan.stability import CLASSES, amplification, guided_growth, stability
from difftool.samplers import DDIM, EulerMaruyama, FlowABM, UniPC
from difftool.sampling import choose, make_path, prepare
from difftool.sampling.default import LARGEST
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, ScaledLinear, VPLinear

SCHEDULES = DDPMLinear(), ScaledLinear(), VPLinear(), Cosine(), Flow(), VE(sigma_max=80.0)
STEPS = st.one_of(st.integers(1, 60), st.integers(61, 300))


class Tenth(torch.nn.Module):
    def forward(self, x, time, label=None):
        return 0.1 * x


def network(predicts="v", schedule=None, guidance=1.0):
    model = NetworkModel(Tenth(), schedule or Cosine(), predicts=predicts)
    return model if guidance == 1 else Guided(model, guidance)


def plan_of(model, steps, **options):
    sampler, grid = choose(model, steps=steps, **options)
    return trace(sampler, make_path(model, sampler, steps=steps, grid=grid))


def bound(model, steps):
    """What independent errors of size 1 may become: of v, flow and edm 1.3; of x0, whose end is steep, 2.5; of eps the
    level that it starts at, and 7 where there are steps to average over. That of a score is told as one of eps."""
    if model.predicts in ("eps", "score"):
        level = float(model.schedule.level(model.schedule.t_start(True)))
        return level * 1.01 if steps < 5 else 7.0
    return 2.5 if model.predicts == "x0" else 1.3


@settings(max_examples=12)
@example("eps", DDPMLinear(), 1000, 3.0)
@example("v", Cosine(), 1000, 1.0)
@example("v", Flow(), 3, 1.0)
@example("eps", Flow(), 5, 1.5)
@given(
    st.sampled_from(sorted(PARAMETRIZATIONS)), st.sampled_from(SCHEDULES), STEPS,
    st.sampled_from([1.0, 1.5, 3.0, 8.0, 30.0]),
)  # fmt: skip
def test_one_answer_a_step_and_errors_of_the_network_stay_bounded(predicts, schedule, steps, guidance):
    model = network(predicts, schedule, guidance)
    plan = plan_of(model, steps)
    assert plan.nfe == steps
    assert amplification(plan, errors_of("eps" if predicts == "score" else predicts)) <= bound(model, steps)


@settings(max_examples=12)
@given(st.sampled_from(sorted(PARAMETRIZATIONS)), STEPS, st.floats(1.0, 1e6))
def test_under_guidance_it_is_stable_or_no_worse_than_ddim(predicts, steps, guidance):
    model = network(predicts, DDPMLinear(), guidance)
    sampler, grid = choose(model, steps=steps)
    growth, calm = (
        guided_growth(trace(each, make_path(model, each, steps=steps, grid=grid)), guidance)
        for each in (sampler, DDIM())
    )
    assert growth <= max(LARGEST, calm)


@given(st.sampled_from([DDIM(), FlowABM(3), EulerMaruyama(), UniPC(2)]), st.integers(3, 12), st.floats(1.0, 40.0))
def test_growth_is_that_of_samples(sampler, steps, guidance):
    """By the run itself: on classes N(0, v) in data N(0, 1/2), the end is linear in the start and the noises."""
    model, law = network("x0", DDPMLinear(), guidance), []
    plan = trace(sampler, make_path(model, sampler, steps=steps))
    final = plan.rows[-1].point

    def answer(x, p, v):
        slope = lambda u: p.alpha * u / (p.alpha**2 * u + p.sigma**2)  # noqa: E731
        return (guidance * slope(v) - (guidance - 1) * slope(0.5)) * x

    class Only(dict):
        """Noise that is 1 for one key."""

        shape = (1, 1)

        def expect(self, keys):
            pass

        def draw(self, key, out=None):
            return torch.full((1, 1), float(key == self["key"]), dtype=torch.float64)

    for v in CLASSES:
        variance = 0.0
        for key in (None, *plan.noises):
            x = torch.full((1, 1), plan.rows[0].point.sigma if key is None else 0.0, dtype=torch.float64)
            run = plan.steps(x, noise=Only(key=key))
            x, p, row = next(run)
            while row.channels:
                x, p, row = run.send(answer(x, p, v))
            variance += float(x) ** 2
        law.append(math.sqrt(variance) / math.hypot(final.alpha * math.sqrt(0.5), final.sigma))
    assert guided_growth(plan, guidance) == pytest.approx(max(law), rel=1e-6)


def test_noise_that_is_left_and_a_way_up_are_no_growth():
    """A run that ends at a level of 10 has samples of that size; one that goes up is to be one of noise."""
    model = network("v", VE(sigma_max=80.0), 1.5)
    for grid in (Karras(end=10.0), FlowGrid(start=0.1, end=80.0)):
        assert choose(model, steps=40, grid=grid)[0].name == "flow-abm"
    up = FlowGrid(start=0.1, end=80.0)
    assert guided_growth(trace(DDIM(), make_path(model, DDIM(), steps=3, grid=up)), 30.0) == 0


def test_a_schedule_of_the_run_is_that_of_its_growth():
    model = network("v", Cosine(), 3.0)
    x = torch.zeros(2, 2)
    sample(model, x=x, grid=[80.0, 10.0, 0.0], schedule=VE(sigma_max=80.0), cond={"label": torch.zeros(2)})


interval = functools.cache(stability)


@pytest.mark.parametrize("guidance", [1.0, 1.5, 3.0, 8.0])
def test_the_order_grows_no_faster_than_the_stable_steepness(guidance):
    """How steep a network may be, from 5 steps on: 2.4 or more, 7 from order 4 on; or N / w, all that there is."""
    for steps in (*range(5, 13), 19, 20, 24, 47, 48, 51, 52, 63, 64, 143, 144, 384):
        sampler, _ = choose(network("v", Cosine(), guidance), steps=steps)
        least = 7.0 if getattr(sampler, "order", 1) == 4 else 2.4
        assert interval(sampler).real * steps / guidance >= 0.99 * min(least, steps / guidance), (sampler, steps)


AB, ABM = "adams:order=2,interpolates=flow,variable=flow", "flow-abm:order={}".format
UNIPC = "unipc:order=2,taper=true"
LEVEL = "half-log-snr:level_min={}".format
EVEN, LATE = "flow:b=2.0", "flow:a=9/7,b=2.25"


@pytest.mark.parametrize(
    ("predicts", "schedule", "guidance", "steps", "sampler", "grid"),
    [
        ("v", Cosine(), 1.0, 7, ABM(2), EVEN),
        ("v", Cosine(), 1.0, 8, ABM(3), EVEN),
        ("v", Cosine(), 1.0, 19, ABM(3), EVEN),
        ("v", Cosine(), 1.0, 20, ABM(3), LATE),
        ("v", Cosine(), 1.0, 47, ABM(3), LATE),
        ("v", Cosine(), 1.0, 48, ABM(4), LATE),
        ("flow", Flow(), 2.0, 12, AB, "flow:a=1.125,b=2.25"),
        ("flow", Flow(), 2.0, 13, ABM(2), EVEN),
        ("flow", Flow(), -1.0, 12, AB, "flow:a=1.125,b=2.25"),  # away from the condition, as steep as 2 towards it
        ("flow", Flow(), 0.5, 8, ABM(3), EVEN),
        ("eps", DDPMLinear(), 1.0, 7, ABM(1), LEVEL(0.05714)),
        ("eps", DDPMLinear(), 1.0, 8, UNIPC, LEVEL(0.02)),
        ("eps", DDPMLinear(), 1.0, 40, UNIPC, LEVEL(0.01)),
        ("eps", DDPMLinear(), 3.0, 7, "ddim", LEVEL(0.05714)),
        ("eps", DDPMLinear(), 3.0, 8, "unipc:order=1", LEVEL(0.05)),
        ("eps", DDPMLinear(), 3.0, 9, UNIPC, LEVEL(0.04444)),
        ("score", ScaledLinear(), 1.0, 7, "flow-sde:tau=0", EVEN),
        ("eps", ScaledLinear(), 1.0, 8, UNIPC, LEVEL(0.02)),
        ("eps", ScaledLinear(), 1.0, 15, UNIPC, LEVEL(0.02)),
        ("eps", ScaledLinear(), 1.0, 16, ABM(2), LATE),
        ("eps", ScaledLinear(), 1.0, 500, ABM(2), LATE),
        ("eps", ScaledLinear(), 4.0, 3, "ddim", LEVEL(0.1333)),
        ("eps", ScaledLinear(), 4.0, 4, AB, "flow:a=1.25,b=2.25"),
        ("eps", ScaledLinear(), 2.0, 12, AB, "flow:a=1.25,b=2.25"),
        ("eps", ScaledLinear(), 2.0, 13, UNIPC, LEVEL(0.03077)),
        ("x0", Cosine(), 2.0, 20, "flow-sde:tau=0", EVEN),
    ],
)
def test_on_both_sides_of_every_threshold(predicts, schedule, guidance, steps, sampler, grid):
    chosen, own = choose(network(predicts, schedule, guidance), steps=steps)
    assert chosen == make("samplers", sampler)
    assert own == make("grids", grid)


@pytest.mark.parametrize(("steps", "guidance"), [(2, 1.0), (2, 3.0), (2, 1e200), (100_000, 1.0)])
@pytest.mark.parametrize("predicts", ["v", "eps"])
def test_numbers_of_any_size_and_kind(predicts, guidance, steps):
    sampler, grid = choose(network(predicts, DDPMLinear(), guidance), steps=np.int64(steps), grid=FlowGrid())
    assert grid == FlowGrid()
    assert sampler.stochastic is False


@given(st.sampled_from(sorted(PARAMETRIZATIONS)), st.sampled_from(SCHEDULES), st.integers(1, 40))
def test_the_stochastic_one_draws_noise(predicts, schedule, steps):
    model = network(predicts, schedule)
    plan = plan_of(model, steps, stochastic=True)
    assert plan.nfe == steps
    assert choose(model, steps=steps, stochastic=True)[0].stochastic


def test_a_grid_that_is_named_replaces_the_grid_alone():
    model = network()
    sampler, grid = choose(model, steps=20, grid=Karras())
    assert (sampler, grid) == (choose(model, steps=20)[0], Karras())
    by_times, explicit = choose(model, grid=[1.0, 0.5, 0.2, 0.0])
    assert isinstance(explicit, Explicit)
    assert by_times == choose(model, steps=3)[0]


def test_a_plain_run_is_the_chosen_one():
    model = network("eps", DDPMLinear())
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sampler, grid = choose(model, steps=9)
    plain, named = prepare(model, steps=9, shape=(3, 2)), prepare(model, sampler, steps=9, grid=grid, shape=(3, 2))
    assert torch.equal(plain.batch(0, 3, 157.0 * x), named.batch(0, 3, 157.0 * x))
