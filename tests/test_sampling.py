"""sample(): every parameter of the front door, what a run reports, and what it refuses."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from exact import ExactNetwork, mixture, randn, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from registered import ONE_EACH, slow

from difftool import sample, trace
from difftool.errors import DifftoolError, NonFinite
from difftool.grids import Explicit, FlowGrid, HalfLogSNR, Karras, Quadratic, Uniform
from difftool.models import GaussianMixture, NetworkModel
from difftool.noise import BrownianPath, Generator, Independent
from difftool.plan import RunState, run
from difftool.samplers import (
    DDIM,
    DDPM,
    Adams,
    AdaptiveODE,
    AnnealedLangevin,
    EmbeddedRK,
    Euler,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    Restart,
)
from difftool.sampling import Step, batches, make_path, prepare, start_of, steps_for_nfe
from difftool.schedules import ALPHA_MIN, VE, Cosine, DDPMLinear, Flow, VPLinear
from difftool.specs import make

F64 = torch.float64
FIXED = [name for name in ONE_EACH if not make("samplers", name).adaptive]
DETERMINISTIC = [name for name in FIXED if not make("samplers", name).stochastic]
UPWARDS = [name for name in DETERMINISTIC if name != "heunpp2"]  # its weights are levels over that of the start
SEPARATE = [name for name in ONE_EACH if make("samplers", name).batch_independent]
FIVE = [VPLinear(), DDPMLinear(), Cosine(), VE(), Flow()]

fixed = st.sampled_from(FIXED).map(lambda name: make("samplers", name))


def close(a, b, rtol=1e-8, atol=1e-8):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def exact_network(predicts="eps", schedule=None):
    exact = mixture(3)
    net = ExactNetwork(exact, predicts)
    return NetworkModel(net, schedule or VPLinear(), predicts, time=net.number, shape=exact.shape)


class Tanh(torch.nn.Module):
    """A small smooth network, float64, with two parameters and a conditioning."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.7, dtype=F64))
        self.shift = torch.nn.Parameter(torch.tensor([0.1, -0.2, 0.3], dtype=F64))

    def forward(self, x, t, label=None):
        out = torch.tanh(self.scale * x) + self.shift * t.to(x.dtype)[:, None]
        return out if label is None else out + label[:, None]


# --- parameters -------------------------------------------------------------------------------------------------------


def test_every_parameter_matters():
    """From a base call, a change of any one parameter changes the samples; the default spelt out does not."""
    net = Tanh()
    model, base = NetworkModel(net, VPLinear(), "v"), {"shape": (4, 3), "steps": 5}
    # the sampler is stochastic, and its own last step is not the mean
    sampler = Euler(variable="t")
    for same in (
        {}, {"seed": 0}, {"noise": Independent()}, {"schedule": VPLinear()}, {"grid": FlowGrid()}, {"last": "mean"},
        {"batch_size": 4}, {"device": "cpu"}, {"dtype": F64}, {"callback": lambda step: None}, {"cond": {}},
        {"grid": FlowGrid()(VPLinear(), 5), "steps": None},
    ):  # fmt: skip
        assert torch.equal(sample(model, sampler, **{**base, **same}), sample(model, sampler, **base)), same
    for other in (
        {"steps": 6}, {"seed": 1}, {"noise": Generator()}, {"schedule": Cosine()}, {"grid": Uniform()},
        {"last": "step"}, {"dtype": torch.float32}, {"cond": {"label": torch.ones(4)}}, {"grid": FlowGrid(end=0.1)},
        {"grid": [1.0, 0.5, 0.0], "steps": None}, {"shape": None, "x": randn(0, 4, 3)},
    ):  # fmt: skip
        moved = NetworkModel(Tanh(), VPLinear(), "v")
        assert not torch.equal(sample(moved, sampler, **{**base, **other}), sample(model, sampler, **base)), other
    noise = [sample(model, DDPM(), **base, noise=noise) for noise in (Independent(), BrownianPath(), Generator())]
    assert not any(torch.equal(a, b) for a, b in pairwise([*noise, noise[0]]))
    assert sample(model, sampler, **base).shape == (4, 3)
    assert len(steps_of(model, sampler, **{**base, "steps": None})) == 50  # as documented
    assert sample(model, sampler, **base, grad=True).requires_grad
    assert not sample(model, sampler, **base).requires_grad


