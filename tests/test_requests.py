"""What a sampler asks for by name: more answers, a named condition, a target; and who refuses it, with what reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from typer.testing import CliRunner

from difftool.cli.app import app
from difftool.errors import DifftoolError, NonFinite
from difftool.models import Clipped, GaussianMixture, Guided, Model, NetworkModel
from difftool.nn import MLP
from difftool.plan import (
    Execution,
    Plan,
    Row,
    Runner,
    RunState,
    compile_plan,
    plan_from_json,
    plan_to_json,
    run,
    trace,
)
from difftool.plan.analysis import Gaussian, output_law
from difftool.plan.execution import _pairs
from difftool.plan.form import forms
from difftool.plan.program import assign
from difftool.plan.runner import prepared
from difftool.plan.stability import amplification, guided_growth, stability
from difftool.request import PLAIN, WITH_VARIANCE, Request
from difftool.samplers import DDIM, DDPM, Heun, Sampler, eps_of
from difftool.sampling import prepare, sample
from difftool.schedules import DDPMLinear, Flow, Path, Point, VPLinear

F64 = torch.float64
MIXTURE = GaussianMixture(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), 0.1, labels=torch.tensor([0, 1, 2]))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 2])
OTHERS = torch.tensor([2, 1, 1, 0, 0, 0, 1])
OPTIONS = {"shape": (7, 2), "steps": 5, "seed": 3, "dtype": F64, "schedule": VPLinear()}
NAMED = {"source": {"label": LABELS}, "target": {"label": OTHERS}}
PATH = Path(Flow(), (0.9, 0.6, 0.3, 0.1))


def network(**options):
    torch.manual_seed(0)
    return NetworkModel(MLP(2, (16,), classes=3).double(), DDPMLinear(), "v", **options)


@dataclass(frozen=True)
class CFGpp(Sampler):
    """Chung et al. 2024, arXiv 2406.08070: x' = alpha' x0 + sigma' eps_uncond."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0, uncond = model(x, now, answers=("x0", "uncond"))
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, uncond, now)
        return x


@dataclass(frozen=True)
class Between(Sampler):
    """Half way between two conditions, leaning to the run's own."""

    own: bool = False

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            source = model(x, now, condition="source")
            x0 = 0.5 * source + 0.5 * model(x, now, condition="target")
            if self.own:
                x0 = x0 + 0.25 * (model(x, now) - source)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)
        return x


