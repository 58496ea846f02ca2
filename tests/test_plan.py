"""Plans: symbols, tracing, forms, registers, the stepper, files, resuming."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError, NotAffine
from difftool.grids import Uniform
from difftool.models import PARAMETRIZATIONS, GaussianMixture, NetworkModel
from difftool.noise import BrownianPath, Generator, Independent, NoiseKey
from difftool.noise.base import place_of
from difftool.plan import (
    Execution,
    Plan,
    Row,
    Runner,
    RunState,
    compile_plan,
    load_plan,
    plan_from_json,
    plan_to_json,
    run,
    save_plan,
    trace,
)  # fmt: skip
from difftool.plan.affine import Symbol, Value
from difftool.plan.analysis import Gaussian, error, exact_map, output_law, output_map, path_error, prior_mismatch
from difftool.plan.form import forms
from difftool.request import PLAIN, WITH_VARIANCE
from difftool.samplers import (
    DDIM,
    DDPM,
    Euler,
    EulerMaruyama,
    FlowABM,
    FlowSDE,
    Heun,
    PredictorCorrector,
    Sampler,
    eps_of,
)
from difftool.sampling import prepare, sample
from difftool.schedules import VE, Cosine, Flow, Path, Point, VPLinear

PATH = Path(VPLinear(), Uniform()(VPLinear(), 5))


def mixture():
    return GaussianMixture(torch.tensor([[0.5, -0.3], [-0.6, 0.4]]), 0.04)


# --- symbols ---------------------------------------------------------------------------------------------------------

numbers = st.floats(-3, 3).filter(lambda v: abs(v) > 1e-3)
APPLY = {
    "+": lambda y, c, other: y + c * other,
    "-": lambda y, c, other: c * other - y,
    "*": lambda y, c, other: np.float64(c) * y,
    "/": lambda y, c, other: y / c,
    "n": lambda y, c, other: -y + 0,
    "r": lambda y, c, other: sum([y, other]),
}
operations = st.lists(st.tuples(st.sampled_from(sorted(APPLY)), numbers, st.integers(0, 2)), min_size=1, max_size=12)


@given(operations)
def test_symbols_compute_as_numbers_do(program):
    """The same expression on floats and on symbols, whose expansion is then evaluated on those floats."""
    values = {Value("x", 0): 1.25, Value("m", 0, 0): -0.5, Value("z", 0): 2.0}

    def evaluate(sources):
        y = sources[0]
        for op, c, k in program:
            y = APPLY[op](y, c, sources[k])
        return y

    number = evaluate(list(values.values()))
    symbol = evaluate([Symbol(source=s) for s in values])
    assert sum(c * values[s] for s, c in symbol.expand().items()) == pytest.approx(number, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda x: x * x, "* Symbol"), (lambda x: x + 1.0, "+ float"), (lambda x: 1 / x, "__rtruediv__"),
        (lambda x: x**2, "__pow__"), (lambda x: abs(x), "__abs__"), (lambda x: x > 0, "__gt__"),
        (lambda x: x == x, "__eq__"),
        (lambda x: bool(x), "__bool__"), (lambda x: float(x), "__float__"), (lambda x: x[0], "__getitem__"),
        (lambda x: x.norm(), ".norm"), (lambda x: torch.sin(x), "torch.sin"), (lambda x: np.ones(2) * x, "* ndarray"),
        (lambda x: x * torch.ones(2), "* Tensor"), (lambda x: len(x), "__len__"), (lambda x: x / "a", "/ str"),
        (lambda x: x @ x, "__matmul__"),
    ],
)  # fmt: skip
def test_what_is_not_affine_is_named(operation, name):
    with pytest.raises(NotAffine) as caught:
        operation(Symbol(source=Value("x", 0)))
    assert f"`{name}`" in str(caught.value)


def test_a_sampler_that_is_not_affine_runs_as_the_loop():
    with pytest.raises(NotAffine, match=r"\.flatten"):
        trace(PredictorCorrector(), PATH)
    assert prepare(mixture(), PredictorCorrector(), shape=(2, 2), steps=3).plan is None


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_plan_of_ddim_is_its_formula():
    """x_s = (sigma_s / sigma_t) x_t + (alpha_s - alpha_t sigma_s / sigma_t) x0, from the paper, as a table."""
    plan = trace(DDIM(), PATH)
    assert plan.nfe == 5
    assert [row.kind for row in plan.rows] == ["grid"] * 6
    assert [row.index for row in plan.rows] == list(range(6))
    for k, (now, nxt) in enumerate(pairwise(PATH)):
        r = nxt.sigma / now.sigma
        row = plan.rows[k + 1]
        assert dict(row.x).get(k, 0.0) == pytest.approx(r, abs=1e-14)
        assert dict(row.m)[k, 0] == pytest.approx(nxt.alpha - r * now.alpha, abs=1e-14)


def test_kinds_and_indices_of_heun():
    plan = trace(Heun(), PATH)
    assert [(row.kind, row.index) for row in plan.rows] == [
        ("grid", 0), ("stage", 0), ("grid", 1), ("stage", 1), ("grid", 2), ("stage", 2), ("grid", 3), ("stage", 3),
        ("grid", 4), ("grid", 5),
    ]  # fmt: skip
    assert plan.nfe == 9


@dataclass(frozen=True)
class Midpoint(Sampler):
    """A stage off the grid, an expression made before the evaluation that turns its state into a row, and noise."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            y = x / (now.alpha + now.sigma)
            x0 = model(x, now)
            middle = path.at((now.t + nxt.t) / 2)
            h = middle.flow - now.flow
            x = (middle.alpha + middle.sigma) * (y + h * (eps_of(x, x0, now) - x0)) + 0.1 * noise(now, middle)
            x0 = model(x, middle)
            d = eps_of(x, x0, middle) - x0
            x = (nxt.alpha + nxt.sigma) * (y + (nxt.flow - now.flow) * d) + 0.2 * noise(now, nxt) + 0.1 * noise()
        return x