def steps_of(model, sampler, **options) -> list[Step]:
    """What the callback was told."""
    told: list[Step] = []
    sample(model, sampler, callback=told.append, **options)
    return told


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_seed_is_a_sample(name):
    model, sampler, seed = mixture(1), make("samplers", name), 2**40 + 3
    for noise in (Independent(), BrownianPath(), Generator()):
        options = {"shape": (3, 3), "steps": None if sampler.adaptive else 5, "noise": noise}
        first = sample(model, sampler, **options, seed=seed)
        assert torch.equal(first, sample(model, sampler, **options, seed=seed))
        assert not torch.equal(first, sample(model, sampler, **options, seed=seed + 1))
        assert len({tuple(row) for row in first.tolist()}) == 3  # and samples differ from each other
        if sampler.adaptive:
            break
    if sampler.stochastic:  # the noise on the way too, from one start
        x = randn(seed, 3, 3)
        steps = None if sampler.adaptive else 5
        a, b = (sample(model, sampler, x=x, steps=steps, seed=s) for s in (seed, seed + 1))
        assert not torch.equal(a, b)


@pytest.mark.parametrize("name", SEPARATE)
@settings(max_examples=2)
@given(size=st.integers(1, 3), seed=seeds)
def test_a_batch_of_n_is_n_batches_of_one(name, size, seed):
    model, sampler = mixture(1), make("samplers", name)
    for noise in (Independent(), BrownianPath()) if sampler.stochastic and not sampler.adaptive else (Independent(),):
        steps = None if sampler.adaptive else 5
        options = {"shape": (5, 3), "steps": steps, "seed": seed, "noise": noise, "dtype": F64}
        close(sample(model, sampler, **options, batch_size=size), sample(model, sampler, **options))


@given(st.integers(1, 50), st.integers(1, 60) | st.none())
def test_batches_cover_everything_once(total, size):
    parts = list(batches(total, size))
    assert [i for first, count in parts for i in range(first, first + count)] == list(range(total))
    assert all(count == (size or total) for _, count in parts[:-1])


# --- where a run starts and ends --------------------------------------------------------------------------------------


MODELS = ["exact", "eps", "x0", "v", "flow", "score", "edm", "v on a schedule of its own"]


@pytest.mark.parametrize("shift", [0, *slow(1, 2, 3, 4)])
@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_run_starts_and_ends_well(name, shift):
    """No NaN, no overflow, no division by zero; and near the data, whatever meets what in one of the shifts."""
    sampler = make("samplers", name)
    steps = None if sampler.adaptive else 5
    kinds = MODELS if name in FIXED or name == "ode" else MODELS[:1]
    for i, kind in enumerate(kinds, ONE_EACH.index(name) + shift):
        schedule = FIVE[i % len(FIVE)]
        own = schedule if kind in MODELS[:-1] else VE(sigma_max=20.0)
        model = mixture(3) if kind == "exact" else exact_network(kind.split()[0], own)
        job = prepare(model, sampler, shape=(4, 3), schedule=schedule, steps=steps)
        start = job.path[0]
        assert job.path[-1].sigma == 0
        assert start.t == pytest.approx(start_of(model, sampler, schedule))
        if sampler.divides_by_alpha or model.divides_by_alpha:
            assert start.alpha >= ALPHA_MIN * (1 - 1e-9)
        if model.schedule is not None:
            assert start.level <= own.level(own.domain[1]) * (1 + 1e-9)
        if start.alpha > 2 * ALPHA_MIN and own == schedule:
            assert start.t == schedule.domain[1]
        x = job.batch(0, 4)
        # five steps are few for methods in t and for Langevin, whose start is 1000 times wider than the data
        # and for pndm-prk, whose first steps look ahead by eps where alpha is small
        wide = name == "pndm-prk" or "langevin" in name
        assert x.abs().max() < (1e4 if wide else 20), (schedule, kind)  # nor NaN


@given(fixed, st.sampled_from(FIVE), st.integers(1, 6), st.floats(0.2, 1.0), st.floats(0.05, 0.5))
def test_a_run_may_stop_above_the_data(sampler, schedule, steps, high, part):
    """With an end above sigma = 0 all steps are the sampler's own, and it is the last time of the grid."""
    low = schedule.domain[0]
    start = schedule.t_start(True) * high
    grid = FlowGrid(start=start, end=low + part * (start - low))
    model = mixture(1)
    runs = [
        sample(model, sampler, shape=(2, 3), schedule=schedule, grid=grid, steps=steps, last=last)
        for last in ("step", "mean")
    ]
    assert torch.equal(*runs)
    assert runs[0].isfinite().all()
    assert make_path(model, sampler, grid=grid, schedule=schedule, steps=steps).times[0] == start