@dataclass(frozen=True)
class Jump(Sampler):
    """From point to point by a flow map."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now, to=nxt)
            ratio = nxt.sigma / now.sigma
            x = ratio * x + (nxt.alpha - now.alpha * ratio) * x0
        return x


class GaussianMap(Model):
    """The flow map of N(0, 1/4): x_q = x sqrt(v_q / v_p), v = alpha^2 / 4 + sigma^2."""

    schedule = VPLinear()
    flow_map = True

    def x0(self, x, p, to=None):
        if to is None:
            return p.alpha / 4 / (p.alpha**2 / 4 + p.sigma**2) * x
        assert to == self.schedule.at(to.t)  # on its own schedule, as p is
        v, w = (a.alpha**2 / 4 + a.sigma**2 for a in (p, to))
        ratio = to.sigma / p.sigma
        return ((w / v) ** 0.5 - ratio) * x / (to.alpha - p.alpha * ratio)


def start(job):
    return job.origin.sigma * job.start(0, job.total)[1].initial()


def in_every_way(model, sampler, **options):
    """The result by its plan; that of the stepper, of the loop, of every form and of a run cut in two is the same."""
    job = prepare(model, sampler, **{**OPTIONS, **options})
    assert job.plan is not None
    bound, x = job.start(0, job.total)[0], start(job)
    out = job.batch(0, job.total)
    steps = job.plan.steps(x)
    y, p, row = next(steps)
    with torch.no_grad():
        while row.request is not None:
            y, p, row = steps.send(bound.answer(y, p, row.request))
    torch.testing.assert_close(y, out, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(job.batch(0, job.total, grad=True).detach(), out, rtol=1e-9, atol=1e-9)
    for formed in forms(job.plan, _pairs(job.plan.rows, bound)):
        again = Runner(job.plan, bound, (formed, assign(formed)))(x)
        torch.testing.assert_close(again, out, rtol=1e-9, atol=1e-9)
    return out


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_unconditional_estimate_is_an_answer(scale):
    out = in_every_way(Guided(MIXTURE, scale), CFGpp(), cond={"label": LABELS})
    job = prepare(MIXTURE, DDIM(), **OPTIONS)
    x = start(job)
    for now, nxt in pairwise(job.path):
        plain, given = MIXTURE.x0(x, now), MIXTURE.x0(x, now, label=LABELS)
        x0 = plain + scale * (given - plain)
        x = nxt.alpha * x0 + nxt.sigma / now.sigma * (x - now.alpha * plain)
    torch.testing.assert_close(out, x, rtol=1e-9, atol=1e-9)


def test_of_a_network_and_in_batches():
    model = Guided(network(), 2.5)
    out = in_every_way(model, CFGpp(), cond={"label": LABELS})
    parts = sample(model, CFGpp(), **OPTIONS, cond={"label": LABELS}, batch_size=3)
    torch.testing.assert_close(parts, out, rtol=1e-9, atol=1e-9)


def test_clipping_clips_both_estimates():
    free, x, p = Guided(MIXTURE, 6.0), torch.randn(7, 2, dtype=F64), VPLinear().at(0.5)
    ask = {"answers": ("uncond", "x0")}
    bound = Clipped(free, -0.1, 0.2).bind(VPLinear(), {"label": LABELS})
    expected = free.bind(VPLinear(), {"label": LABELS})(x, p, **ask)
    for got, want in zip(bound(x, p, **ask), expected, strict=True):
        assert want.abs().max() > 0.3
        torch.testing.assert_close(got, want.clamp(-0.1, 0.2))
    in_every_way(Clipped(free, -0.1, 0.2), CFGpp(), cond={"label": LABELS})


def test_answers_come_in_the_order_asked_and_one_as_itself():
    net = NetworkModel(lambda x, t: torch.cat([0.1 * x, 0.0 * x], 1), Flow(), "x0", learned_variance=True)
    x, p = torch.ones(1, 3, 2), Flow().at(0.5)
    v, x0 = net.bind(Flow())(x, p, answers=("variance", "x0"))
    assert v.eq(0.5).all()
    torch.testing.assert_close(x0, 0.1 * x)
    assert net.bind(Flow())(x, p, answers=("variance",)).equal(v)
    guided = Guided(MIXTURE, 3.0).bind(None, {"label": LABELS})
    y = torch.randn(7, 2, dtype=F64)
    assert guided(y, p, answers=("uncond",)).equal(MIXTURE.x0(y, p))
    assert Guided(net, 2.0).answers == Clipped(Guided(net, 2.0), -1, 1).answers == {"x0", "uncond", "variance"}
    assert (MIXTURE.answers, net.answers) == ({"x0"}, {"x0", "variance"})


def test_at_the_clean_end_all_estimates_are_known():
    """In the loop and in the tracer, free of charge; what is no estimate does not exist there."""
    clean, x = Flow().at(0.0), torch.ones(7, 2, dtype=F64)
    bound = Guided(MIXTURE, 3.0).bind(Flow(), {"label": LABELS, **NAMED})
    both = bound(x, clean, answers=("x0", "uncond"))
    assert [part.equal(x) for part in both] == [True, True]
    assert bound(x, clean, condition="source").equal(x)
    up = Path(Flow(), (0.0, 0.3, 0.6))
    assert [row.point.t for row in trace(CFGpp(), up).rows if row.channels] == [0.3]
    net = NetworkModel(lambda x, t: x, Flow(), learned_variance=True)
    with pytest.raises(DifftoolError, match="at sigma = 0 only x0 exists, but the sampler asks for x0, variance"):
        net.bind(Flow())(x, clean, answers=("x0", "variance"))
    with pytest.raises(DifftoolError, match=r"only x0 exists, but the sampler asks for x0 to t=0\.3"):
        trace(Jump(), up)


def test_a_callback_is_told_the_estimate():
    for sampler, model, cond in (
        (CFGpp(), Guided(network(), 2.0), {"label": LABELS}),
        (Between(), network(), NAMED),
    ):
        job = prepare(model, sampler, **OPTIONS, cond=cond)
        bound = job.start(0, 7)[0]
        for grad in (False, True):
            seen = []
            job.batch(0, 7, callback=lambda step, seen=seen: seen.append(replace(step, x=step.x.clone())), grad=grad)
            assert [step.index for step in seen] == list(range(5))
            for step in seen:
                asked = {} if cond is not NAMED else {"condition": "target"}
                torch.testing.assert_close(step.x0, bound(step.x, step.point, **asked))


def test_what_is_not_finite_is_found_in_any_answer():
    def net(x, t, label=None):
        return x if label is not None else x * torch.where(t < 0.5, torch.nan, 1.0)[:, None]

    model = Guided(NetworkModel(net, VPLinear(), "eps"), 1.0)
    with pytest.raises(NonFinite, match=r"NaN or infinity at step 3 of 5"):
        sample(model, CFGpp(), **OPTIONS, cond={"label": LABELS})
    job = prepare(model, CFGpp(), **OPTIONS, cond={"label": LABELS})
    job = job.loop
    with pytest.raises(NonFinite, match=r"NaN or infinity at step 3 of 5"):
        job.batch(0, 7)


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [MIXTURE, network(), Guided(network(), 2.0), Guided(MIXTURE, 1.0), Clipped(Guided(MIXTURE, 3.0), -0.5, 0.5)],
    ids=["exact", "network", "guided", "guided by 1", "clipped"],
)
def test_named_conditions_are_cut_with_the_batch(model):
    out = in_every_way(model, Between(), cond=NAMED)
    parts = sample(model, Between(), **OPTIONS, cond=NAMED, batch_size=3)
    torch.testing.assert_close(parts, out, rtol=1e-9, atol=1e-9)
    swapped = {"source": NAMED["target"], "target": NAMED["source"]}
    torch.testing.assert_close(sample(model, Between(), **OPTIONS, cond=swapped), out, rtol=1e-9, atol=1e-9)
    same = {"source": NAMED["source"], "target": NAMED["source"]}
    one = sample(model, DDIM(), **OPTIONS, cond=NAMED["source"])
    torch.testing.assert_close(sample(model, Between(), **OPTIONS, cond=same), one, rtol=1e-9, atol=1e-9)
    assert float((out - one).abs().max()) > 1e-3


def test_named_conditions_beside_the_runs_own():
    """A plain evaluation of a network is given raw, the others as x0: the plan holds both."""
    for model in (network(), Guided(network(), 2.0)):
        cond = {"label": OTHERS.flip(0), **NAMED}
        out = in_every_way(model, Between(own=True), cond=cond)
        parts = sample(model, Between(own=True), **OPTIONS, cond=cond, batch_size=2)
        torch.testing.assert_close(parts, out, rtol=1e-9, atol=1e-9)
        plan, bound = prepare(model, Between(own=True), **OPTIONS).plan, model.bind(VPLinear(), cond)
        assert {formed.form for formed in forms(plan, _pairs(plan.rows, bound))} == {"x0", "raw"}


def test_named_conditions_take_what_conditions_take():
    """One label for all, lists, arrays."""
    cond = {"source": {"label": 1}, "target": {"label": OTHERS.tolist()}}
    out = sample(MIXTURE, Between(), **OPTIONS, cond=cond, batch_size=4)
    full = {"source": {"label": torch.ones(7).long()}, "target": {"label": OTHERS.numpy()}}
    assert sample(MIXTURE, Between(), **OPTIONS, cond=full, batch_size=4).equal(out)


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: Guided(m, 2.0), lambda m: Clipped(Guided(m, 2.0), -1, 1)])
def test_some_samples_of_a_batch_under_a_named_condition(wrap):
    bound, x, p = wrap(MIXTURE).bind(VPLinear(), NAMED), torch.randn(7, 2, dtype=F64), VPLinear().at(0.4)
    index = torch.tensor([5, 1])
    whole = bound(x, p, condition="target")
    torch.testing.assert_close(bound.rows(index, 7)(x[index], p, condition="target"), whole[index])


def test_a_mapping_that_the_network_takes_is_no_named_condition():
    """As diffusers' networks take `added_cond_kwargs`; it is cut with the batch as well."""

    def net(x, t, added=None):
        return 0.1 * x + added["size"][:, None]

    model, added = NetworkModel(net, VPLinear(), "eps"), {"added": {"size": torch.arange(7).double()}}
    bound = model.bind(VPLinear(), added)
    assert (set(bound.cond), bound.conditions) == ({"added"}, {})
    out = sample(model, DDIM(), **OPTIONS, cond=added)
    torch.testing.assert_close(sample(model, DDIM(), **OPTIONS, cond=added, batch_size=3), out)