def test_stages_off_the_grid():
    plan = trace(Midpoint(), PATH)
    assert [(row.kind, row.index) for row in plan.rows[:4]] == [("grid", 0), ("stage", 0), ("grid", 1), ("stage", 1)]
    assert all(max((k for k, _ in row.x), default=-1) < r for r, row in enumerate(plan.rows))
    # the row of grid point 1 refers to the state at grid point 0, not to the stage's
    assert plan.rows[2].x[0][0] == 0


def test_an_expression_made_before_the_evaluation_refers_to_the_row():
    """Otherwise every row would be written out in terms of the input state and of all answers."""
    plan = trace(Midpoint(), Path(VPLinear(), Uniform()(VPLinear(), 20)))
    assert max(len(row.x) + len(row.m) for row in plan.rows) <= 4


def test_asking_twice_costs_twice():
    @dataclass(frozen=True)
    class Twice(Sampler):
        def __call__(self, model, x, path, noise):
            return 0.5 * model(x, path[0]) + 0.5 * model(x, path[0]) + 0.1 * x

    plan = trace(Twice(), PATH[:2])
    assert plan.nfe == 2
    out = run(plan, mixture().bind(VPLinear()), torch.ones(1, 2, dtype=torch.float64))
    x = torch.ones(1, 2, dtype=torch.float64)
    assert torch.allclose(out, mixture().x0(x, PATH[0]) + 0.1 * x)


# --- noise keys ------------------------------------------------------------------------------------------------------


def test_independent_noise_is_keyed_by_its_place():
    assert trace(DDPM(), PATH, placed=False).noises == tuple(NoiseKey(k) for k in range(4))
    plan = trace(DDPM(), PATH)
    assert plan.noises == tuple(NoiseKey(place_of(p.level)) for p in PATH[:4])
    assert plan.rows[0].z == ()
    assert all(list(dict(plan.rows[k + 1].z)) == [k] for k in range(4))


def test_path_noise_is_split_into_elementary_increments():
    plan = trace(Midpoint(), PATH[:3], correlated=True)
    intervals = [key.interval for key in plan.noises if key.interval]
    levels = sorted(u for low, high in intervals for u in (low, high))
    assert all(a <= b for a, b in pairwise(levels))
    assert len(set(intervals)) == 4  # two steps, each split at its midpoint
    origin = place_of(PATH[0].level)
    assert [key.call for key in plan.noises if key.interval is None] == [2**32 + origin, 3 * 2**32 + origin]
    # noise(now, nxt) = the first half it shares with noise(now, middle), and the second: weights squared add up to 1
    weights = {j: c for j, c in plan.rows[2].z if plan.noises[j].interval}
    assert sum(c**2 for c in weights.values()) == pytest.approx(0.2**2, rel=1e-12)
    shared = dict(plan.rows[1].z)
    assert set(shared) < set(weights)