@given(fixed, st.sampled_from(FIVE), st.integers(1, 5), seeds)
def test_the_last_step_is_the_mean_or_the_samplers(sampler, schedule, steps, seed):
    """`mean` is E[x_0 | x] at the point before the end, `step` the whole loop."""
    model, options = mixture(1), {"schedule": schedule, "seed": seed, "dtype": F64}
    path = make_path(model, sampler, schedule=schedule, steps=steps)
    out = sample(model, sampler, shape=(2, 3), grid=path.times, last="mean", **options)
    before = path[0].sigma * Independent().source((2, 3), seed=seed, dtype=F64).initial()
    if steps > 1:
        before = sample(model, sampler, shape=(2, 3), grid=path.times[:-1], **options)
    close(out, model.x0(before, path[-2]), 1e-6, 1e-6)
    default = sample(model, sampler, shape=(2, 3), grid=path.times, **options)
    asked = sample(model, sampler, shape=(2, 3), grid=path.times, last=sampler.last, **options)
    assert torch.equal(default, asked)


MEMORYLESS = [  # those that take each step by itself
    "ddim", "euler", "heun", "midpoint", "ralston", "heun3", "kutta3", "rk4", "dpm-2", "singlestep", "dpm-solver-1",
    "dpm-solver-2", "dpm-solver-3", "dpmpp-2s", "dpmpp-3s", "res-2s", "exp-heun",
]  # fmt: skip


@given(st.sampled_from(MEMORYLESS), st.sampled_from([*FIVE, VPLinear(0.5, 5.0)]), seeds)
def test_image_to_image_starts_in_the_middle(name, schedule, seed):
    """The second half of a run, from the state that the first half reached, is the whole run."""
    sampler, model = make("samplers", name), mixture(2)
    times = make_path(model, sampler, schedule=schedule, steps=8).times
    options = {"schedule": schedule, "dtype": F64}
    middle = sample(model, sampler, shape=(3, 3), grid=times[:5], seed=seed, **options)
    end = sample(model, sampler, x=middle, grid=times[4:], **options)
    close(end, sample(model, sampler, shape=(3, 3), grid=times, seed=seed, **options), 1e-7, 1e-7)
    assert torch.equal(middle, sample(model, sampler, shape=(3, 3), grid=times[:5], seed=seed, **options))  # untouched


@given(seeds, st.floats(0.2, 0.9))
def test_a_start_from_noised_data_keeps_what_is_left_of_it(seed, strength):
    """From x_t = alpha x_0 + sigma eps at a low level, the nearest component stays: far ones have no weight."""
    model = GaussianMixture(10 * torch.eye(3), 0.01)
    x0 = model.draw(8, seed=seed).double()
    p = VE().at(strength)
    x = sample(
        model,
        DDIM(eta=1),
        x=p.alpha * x0 + p.sigma * randn(seed, 8, 3),
        grid=FlowGrid(start=strength),
        steps=20,
        schedule=VE(),
    )
    assert torch.equal(torch.cdist(x, model.means).argmin(1), torch.cdist(x0, model.means).argmin(1))


@pytest.mark.parametrize("schedule", FIVE, ids=lambda s: type(s).__name__)
@settings(max_examples=3)
@given(seed=seeds, predicts=st.sampled_from(["exact", "eps", "v", "flow"]))
def test_encoding_and_decoding_returns(schedule, seed, predicts):
    """Heun up and down a fine grid between two levels is the identity, to its order."""
    model = mixture(2, std=0.6) if predicts == "exact" else exact_network(predicts, schedule)
    low, high = schedule.t_at_level(0.05), schedule.t_at_level(5.0)
    errors = []
    for steps in (20, 40):
        up = tuple(FlowGrid(start=low, end=high)(schedule, steps))
        p = schedule.at(low)
        x = p.alpha * model_draw(model, seed) + p.sigma * randn(seed, 6, 3)
        encoded = sample(model, Heun(), x=x, grid=up, schedule=schedule)
        assert (encoded / schedule.at(high).alpha - x / p.alpha).abs().max() > 0.1  # it went somewhere
        back = sample(model, Heun(), x=encoded, grid=up[::-1], schedule=schedule)
        errors.append(float((back - x).abs().max() / p.alpha))
    assert errors[1] < 0.1
    assert errors[1] < max(0.4 * errors[0], 1e-4)


def model_draw(model, seed):
    return (model if isinstance(model, GaussianMixture) else model.net.exact).draw(6, seed=seed).double()


@pytest.mark.parametrize("name", UPWARDS)
@pytest.mark.parametrize("schedule", FIVE, ids=lambda s: type(s).__name__)
def test_encoding_from_clean_data_is_defined(name, schedule):
    """The first step away from sigma = 0 is free of charge, and of division by zero."""
    sampler, model = make("samplers", name), exact_network("v", schedule)
    end = schedule.t_at_level(3.0)
    x = sample(model, sampler, x=model_draw(model, 1), grid=FlowGrid(start=0.0, end=end), steps=5, schedule=schedule)
    assert x.isfinite().all()
    assert (
        model.net.calls
        == prepare(mixture(3), sampler, shape=(1, 3), grid=FlowGrid(start=0.0, end=end), steps=5, schedule=schedule).nfe
    )