# --- targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [VPLinear(), Flow(), DDPMLinear()], ids=str)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_flow_map_is_exact_in_any_number_of_steps(schedule, steps):
    options = {"schedule": schedule, "steps": steps, "grid": None}
    out = in_every_way(GaussianMap(), Jump(), **options)
    job = prepare(GaussianMap(), Jump(), **{**OPTIONS, **options})
    v, w = (p.alpha**2 / 4 + p.sigma**2 for p in (job.origin, job.end))
    torch.testing.assert_close(out, (w / v) ** 0.5 * start(job), rtol=1e-6, atol=1e-9)  # levels by times and back
    assert [row.request.to for row in job.plan.rows[:-1]] == list(job.path[1:])


# --- plans -----------------------------------------------------------------------------------------------------------


def plans():
    return [trace(sampler, PATH) for sampler in (CFGpp(), Between(own=True), Jump(), DDIM())]


def test_json_keeps_what_is_asked():
    for plan in plans():
        assert plan_from_json(plan_to_json(plan)) == plan
    cfg, between, jump, plain = (json.loads(plan_to_json(plan)) for plan in plans())
    row = cfg["rows"][0]
    assert (row["channels"], row["answers"]) == (2, ["x0", "uncond"])
    assert [r.get("condition") for r in between["rows"][:4]] == ["source", "target", None, "source"]
    assert jump["rows"][0]["to"] == list(PATH[1])
    assert [made["version"] for made in (cfg, between, jump, plain)] == [2, 2, 2, 1]
    assert all(r.keys() == plain["rows"][0].keys() for r in plain["rows"])
    assert not plain["rows"][0].keys() & {"answers", "condition", "to"}