@pytest.mark.parametrize("noise", [Independent(), BrownianPath(), Generator()], ids=str)
@pytest.mark.parametrize("sampler", [Midpoint(), DDPM(), EulerMaruyama()], ids=str)
def test_the_plan_draws_what_the_loop_draws(sampler, noise):
    job = prepare(mixture(), sampler, shape=(3, 2), steps=5, noise=noise, schedule=VPLinear(), dtype=torch.float64)
    planned, job = job.batch(0, 3), job.loop
    # path noise is made of float32 normals, combined in another order by the plan
    assert torch.allclose(planned, job.batch(0, 3), rtol=1e-12, atol=1e-5 if noise.correlated else 1e-12)


# --- forms and registers ---------------------------------------------------------------------------------------------


def wiggle(x, t):
    return torch.sin(3 * x) + 0.1 * t[:, None].to(x.dtype)


class Wiggle(torch.nn.Module):
    """A network in float64."""

    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x, t):
        return self.p * wiggle(x, t)


@pytest.mark.parametrize(
    "sampler", [DDIM(), Heun(), Heun(variable="level"), DDPM(), Midpoint(), EulerMaruyama()], ids=str
)
@pytest.mark.parametrize("predicts", list(PARAMETRIZATIONS))
def test_every_form_gives_the_same(sampler, predicts):
    """x0, eps and raw form, whichever the executor would choose, against the plain loop."""
    model = NetworkModel(Wiggle(), VPLinear(), predicts)
    path = Path(Cosine(), Uniform(start=0.8, end=0.05)(Cosine(), 4))
    bound = model.bind(Cosine())
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plan = trace(sampler, path)
    raw = {
        k: (bound.affine(row.point).skip, bound.affine(row.point).out)
        for k, row in enumerate(plan.rows)
        if row.channels
    }
    source = lambda: Independent().source((3, 2), seed=3, dtype=torch.float64, origin=path[0].level)  # noqa: E731
    with torch.no_grad():
        expected = sampler(bound, x, path, source())
    found = forms(plan, raw)
    assert [f.form for f in found] == ["x0", "raw", "eps", "flow"]
    from difftool.plan.program import assign

    for formed in found:
        out = Runner(plan, bound, (formed, assign(formed)))(x, source())
        assert torch.allclose(out, expected, rtol=1e-10, atol=1e-10), formed.form


def test_the_cheapest_form_is_taken():
    """eps for a method that adds up eps, whatever the network returns; the raw output where nothing needs changing."""

    def form_of(sampler, predicts):
        return compile_plan(trace(sampler, PATH), NetworkModel(wiggle, VPLinear(), predicts).bind(VPLinear()))[0]

    assert form_of(DDIM(), "v").form == "raw"
    assert form_of(Heun(variable="level"), "eps").form == "raw"
    level = form_of(Heun(variable="level"), "eps")
    # y' = y + h (d + d') / 2: the corrected row needs the state at the step's start and two outputs, nothing else
    assert [len(row.x) + len(row.m) for row in level.rows[1:3]] == [2, 3]


def test_registers():
    """DDIM runs in the state and one answer; Heun needs a second state and a second answer."""
    bound = NetworkModel(wiggle, VPLinear(), "eps").bind(VPLinear())
    assert compile_plan(trace(DDIM(), PATH), bound)[1].registers == 2
    assert compile_plan(trace(Heun(), PATH), bound)[1].registers <= 4
    long = Path(VPLinear(), Uniform()(VPLinear(), 100))
    assert (
        compile_plan(trace(DDPM(), long), bound)[1].registers == compile_plan(trace(DDPM(), PATH), bound)[1].registers
    )


def hand_made(**changes):
    """x_1 = a register that is not evaluated; two channels; one z in two rows."""
    points = [Flow().at(t) for t in (0.9, 0.5, 0.5, 0.2)]
    rows = (
        Row(points[0], "grid", 0, WITH_VARIANCE),
        Row(points[1], "register", 0, None, x=((0, 0.5),), m=(((0, 0), 0.25),), z=((0, 0.1),)),
        Row(points[2], "grid", 1, PLAIN, x=((0, -1.0), (1, 2.0)), m=(((0, 1), 0.5),), z=((0, 0.3), (1, 0.2))),
        Row(points[3], "grid", 2, None, x=((1, 1.0), (2, 0.3)), m=(((0, 0), -0.1), ((2, 0), 0.7))),
    )
    return Plan(changes.get("rows", rows), (NoiseKey(0), NoiseKey(1)), "by hand")