@pytest.mark.parametrize(
    "grid", [Uniform(), Quadratic(), FlowGrid(), HalfLogSNR(), Karras()], ids=lambda g: type(g).__name__
)
def test_explicit_times_are_the_grid(grid):
    """A grid, its times, as a list, tuple, tensor or Explicit: one run."""
    model, sampler = mixture(1), DDPM()
    times = make_path(model, sampler, grid=grid, steps=6, schedule=Flow()).times
    options = {"shape": (3, 3), "schedule": Flow()}
    whole = sample(model, sampler, grid=grid, steps=6, **options)
    for same in (times, list(times), torch.tensor(times, dtype=F64), Explicit(times=times)):
        assert torch.equal(sample(model, sampler, grid=same, **options), whole)
    assert [step.point.t for step in steps_of(model, sampler, grid=times, **options)] == list(times[:-1])


# --- what a run tells -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["exact plan", "exact loop", "eps plan", *slow("eps loop", "edm plan", "edm loop")])
@pytest.mark.parametrize("name", [name for name in FIXED if not name.startswith("churn")])  # it asks at raised levels
def test_the_callback_is_told_every_grid_point_once(name, run):
    kind, way = run.split()
    sampler = make("samplers", name)
    model = mixture(3) if kind == "exact" else exact_network(kind, VPLinear())
    for grid in (FlowGrid(), FlowGrid(end=0.2)):
        told = []

        def callback(step, told=told):
            told.append((step, step.x.clone(), step.x0.clone()))

        options = {"shape": (5, 3), "grid": grid, "steps": 5, "schedule": Cosine(), "batch_size": 3, "dtype": F64}
        sample(model, sampler, **options, callback=callback, grad=way == "loop")
        path = make_path(model, sampler, grid=grid, steps=5, schedule=Cosine())
        assert [step.index for step, _, _ in told] == [0, 1, 2, 3, 4] * 2
        assert [step.first for step, _, _ in told] == [0] * 5 + [3] * 5
        bound = model.bind(Cosine())
        for step, x, x0 in told:
            assert step.steps == 5
            assert step.point == path[step.index]
            assert len(x) == (2 if step.first else 3)
            close(x0, bound(x, step.point).detach(), 1e-7, 1e-7)


@pytest.mark.parametrize("name", FIXED)
def test_plan_and_loop_tell_the_same(name):
    sampler, model = make("samplers", name), mixture(3)
    for last in ("step", "mean"):
        told: dict[bool, list] = {False: [], True: []}
        for grad, kept in told.items():
            sample(
                model, sampler, shape=(3, 3), steps=5, last=last, dtype=F64, grad=grad,
                callback=lambda step, kept=kept: kept.append((step.index, step.x.clone())),
            )  # fmt: skip
        assert [i for i, _ in told[True]] == [i for i, _ in told[False]]
        assert name.startswith("churn") or [i for i, _ in told[True]] == [0, 1, 2, 3, 4]  # it asks at raised levels
        for (_, a), (_, b) in zip(*told.values(), strict=True):
            close(a, b, 1e-7, 1e-7)