def two_channels():
    rows = (
        Row(Flow().at(0.9), "grid", 0, WITH_VARIANCE),
        Row(Flow().at(0.5), "grid", 1, PLAIN, ((0, 0.5),), (((0, 1), 0.2),)),
        Row(Flow().at(0.1), "grid", 2, None, ((1, 0.5),), (((1, 0), 0.2),)),
    )
    return Plan(rows)


def test_two_channels_of_an_old_file_are_x0_and_the_variance():
    data = json.loads(plan_to_json(two_channels()))
    assert data["version"] == 1
    assert data["rows"][0].pop("answers") == ["x0", "variance"]
    assert plan_from_json(json.dumps(data)) == two_channels()
    net = NetworkModel(lambda x, t: torch.cat([x, 0 * x], 1), Flow(), "x0", learned_variance=True)
    x = torch.ones(1, 1, 2, dtype=F64)
    out = run(two_channels(), net.bind(Flow()), x)
    middle = 0.5 * x + 0.2 * 0.5
    torch.testing.assert_close(out, 0.7 * middle)


def test_a_run_is_saved_between_answers_and_goes_on(tmp_path):
    plan = trace(CFGpp(), PATH)
    bound = Guided(network(), 2.0).bind(Flow(), {"label": LABELS})
    x = torch.ones(7, 2, dtype=F64)
    with torch.no_grad():
        expected = run(plan, bound, x)
        execution = Execution(plan, raw=bound)
        steps = execution.steps(x)
        y, p, row = next(steps)
        y, p, row = steps.send(bound.answer(y, p, row.request))
        execution.state().save(tmp_path / "a.safetensors")
        state = RunState.load(tmp_path / "a.safetensors")
        torch.testing.assert_close(run(plan, bound, None, state=state), expected)