def test_derived_registers_channels_and_shared_noise():
    plan = hand_made()
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    source = Independent().source((1, 2), seed=5, dtype=torch.float64)
    z0, z1 = (source.draw(key) for key in plan.noises)
    first, alt, second = (torch.tensor([v], dtype=torch.float64) for v in ([0.3, 0.4], [-1.0, 2.0], [5.0, 6.0]))
    x1 = 0.5 * x + 0.25 * first + 0.1 * z0
    x2 = -x + 2 * x1 + 0.5 * alt + 0.3 * z0 + 0.2 * z1
    x3 = x1 + 0.3 * x2 - 0.1 * first + 0.7 * second
    steps = plan.steps(x, noise=source)
    y, p, row = next(steps)
    assert (p, row.kind) == (plan.rows[0].point, "grid")
    assert torch.equal(y, x)
    y, _, row = steps.send((first, alt))  # the register in between is not the caller's business
    assert (row.index, row.kind) == (1, "grid")
    assert torch.allclose(y, x2)
    y, _, row = steps.send(second)
    assert not row.channels
    assert torch.allclose(y, x3)
    with pytest.raises(StopIteration):
        next(steps)
    assert torch.equal(x, torch.tensor([[1.0, -2.0]], dtype=torch.float64))  # the input state is the caller's


# --- the stepper -----------------------------------------------------------------------------------------------------


def drive(steps, model):
    x, p, row = next(steps)
    while row.channels:
        x, p, row = steps.send(model(x, p))
    return x


def test_stepping_with_x0_and_with_raw_output():
    model = NetworkModel(Wiggle(), VPLinear(), "v")
    bound, plan = model.bind(VPLinear()), trace(Heun(), PATH)
    x = torch.ones(2, 2, dtype=torch.float64)
    with torch.no_grad():
        expected = Heun()(bound, x, PATH, None)
        assert torch.allclose(drive(plan.steps(x), bound), expected)
        call, told = bound.prepare([row.point for row in plan.rows if row.channels], x)
        told = iter(told)
        assert torch.allclose(drive(plan.steps(x, raw=bound), lambda x, p: call(x, next(told))), expected)


def test_a_hook_may_change_the_state_in_place():
    plan, bound = trace(DDIM(), PATH), mixture().bind(VPLinear())
    steps = plan.steps(torch.ones(1, 2, dtype=torch.float64))
    x, p, row = next(steps)
    while row.channels:
        if row.index == 2:
            x.fill_(0.25)
        x, p, row = steps.send(bound(x, p))
    rest = DDIM()(bound, torch.full((1, 2), 0.25, dtype=torch.float64), PATH[2:], None)
    assert torch.allclose(x, rest)


class Sharing:
    """A network that returns its input; from evaluation `begin` on without copying it."""

    def __init__(self, begin, view=lambda x: x):
        self.begin, self.view, self.calls = begin, view, 0

    def __call__(self, x, t):
        self.calls += 1
        return self.view(x) if self.calls > self.begin else x.clone()


@pytest.mark.parametrize("begin", [0, 1, 2])
@pytest.mark.parametrize(
    "view", [lambda x: x, lambda x: x.view_as(x), lambda x: x.detach()], ids=["x", "view", "detach"]
)
@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DDPM(), Midpoint(), Heun(variable="level")], ids=str)
def test_a_network_that_returns_its_state_does_no_harm(sampler, view, begin):
    for predicts in ("eps", "x0"):
        nets = Sharing(99), Sharing(begin, view)
        runs = [
            prepare(NetworkModel(net, VPLinear(), predicts), sampler, shape=(2, 2), steps=6, seed=1).batch(0, 2)
            for net in nets
        ]
        assert torch.equal(*runs)


@pytest.mark.parametrize("begin", [1, 2, 3, 4])
def test_one_buffer_for_all_outputs_is_refused_whenever_it_begins(begin):
    """As compiled networks do after their warm-up; a method that holds an answer would go wrong."""
    buffer, calls = torch.empty(2, 2), []

    def net(x, t):
        calls.append(t)
        return torch.sin(x, out=buffer) if len(calls) > begin else torch.sin(x)

    with pytest.raises(DifftoolError, match="reused the memory of an earlier output"):
        prepare(NetworkModel(net, VPLinear()), Heun(), shape=(2, 2), steps=6).batch(0, 2)