@pytest.mark.parametrize("name", ["ode", "ode:method=scipy-rk45", "ode:method=bosh3,rtol=1e-5,atol=1e-5"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adaptive_sampler_tells_every_evaluation(name):
    model = exact_network("eps")
    told = steps_of(model, make("samplers", name), shape=(3, 3))
    assert len(told) == model.net.calls
    assert {step.index for step in told} == {None}
    assert all(step.x0.isfinite().all() for step in told)
    assert told[0].point.sigma > told[-1].point.sigma > 0


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nfe_is_what_was_evaluated(name):
    sampler = make("samplers", name)
    for last in ("step", "mean") if not sampler.adaptive else ("mean",):
        for steps in (sampler.needs_steps, 4 + sampler.needs_steps) if not sampler.adaptive else (None,):
            model = exact_network("v")
            job = prepare(model, sampler, shape=(6, 3), steps=steps, last=last, dtype=F64)
            declared = job.nfe
            job.batch(0, 4)
            assert model.net.calls == job.nfe
            assert declared in (None, job.nfe)
            job.batch(4, 2)
            assert model.net.calls == 2 * job.nfe or sampler.adaptive


@given(
    st.sampled_from([n for n in FIXED if "batch" not in n]).map(lambda name: make("samplers", name)) | st.builds(
        AnnealedLangevin, corrections=st.integers(1, 12)) | st.builds(
        PredictorCorrector, corrections=st.integers(1, 6), predictor=st.sampled_from([DDIM(), Heun(), DDPM()])),
    st.integers(1, 60), st.sampled_from([None, "step", "mean"]), st.sampled_from([None, FlowGrid(end=0.2), Karras()]),
)  # fmt: skip
def test_steps_for_nfe_hits_or_names_the_neighbours(sampler, nfe, last, grid):
    model = mixture(0)

    def cost(steps):
        calls = exact_network("v")
        path = make_path(model, sampler, steps=steps, grid=grid)
        sample(calls, sampler, shape=(1, 3), grid=path.times, last=last, dtype=F64)
        return calls.net.calls

    with suppress(DifftoolError):
        assert cost(steps_for_nfe(model, sampler, nfe, last, grid=grid)) == nfe
        return
    with pytest.raises(DifftoolError, match=rf"exactly {nfe} evaluations") as caught:
        steps_for_nfe(model, sampler, nfe, last, grid=grid)
    named = [(int(n), int(c)) for c, n in re.findall(r"(\d+) \(steps=(\d+)\)", str(caught.value))]
    for steps, count in named:
        assert cost(steps) == count
    (first, least), (second, most) = named[0], named[-1]
    assert second == first + 1 or (first, least) == (second, most)  # nothing lies between
    assert least < nfe < most or nfe < least == cost(1)


def test_steps_for_nfe_upwards_and_with_explicit_times():
    model = mixture(0)
    up = FlowGrid(start=0.0, end=0.5)
    assert steps_for_nfe(model, Heun(), 7, grid=up) == 4  # the first evaluation, at the data, is free
    assert steps_for_nfe(model, DDIM(), 2, grid=[1.0, 0.5, 0.0]) == 2
    with pytest.raises(DifftoolError, match=r"exactly 3 evaluations here; the closest: 2 \(steps=2\)"):
        steps_for_nfe(model, DDIM(), 3, grid=[1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("sampler", "nfe", "words"),
    [
        (DDIM(), 0, "from 1 to 100000, got 0"),
        (DDIM(), -3, "got -3"),
        (DDIM(), 2.5, "got 2.5"),
        (DDIM(), True, "got True"),
        (AdaptiveODE(), 10, "cannot be set to nfe=10"),
    ],
)
def test_steps_for_nfe_refuses(sampler, nfe, words):
    with pytest.raises(DifftoolError, match=words):
        steps_for_nfe(mixture(), sampler, nfe)


# --- plans and noise --------------------------------------------------------------------------------------------------


@given(fixed, st.sampled_from(FIVE), seeds)
def test_a_plan_in_place_of_a_sampler(sampler, schedule, seed):
    if prepare(mixture(), sampler, shape=(1, 3), steps=5).plan is None:
        return
    for model in (mixture(1), exact_network("v", schedule)):
        path = make_path(model, sampler, steps=4, schedule=schedule)
        options = {"shape": (3, 3), "seed": seed, "dtype": F64}
        a = sample(model, trace(sampler, path), **options, batch_size=2)
        close(a, sample(model, sampler, schedule=schedule, steps=4, **options), 1e-7, 1e-7)


@given(seeds)
def test_generator_noise(seed):
    """Plain torch numbers: other than the counters', the same again for the same batch, as good in law."""
    model, options = mixture(1), {"shape": (4, 3), "steps": 4, "seed": seed, "dtype": F64}
    a = sample(model, DDPM(), **options, noise=Generator())
    assert torch.equal(a, sample(model, DDPM(), **options, noise=Generator()))
    assert not torch.equal(a, sample(model, DDPM(), **options))
    parts = sample(model, DDPM(), **options, noise=Generator(), batch_size=2)
    assert not torch.equal(parts[:2], parts[2:])  # the batches of a run differ


def test_path_noise_draws_one_path():
    """On a grid twice as fine the same path is followed: the runs are closer than with fresh noise."""
    model, ends = mixture(1), {}
    for noise in (BrownianPath(), Independent()):
        runs = [sample(model, DDIM(eta=1), shape=(64, 3), steps=n, noise=noise, schedule=VE(5.0)) for n in (50, 100)]
        ends[type(noise)] = (runs[0] - runs[1]).square().mean().sqrt()
    assert ends[BrownianPath] < 0.5 * ends[Independent]


# --- autograd ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ddim", "ddim:eta=1", "ddpm", "em", "euler:variable=t", "heun", "predictor-corrector"]
)
@settings(max_examples=5)
@given(seed=seeds, predicts=st.sampled_from(["eps", "x0", "v", "flow", "edm"]))
def test_gradients_are_finite_differences(name, seed, predicts):
    net, sampler = Tanh(), make("samplers", name)
    model, x = NetworkModel(net, VE(sigma_max=2.0), predicts), randn(seed, 2, 3).requires_grad_()
    weights, along = randn(seed + 1, 2, 3), randn(seed + 2, 2, 3)

    def loss(x):
        return (weights * sample(model, sampler, x=x, steps=5, seed=seed, grad=True, batch_size=1)).sum()

    value = loss(x)
    gradient, by_scale, by_shift = torch.autograd.grad(value, [x, net.scale, net.shift])
    h = 1e-5
    with torch.no_grad():
        slope = (loss(x + h * along) - loss(x - h * along)) / (2 * h)
        close((gradient * along).sum(), slope, 1e-5, 1e-6)  # the difference's own error, h^2 and 1e-16 / h
        for parameter, found in ((net.scale, by_scale), (net.shift, by_shift)):
            parameter += h
            above = loss(x)
            parameter -= 2 * h
            below = loss(x)
            parameter += h
            close(found.sum(), (above - below) / (2 * h), 1e-5, 1e-6)


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_graph_unless_asked(name):
    sampler, net = make("samplers", name), Tanh()
    model, x = NetworkModel(net, VE(sigma_max=2.0), "v"), randn(0, 2, 3).requires_grad_()
    kept = x.detach().clone()
    options = {"steps": None if sampler.adaptive else 5}
    out = sample(model, sampler, x=x, **options)
    assert not out.requires_grad
    assert torch.equal(x, kept)  # the start is not written to
    assert torch.is_grad_enabled()
    if not name.startswith("ode:method=scipy"):
        close(sample(model, sampler, x=x, grad=True, **options).detach(), out, 1e-7, 1e-7)


# --- models that break down -------------------------------------------------------------------------------------------


LEVELS = [5.0, 3.0, 2.0, 1.0, 0.5, 0.2]


class Breaks(torch.nn.Module):
    """Returns `value` for the samples marked `bad`, from the noise level `level` down."""

    def __init__(self, level, value=math.nan):
        super().__init__()
        self.level, self.value, self.inner = level, value, Tanh()

    def forward(self, x, level, bad):
        broken = (bad > 0) & (level < 1.1 * self.level)
        return torch.where(broken[:, None], self.value, self.inner(x, 0 * level))


@pytest.mark.parametrize("grad", [False, True], ids=["plan", "loop"])
@given(
    name=st.sampled_from(FIXED), k=st.integers(0, 4), bad=st.integers(0, 5), size=st.integers(1, 6),
    value=st.sampled_from([math.nan, math.inf, -math.inf]), predicts=st.sampled_from(["eps", "x0", "v", "edm"]),
)  # fmt: skip
def test_what_is_not_finite_is_named(grad, name, k, bad, size, value, predicts):
    sampler, marks = make("samplers", name), (torch.arange(6) == bad).double()
    model = NetworkModel(Breaks(LEVELS[k], value), VE(), predicts, time="level")
    with pytest.raises(NonFinite) as caught:
        sample(model, sampler, x=randn(1, 6, 3), grid=LEVELS, batch_size=size, grad=grad, cond={"bad": marks})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("the model returned NaN or infinity at step ")
    # methods that look ahead ask for a point in the step before it
    at = int(message.split("at step ")[1].split(" of 5")[0])
    ahead = sampler.evaluations != 1 or name in ("heunpp2", "pndm-prk", "picard")
    assert 1 <= at <= k + 1 if ahead else at == k + 1
    assert f"(t={LEVELS[k]:.6g})" in message
    if sampler.batch_independent:
        assert message.endswith(f"first in sample {bad}")
    assert (caught.value.done is None) == (bad < size)


@given(
    name=st.sampled_from(FIXED), predicts=st.sampled_from(["eps", "x0", "v", "edm"]), k=st.integers(0, 4), seed=seeds
)
def test_a_broken_run_can_be_taken_up_again(tmp_path_factory, name, predicts, k, seed):
    """The error keeps the finished batches, and the state before the step; from there the run ends as it would have."""
    sampler, x = make("samplers", name), randn(seed, 6, 3)
    model = NetworkModel(Breaks(LEVELS[k]), VE(), predicts, time="level")
    options = {"x": x, "grid": LEVELS, "batch_size": 2, "seed": seed}
    whole = sample(model, sampler, **options, cond={"bad": torch.zeros(6)})
    with pytest.raises(NonFinite) as caught:
        sample(model, sampler, **options, cond={"bad": torch.tensor([0, 0, 0, 0, 0, 1])})
    assert torch.equal(caught.value.done, whole[:4])
    assert caught.value.x.shape == (2, 3)
    assert torch.isfinite(caught.value.x).all()
    if prepare(model, sampler, shape=(6, 3), grid=LEVELS).plan is None:
        assert caught.value.state is None
        return
    file = tmp_path_factory.mktemp("state") / "run.safetensors"
    caught.value.state.save(file)
    state = RunState.load(file)
    assert torch.equal(state.x, caught.value.x)
    bound = model.bind(VE(), {"bad": torch.zeros(2)})
    source = Independent().source((2, 3), seed=seed, first=4, dtype=F64)
    assert torch.equal(run(state.plan, bound, None, source, state=state), whole[4:])


def test_generator_noise_has_no_state_to_keep():
    model = NetworkModel(Breaks(1.0), VE(), "v", time="level")
    with pytest.raises(NonFinite, match="at step 4 of 5") as caught:
        sample(model, DDPM(), shape=(2, 3), grid=LEVELS, noise=Generator(), cond={"bad": torch.ones(2)})
    assert caught.value.state is None


@pytest.mark.parametrize("name", ["ddim", "predictor-corrector"])
def test_a_start_that_is_not_finite_is_not_blamed_on_the_model(name):
    x = torch.tensor([[0.0, math.nan, 1.0]])
    with pytest.raises(NonFinite, match="the initial states x are not finite"):
        sample(mixture(), make("samplers", name), x=x, steps=5)


def test_what_overflows_in_the_sampler_is_not_blamed_on_the_model():
    model = NetworkModel(lambda x, t: torch.zeros_like(x), Flow(), "x0")
    with pytest.raises(NonFinite, match="the sampler or its start is at fault"):
        sample(model, DDIM(), x=torch.full((1, 3), 3e38), grid=[0.1, 0.9], schedule=Flow())


# --- bad input --------------------------------------------------------------------------------------------------------

NETWORK = NetworkModel(Tanh(), Flow(), "v")
GAUSS = mixture(0)
EPS = NetworkModel(Tanh(), Flow(), "eps")
PLAN = trace(DDIM(), make_path(GAUSS, DDIM(), steps=3))


def test_encoding_may_end_in_pure_noise():
    """A network of the noise is not asked at the end of a grid that runs up to alpha = 0, but by Heun's method."""
    x = randn(0, 2, 3)
    assert torch.isfinite(sample(EPS, DDIM(), x=x, grid=[0.1, 0.5, 1.0])).all()
    with pytest.raises(DifftoolError, match="is not defined at alpha = 0"):
        sample(EPS, Heun(), x=x, grid=[0.1, 0.5, 1.0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either shape=(number, ...) or the initial states x"),
        ({"shape": (2, 3), "x": torch.zeros(2, 3)}, "either shape=(number, ...) or the initial states x"),
        ({"shape": 5}, "shape must be (number, ...), whole numbers, got 5"),
        ({"shape": (2.5, 3)}, "whole numbers, got (2.5, 3)"),
        ({"shape": "23"}, "whole numbers, got '23'"),
        ({"shape": (2, None)}, "whole numbers"),
        ({"shape": ()}, "each at least 1"),
        ({"shape": (0, 3)}, "each at least 1, got (0, 3)"),
        ({"shape": (-2, 3)}, "each at least 1"),
        ({"shape": (4, 2)}, "shape must be (number, 3) for this model, got (4, 2)"),
        ({"shape": (4, 1, 3)}, "shape must be (number, 3) for this model"),
        ({"x": torch.zeros(4, 2)}, "shape must be (number, 3) for this model, got (4, 2)"),
        ({"x": torch.zeros(0, 3)}, "each at least 1"),
        ({"x": torch.zeros(2, 3, dtype=torch.uint8)}, "x must be a floating-point tensor, got torch.uint8"),
        ({"x": torch.zeros(2, 3, dtype=torch.complex64)}, "got torch.complex64"),
        ({"x": [[1.0, 2.0, 3.0]]}, "x must be a floating-point tensor, got list"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": -4}, "got -4"),
        ({"steps": 2.5}, "got 2.5"),
        ({"steps": 5, "sampler": EmbeddedRK()}, "embedded chooses its own steps"),
        ({"steps": 4, "sampler": Adams(order=4), "last": "mean"}, "needs at least 4 steps, got 3 before the mean"),
        ({"steps": 2, "sampler": Restart(solver=Adams(order=5))}, "restart with order 5 needs at least 5 steps, got 2"),
        ({"steps": 0, "sampler": AdaptiveODE()}, "steps must be a whole number"),
        ({"grid": [1.0, math.nan, 0.0]}, "time 1 of the grid is NaN"),
        ({"grid": [0.0, 0.5, 0.2]}, "not strictly monotone"),
        ({"grid": [2.0, 0.5]}, "time 0 of the grid is 2.0; VPLinear is defined for t in [0, 1]"),
        ({"grid": [0.5]}, "at least two times"),
        ({"grid": 7}, "grid must be a Grid or a sequence of times (numbers), got 7"),
        ({"grid": ["a", "b"]}, "a sequence of times (numbers)"),
        ({"grid": "karras"}, "of Grid, got 'karras'; create one by name: difftool.specs.make('grids', 'karras')"),
        ({"nfe": 0}, "nfe must be a whole number from 1 to 100000, got 0"),
        ({"grid": [1.0, 0.5, 0.0], "steps": 7}, "has 2 steps, got steps=7"),
        ({"grid": [0.0, 0.5, 1.0]}, "the run goes from data to noise (t=0 to t=1); reverse the grid, or pass x"),
        ({"schedule": "flow"}, "schedule must be an instance of Schedule, got 'flow'"),
        ({"last": "median"}, "last must be step or mean, got 'median'"),
        ({"seed": -1}, "0 <= seed < 2**64"),
        ({"seed": 0.5}, "0 <= seed < 2**64"),
        ({"noise": "path"}, "an instance of Noise, got 'path'; create one: difftool.noise.BrownianPath()"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": -1}, "got -1"),
        ({"batch_size": 1.5}, "got 1.5"),
        ({"batch_size": "2"}, "got '2'"),
        ({"cond": {"label": torch.tensor([0, 1, 2])}}, "cond 'label' has 3 rows, expected 2"),
        ({"cond": {"caption": "a dog"}}, "got caption"),
        ({"device": "cuda:97"}, "cannot compute on device 'cuda:97'"),
        ({"device": "abacus"}, "cannot compute on device 'abacus'"),
        ({"device": "meta"}, "cannot compute on device 'meta'"),
        ({"device": 3.5}, "cannot compute on device '3.5'"),
        ({"dtype": torch.int32}, "dtype must be torch.float16, bfloat16, float32 or float64, got torch.int32"),
        ({"dtype": "float32"}, "dtype must be torch.float16, bfloat16, float32 or float64, got 'float32'"),
        ({"sampler": "ddim"}, "sampler must be an instance of Sampler or Plan, got 'ddim'"),
        ({"sampler": DDIM}, "sampler must be an instance of Sampler or Plan"),
        ({"model": Tanh()}, "model must be an instance of Model"),
        ({"sampler": PLAN, "steps": 3}, "a plan already contains steps, grid, schedule and last"),
        ({"sampler": PLAN, "last": "mean"}, "a plan already contains steps"),
        ({"sampler": PLAN, "grad": True}, "a plan keeps no graph"),
        ({"sampler": EulerMaruyama(), "schedule": Flow(), "grid": [1.0, 0.0]}, "em is not defined at alpha"),
        ({"sampler": Euler("level"), "schedule": Flow(), "x": randn(0, 2, 3), "grid": [0.1, 1.0]}, "keep to t <= 0.99"),
        ({"sampler": PredictorCorrector(), "schedule": Flow(), "grid": FlowGrid(start=1.0), "steps": 2}, "alpha = 0"),
        ({"model": EPS, "grid": [1.0, 0.5, 0.0]}, "does not determine x0 at zero terminal SNR"),
        ({"model": EPS, "grid": [1.0, 0.5, 0.0], "grad": True}, "keep to t <= "),
        ({"sampler": DDPM(), "x": torch.zeros(2, 3), "grid": [0.0, 0.5]}, "the grid runs upwards"),
    ],
    ids=lambda value: value if isinstance(value, str) else ", ".join(value),
)  # fmt: skip
def test_bad_input_is_one_line(options, words):
    options = dict(options)
    model, sampler = options.pop("model", GAUSS), options.pop("sampler", DDIM())
    if "x" not in options and words[:6] != "either":
        options.setdefault("shape", (2, 3))
    with pytest.raises(DifftoolError) as caught:
        sample(model, sampler, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_states_in_float64_leave_a_float32_network_as_it_is():
    net = Tanh().float()
    out = sample(NetworkModel(net, VPLinear(), "v"), DDIM(), x=randn(0, 2, 3), steps=3)
    assert out.dtype == F64
    assert net.scale.dtype == torch.float32
    assert sample(GAUSS, DDIM(), x=randn(0, 2, 3), steps=3).dtype == F64
    assert sample(GAUSS, DDIM(), x=randn(0, 2, 3).half(), steps=3).dtype == torch.float32


def test_a_run_takes_place_where_the_network_is():
    """And nowhere else: a network on another device is not moved unless asked."""
    with pytest.raises(DifftoolError, match="cannot compute on device 'meta'"):
        sample(NetworkModel(Tanh().to("meta"), VPLinear(), "v"), DDIM(), shape=(2, 3), steps=2)