def test_a_plan_that_asks_for_x0_alone_pays_nothing():
    model = NetworkModel(lambda x, t: x, Flow(), "flow").to(dtype=F64)
    bound, plan = model.bind(Flow()), trace(Heun(), PATH)
    call, told = prepared(bound, plan.rows, torch.ones(1, 2, dtype=F64))
    assert call is model.estimate
    assert len(told) == plan.nfe


def cli(*words):
    result = CliRunner().invoke(app(), words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_the_table_shows(tmp_path):
    for plan, lines in zip(
        plans(),
        (
            ["requested x0, uncond: rows 0-2"],
            ["requested x0 given source: rows 0, 3, 6", "requested x0 given target: rows 1, 4, 7"],
            [f"requested x0 to t={t}: rows {r}" for r, t in enumerate((0.6, 0.3, 0.1))],
            [],
        ),
        strict=True,
    ):
        (tmp_path / "a.json").write_text(plan_to_json(plan))
        shown = cli("plan", str(tmp_path / "a.json"))
        assert [line for line in shown.splitlines() if line.startswith("requested")] == lines
        assert ("unknown: the Gaussian analysis" in shown) == bool(lines)
        assert json.loads(cli("plan", str(tmp_path / "a.json"), "--json")) == json.loads(plan_to_json(plan))


# --- refusals --------------------------------------------------------------------------------------------------------

X = torch.ones(2, 2)
HALF = Flow().at(0.5)
GAUSSIAN = Gaussian.of(0.0, 0.5)


def broken(**row):
    """A file whose first row has other values."""
    data = json.loads(plan_to_json(trace(CFGpp(), PATH)))
    data["rows"][0].update(row)
    return plan_from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        # requests
        (lambda: Request("x0"), r"answers must be a tuple of names, e.g. \('x0', 'uncond'\), got 'x0'"),
        (lambda: Request(("x0", 3)), "a tuple of names"),
        (lambda: Request(()), "answers must be 1 to 8 different names"),
        (lambda: Request(("x0", "x0")), "1 to 8 different names"),
        (lambda: Request(condition=""), "condition must be a name, got ''"),
        (lambda: Request(to=0.5), "the target of a flow map must be a point, got 0.5"),
        # models
        (
            lambda: MIXTURE.bind(None)(X, HALF, answers=("x0", "uncond")),
            r"^GaussianMixture returns x0, but the sampler asks for uncond; uncond needs guidance: "
            r"Guided\(model, scale\)$",
        ),
        (
            lambda: MIXTURE.bind(None)(X, HALF, answers=("x0", "variance")),
            "^GaussianMixture returns x0 only, but the sampler asks for 2 outputs; variance=learned needs a network "
            "trained with a learned variance$",
        ),
        (
            lambda: Guided(MIXTURE, 2.0).bind(None, {"label": 1})(X, HALF, answers=("uncond", "variance", "odd")),
            "^GaussianMixture returns x0, but the sampler asks for variance, odd; variance=learned needs a network",
        ),
        (
            lambda: Clipped(network(), -1, 1).bind(None)(X, HALF, answers=("uncond",)),
            "^NetworkModel returns x0, but the sampler asks for uncond; uncond needs guidance",
        ),
        (
            lambda: MIXTURE.bind(None, {"target": {"label": 1}})(X, HALF, condition="source"),
            r"asks for the condition 'source', but this run has: target; pass it as cond=\{'source': \{'label': ..."
            r"\}\}$",
        ),
        (lambda: MIXTURE.bind(None)(X, HALF, condition="source"), "'source', but this run has: none"),
        (
            lambda: MIXTURE.bind(None)(X, HALF, to=Flow().at(0.2)),
            r"a jump to a target point \(t=0.2\), which only flow maps support; GaussianMixture is not a flow map",
        ),
        (lambda: Guided(MIXTURE, 2.0).bind(None, NAMED)(X, HALF), "guidance needs conditioning; pass it"),
        (lambda: MIXTURE.bind(None, {"a": {"b": {"label": 1}}}), "conditions cannot be nested: 'a' contains b"),
        (lambda: network().bind(None, {"a": {"text": 1}}), "the network takes no 'text'"),
        (lambda: MIXTURE.bind(None)(X, HALF, outputs=2), None),
        # runs, before the first evaluation
        (lambda: sample(MIXTURE, CFGpp(), **OPTIONS), "GaussianMixture returns x0, but the sampler asks for uncond"),
        (lambda: sample(MIXTURE, CFGpp(), **OPTIONS, grad=True), "the sampler asks for uncond"),
        (lambda: sample(MIXTURE, Between(), **OPTIONS), "the condition 'source', but this run has: none"),
        (lambda: sample(MIXTURE, Jump(), **OPTIONS), "GaussianMixture is not a flow map"),
        (lambda: sample(Guided(MIXTURE, 2.0), CFGpp(), **OPTIONS), "guidance needs conditioning"),
        (
            lambda: compile_plan(trace(CFGpp(), PATH), network().bind(Flow())),
            "NetworkModel returns x0, but the sampler asks",
        ),
        (
            lambda: sample(MIXTURE, Between(), **OPTIONS, cond={"source": {"label": LABELS[:3]}, "target": {}}),
            "cond 'label' has 3 rows, expected 7",
        ),
        (lambda: sample(MIXTURE, Between(), **OPTIONS, cond={"source": {1: 2}}), "cond must be a mapping from names"),
        (lambda: sample(MIXTURE, DDPM(variance="learned"), **OPTIONS), "returns x0 only"),
        # plans and files
        (
            lambda: Plan((Row(HALF, "grid", 0, 1), Row(HALF, "grid", 1, None, x=((0, 1.0),)))),
            "asks for 1, expected a Req",
        ),
        (
            lambda: Plan(
                (Row(HALF, "grid", 0, Request(to=Point(0.1, -1.0, 0.0))), Row(HALF, "grid", 1, None, x=((0, 1.0),)))
            ),
            "has an invalid target point",
        ),
        (lambda: broken(answers=["x0"]), "row 0 of the plan has 2 outputs, expected as many as its answers"),
        (lambda: broken(answers="x0"), "has 2 outputs, expected as many as its answers 'x0'"),
        (lambda: broken(answers=["x0", 1]), "a tuple of names"),
        (lambda: broken(answers=["x0", "x0"]), "1 to 8 different names"),
        (lambda: broken(condition=7), "condition must be a name, got 7"),
        (lambda: broken(to=[1.0]), "is not a complete plan"),
        (lambda: broken(to="away"), "is not a complete plan"),
        (lambda: broken(to=[0.5, -0.5, 0.5]), "has an invalid target point"),
        (
            lambda: plan_from_json(plan_to_json(trace(DDIM(), PATH)).replace('"channels": 1', '"channels": 3', 1)),
            "row 0 of the plan has 3 outputs without names, expected 0 to 2",
        ),
        # the analysis
        (lambda: output_law(plans()[0], GAUSSIAN), "needs one output per evaluation, but this plan has more"),
        (
            lambda: output_law(plans()[1], GAUSSIAN),
            "under the run's own condition, but this plan asks for x0 given source",
        ),
        (lambda: output_law(plans()[2], GAUSSIAN), r"this plan asks for x0 to t=0\.6"),
        (lambda: amplification(plans()[0], lambda p: 1.0), "needs one output per evaluation"),
        (lambda: guided_growth(plans()[1], 2.0), "this plan asks for x0 given source"),
    ],
)
def test_refusals(made, words):
    with pytest.raises(DifftoolError if words else TypeError, match=words or "outputs"):
        made()


def test_no_intervals_are_told_of_what_asks_for_more():
    assert stability(CFGpp()) is None
    assert stability(DDIM()) is not None