@pytest.mark.parametrize("change", [lambda y: y[:1], lambda y: y.double(), lambda y: y.bfloat16()])
def test_an_output_that_changes_during_the_run_is_refused(change):
    calls = []

    def net(x, t):
        calls.append(t)
        return change(0.1 * x) if len(calls) > 3 else 0.1 * x

    with pytest.raises(DifftoolError, match="expected"):
        prepare(NetworkModel(net, VPLinear()), DDIM(), shape=(2, 2), steps=6).batch(0, 2)


def test_a_plan_for_independent_noise_refuses_path_noise():
    plan = trace(DDPM(), PATH)
    with pytest.raises(DifftoolError, match="correlated=True"):
        prepare(mixture(), plan, shape=(1, 2), noise=BrownianPath())
    prepare(mixture(), trace(DDPM(), PATH, correlated=True), shape=(1, 2), noise=BrownianPath()).batch(0, 1)


def test_errors_of_the_executor():
    plan = trace(DDPM(), PATH)
    with pytest.raises(DifftoolError, match="noise source"):
        Execution(plan)
    source = Independent().source((2, 2))
    with pytest.raises(DifftoolError, match="bfloat16"):
        next(plan.steps(torch.ones(2, 2, dtype=torch.bfloat16), noise=source))
    with pytest.raises(DifftoolError, match="needs an initial state"):
        next(plan.steps(None, noise=source))
    steps = plan.steps(torch.ones(2, 2), noise=source)
    next(steps)
    with pytest.raises(DifftoolError, match=r"returned shape \(2, 3\), expected \(2, 2\)"):
        steps.send(torch.ones(2, 3))
    steps = hand_made().steps(torch.ones(2, 2), noise=source)
    next(steps)
    with pytest.raises(DifftoolError, match="2 outputs"):
        steps.send(torch.ones(2, 2))


# --- files -----------------------------------------------------------------------------------------------------------

samplers = st.sampled_from([DDIM(), DDPM(), Heun(), EulerMaruyama(), Midpoint(), Euler(variable="t"), DDIM(eta=0.7)])


@given(samplers, st.sampled_from([VPLinear(), VE(), Flow()]), st.integers(1, 9), st.booleans())
def test_json_round_trip_keeps_every_bit(sampler, schedule, steps, correlated):
    job = prepare(mixture(), sampler, shape=(1, 2), schedule=schedule, steps=steps)
    plan = trace(sampler, job.path, correlated=correlated)
    text = plan_to_json(plan)
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert plan_from_json(text) == plan


def test_an_infinite_level_survives_json():
    plan = trace(DDPM(), Path(Flow(), (1.0, 0.5, 0.0)), correlated=True)
    assert any(math.isinf(key.interval[1]) for key in plan.noises)
    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_from_json(plan_to_json(hand_made())) == hand_made()


def test_plans_on_disk(tmp_path):
    plan = trace(Heun(), PATH)
    save_plan(plan, tmp_path / "p.json")
    assert load_plan(tmp_path / "p.json") == plan
    text = (tmp_path / "p.json").read_text()
    for bad, words in [
        (text[: len(text) // 2], "truncated"),
        (text.replace('"version": 1', '"version": 99'), "version 99"),
        (text.replace("difftool-plan", "other"), "not a difftool-plan"),
        ("[]", "not a difftool-plan"),
        (text.replace('"kind"', '"sort"'), "not a complete plan"),
        (json.dumps({**json.loads(text), "rows": []}), "must begin with the input state"),
        (text.replace('"index": 1', '"index": Infinity', 1), "not a complete plan"),
        (text.replace('"channels": 1', '"channels": 1000000', 1), "expected 0 to"),
    ]:
        (tmp_path / "bad.json").write_text(bad)
        with pytest.raises(DifftoolError, match=words):
            load_plan(tmp_path / "bad.json")
    with pytest.raises(DifftoolError, match="No such file"):
        load_plan(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Row(Point(0.5, 0.5, 0.5), "grid", 1, None, x=((1, 1.0),)), "only earlier rows"),
        (Row(Point(0.5, 0.5, 0.5), "grid", 1, None, m=(((0, 1), 1.0),)), "output 1 of row 0, which does not exist"),
        (Row(Point(0.5, 0.5, 0.5), "grid", 1, None, z=((0, 1.0),)), "noise 0"),
        (Row(Point(0.5, 0.5, 0.5), "grid", 1, None, x=((0, math.nan),)), "not finite"),
        (Row(Point(0.5, 0.5, 0.5), "grid", 1, None), "no terms"),
        (Row(Point(0.5, 0.5, 0.5), "grid", 1, PLAIN, x=((0, 1.0),)), "must end with its result"),
        (Row(Point(0.5, math.inf, 0.5), "grid", 1, None, x=((0, 1.0),)), "has an invalid point"),
        (Row(Point(0.5, 0.5, -1.0), "grid", 1, None, x=((0, 1.0),)), "has an invalid point"),
        (Row(Point(0.5, 0.5, 0.5), "lattice", 1, None, x=((0, 1.0),)), "kinds are grid, stage"),
        (Row(Point(0.5, 0.5, 0.5), "grid", -1, None, x=((0, 1.0),)), "kind 'grid' and index -1"),
    ],
)
def test_a_table_that_cannot_be(row, words):
    with pytest.raises(DifftoolError, match=words):
        Plan((Row(Point(1.0, 0.0, 1.0), "grid", 0, PLAIN), row))


@pytest.mark.parametrize("predicts", [None, "eps", "v"])
@pytest.mark.parametrize("sampler", [DDPM(), Heun(variable="level"), Midpoint()], ids=str)
@pytest.mark.parametrize("noise", [Independent(), BrownianPath()], ids=str)
def test_a_run_saved_anywhere_goes_on_the_same(tmp_path, sampler, noise, predicts):
    model = NetworkModel(Wiggle(), VPLinear(), predicts) if predicts else mixture()
    bound, plan = model.bind(VPLinear()), trace(sampler, PATH, correlated=noise.correlated)
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fresh = lambda: noise.source((3, 2), seed=4, dtype=torch.float64)  # noqa: E731
    whole = run(plan, bound, x, fresh())
    raw = bound if predicts else None
    execution = Execution(plan, noise=fresh(), raw=raw)
    steps = execution.steps(x)
    points = [row.point for row in plan.rows if row.channels]
    with torch.no_grad():
        call, told = bound.prepare(points, x)
        y, _, _ = next(steps)
        for i in range(len(points)):
            execution.state().save(tmp_path / "run.safetensors")
            state = RunState.load(tmp_path / "run.safetensors")
            for _ in range(2):  # a state is a value: going on from it leaves it as it is
                assert torch.equal(run(plan, bound, None, fresh(), state=state), whole)
            assert torch.equal(execution.state().x, y)
            y, _, _ = steps.send(call(y, told[i]))
    assert torch.equal(y, whole)


def test_states_that_cannot_be(tmp_path):
    plan = trace(DDPM(), PATH)
    generator = Execution(plan, noise=Generator().source((1, 2)))
    next(generator.steps(torch.ones(1, 2)))
    with pytest.raises(DifftoolError, match="generator noise"):
        generator.state()
    execution = Execution(plan, noise=Independent().source((1, 2)))
    next(execution.steps(torch.ones(1, 2)))
    file = tmp_path / "s.safetensors"
    execution.state().save(file)
    with pytest.raises(DifftoolError, match="another plan"):
        run(trace(DDIM(), PATH), mixture().bind(VPLinear()), None, state=RunState.load(file))
    state = execution.state()
    for wrong in (replace(state, position=99), replace(state, position=2)):
        wrong.save(file)
        with pytest.raises(DifftoolError, match="no state at row"):
            RunState.load(file)
    state.save(file)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DifftoolError, match="truncated"):
        RunState.load(file)
    with pytest.raises(DifftoolError, match="cannot read"):
        RunState.load(tmp_path / "none")


# --- exact Gaussian analysis -----------------------------------------------------------------------------------------


@given(samplers, st.sampled_from([VPLinear(), VE(sigma_max=5.0), Flow()]), st.integers(1, 8))
def test_the_analysis_is_the_loop_on_the_exact_model(sampler, schedule, steps):
    """Mean and variance propagated by the analysis = those of the affine map that the plain loop computes.

    The loop is run on unit inputs: its result is o + g x + sum c_j z_j exactly, on an exactly affine model.
    """
    mean, variance = torch.tensor([0.3, -1.0], dtype=torch.float64), torch.tensor([0.5, 0.01], dtype=torch.float64)
    model = GaussianMixture(mean[None], variance[None])
    plan = prepare(model, sampler, shape=(1, 2), schedule=schedule, steps=steps).plan
    bound = model.bind(schedule)

    class Impulse:
        """Noise that is 1 in one of the z, 0 in the others."""

        resumable, shape = True, (1, 2)

        def __init__(self, j):
            self.key = plan.noises[j] if j is not None else None

        def expect(self, keys):
            pass

        def draw(self, key, out=None):
            return torch.full((1, 2), float(key == self.key), dtype=torch.float64)

    zero = torch.zeros(1, 2, dtype=torch.float64)
    offset = run(plan, bound, zero, Impulse(None))
    gain = run(plan, bound, zero + 1, Impulse(None)) - offset
    kicks = [run(plan, bound, zero, Impulse(j)) - offset for j in range(len(plan.noises))]
    data = Gaussian.of(mean.numpy(), variance.numpy())
    start = data.at(plan.rows[0].point)
    law = output_law(plan, data)
    expected = gain[0].numpy() ** 2 * start.variance + sum((k[0].numpy() ** 2 for k in kicks), np.zeros(2))
    assert law.mean == pytest.approx(offset[0].numpy() + gain[0].numpy() * start.mean, rel=1e-8, abs=1e-10)
    assert law.variance == pytest.approx(expected, rel=1e-8, abs=1e-12)
    o, g = output_map(plan, data)
    assert o == pytest.approx(offset[0].numpy(), rel=1e-8, abs=1e-10)
    assert g == pytest.approx(gain[0].numpy(), rel=1e-8, abs=1e-10)


def test_errors_are_what_they_say():
    data = Gaussian.of([0.2, -0.4], [0.3, 1.2])
    coarse, fine = (trace(Heun(), Path(Flow(), Uniform(start=0.9, end=0.05)(Flow(), n))) for n in (8, 400))
    assert error(fine, data) < error(coarse, data) / 1000
    assert path_error(fine, data) < path_error(coarse, data) / 1000
    offset, gain = exact_map(fine, data)
    out, start = data.at(fine.rows[-1].point), data.at(fine.rows[0].point)
    assert offset + gain * start.mean == pytest.approx(out.mean)
    assert gain**2 * start.variance == pytest.approx(out.variance)
    p = fine.rows[0].point
    expected = np.hypot(p.alpha * data.mean, np.sqrt(start.variance) - p.sigma)
    assert prior_mismatch(fine, data) == pytest.approx(math.sqrt((expected**2).sum()))
    assert Gaussian.of(0.0, 1.0).w2(Gaussian.of(3.0, 25.0)) == pytest.approx(5.0)


def test_plans_are_values():
    assert trace(DDIM(), PATH) == trace(DDIM(), PATH)
    assert trace(DDIM(), PATH) != trace(DDIM(eta=0.1), PATH)
    with pytest.raises(AttributeError):
        trace(DDIM(), PATH).rows = ()
    assert replace(trace(DDIM(), PATH), name="x").nfe == 5


# --- networks that do what networks should not, and users that do what they may ---------------------------------------


def quiet(x, t):
    return torch.tanh(0.9 * x)


def loud(x, t):
    x.mul_(0.9)
    return torch.tanh(x)


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DDPM(), Midpoint()], ids=str)
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_a_network_that_writes_into_its_input_does_no_harm(sampler, predicts):
    seen = [[], []]
    runs = [
        prepare(NetworkModel(net, VPLinear(), predicts), sampler, shape=(2, 2), steps=6, seed=1).batch(
            0, 2, callback=lambda step, told=told: told.append((step.index, step.x.clone()))
        )
        for net, told in zip((quiet, loud), seen, strict=True)
    ]
    torch.testing.assert_close(*runs)
    assert [index for index, _ in seen[0]] == [index for index, _ in seen[1]] == list(range(6))
    for (_, x), (_, y) in zip(*seen, strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), Heun(variable="level")], ids=str)
def test_a_loop_of_ones_own_needs_no_context(sampler):
    """A module's outputs ask for gradients; the registers do not."""
    model, plan = NetworkModel(Wiggle(), VPLinear(), "v"), trace(sampler, PATH)
    bound, x = model.bind(VPLinear()), torch.ones(2, 2, dtype=torch.float64)
    with torch.no_grad():
        expected = run(plan, bound, x)
    out = drive(plan.steps(x), bound)
    assert not out.requires_grad
    torch.testing.assert_close(out, expected)


def test_a_network_gives_one_output():
    rows = (
        Row(Flow().at(0.9), "grid", 0, WITH_VARIANCE),
        Row(Flow().at(0.1), "grid", 1, None, ((0, 0.5),), (((0, 1), 0.2),)),
    )
    model = NetworkModel(lambda x, t: (x, x), Flow(), "eps")
    with pytest.raises(DifftoolError, match="returns x0 only, but the sampler asks for 2 outputs"):
        run(Plan(rows), model.bind(Flow()), torch.ones(1, 2))


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), FlowSDE(), FlowABM()], ids=str)
def test_an_answer_of_another_shape_on_the_way_is_named(sampler):
    asked = iter(range(100))
    model = NetworkModel(lambda x, t: x.T if next(asked) == 2 else x, VPLinear())
    with pytest.raises(DifftoolError, match=r"returned shape \(2, 4\), expected \(4, 2\)"):
        sample(model, sampler, shape=(4, 2), steps=6)


def test_a_network_speaks_of_its_own_errors():
    def net(x, t):
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        sample(NetworkModel(net, VPLinear()), DDIM(), shape=(4, 2), steps=6)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(DifftoolError, match=r"noise is for states of shape \(1, 2\), but the state has \(4, 2\)"):
        run(trace(DDPM(), PATH), mixture().bind(VPLinear()), torch.ones(4, 2), Independent().source((1, 2)))


def test_a_state_of_another_network_is_refused():
    plan, x = trace(Heun(), PATH), torch.ones(1, 2)
    v, flow = (NetworkModel(wiggle, VPLinear(), predicts).bind(VPLinear()) for predicts in ("v", "flow"))
    execution = Execution(plan, raw=v)
    next(execution.steps(x))
    state = execution.state()
    run(plan, v, None, state=state)
    with pytest.raises(DifftoolError, match="another kind of model"):
        run(plan, flow, None, state=state)


def test_a_run_that_has_not_begun_has_no_state():
    with pytest.raises(DifftoolError, match="the run has not started"):
        Execution(trace(DDIM(), PATH)).state()


@pytest.mark.parametrize("x", [torch.tensor(1.0), [1.0], torch.ones(2, dtype=torch.int64)])
def test_what_is_no_state_is_refused(x):
    with pytest.raises(DifftoolError, match="the state of a run must be"):
        run(trace(DDIM(), PATH), mixture().bind(VPLinear()), x)


@pytest.mark.parametrize("term", [{"x": ((0, 0.5), (0, 0.0))}, {"m": (((0, 0), 0.5), ((0, 0), 0.25))}])
def test_two_terms_of_one_value_are_refused(term):
    with pytest.raises(DifftoolError, match="two terms for the same value"):
        Plan((Row(Point(1.0, 0.0, 1.0), "grid", 0, PLAIN), Row(Point(0.5, 0.5, 0.5), "grid", 1, None, **term)))


@pytest.mark.parametrize(("old", "new"), [('"channels": 1', '"channels": 1.9'), ('"index": 1', '"index": true')])
def test_whole_numbers_of_a_file_are_whole(old, new):
    with pytest.raises(DifftoolError, match="expected a whole number"):
        plan_from_json(plan_to_json(trace(DDIM(), PATH)).replace(old, new, 1))


def test_a_file_that_is_too_deep_is_no_plan(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DifftoolError, match="is not a plan"):
        load_plan(tmp_path / "deep.json")


@pytest.mark.parametrize("told", [lambda q: torch.tensor(round(q.t * 999)), lambda q: np.int64(round(q.t * 999))])
def test_entries_of_a_table_are_told_as_whole_numbers(told):
    """In the plan as in the loop."""
    kinds = []

    def net(x, t):
        kinds.append((t.dtype, tuple(t.shape)))
        return x

    model = NetworkModel(net, VPLinear(), time=told)
    for grad in (False, True):
        prepare(model, DDIM(), shape=(3, 2), steps=2).batch(0, 3, grad=grad)
    assert set(kinds) == {(torch.int64, (3,))}


def test_an_answer_is_looked_at_before_it_is_reported():
    model = NetworkModel(lambda x, t: (x, x), VPLinear())
    job = prepare(model, DDIM(), shape=(1, 2), steps=3)
    with pytest.raises(DifftoolError, match="the model returned a tuple"):
        job.batch(0, 1, callback=lambda step: step.x0)
