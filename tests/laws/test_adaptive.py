"""Adaptive solvers with a step size for each sample: exact flows, tolerances, and no sample that depends on another."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from exact import ExactNetwork, gen, mixture, randn, states
from hypothesis import given
from hypothesis import strategies as st
from registered import SCHEDULES, slow

from difftool.errors import DifftoolError, NonFinite
from difftool.models import GaussianMixture, NetworkModel
from difftool.samplers.adaptive import AdaptiveODE
from difftool.samplers.dpm_adaptive import PID, DPMAdaptive
from difftool.samplers.embedded import PAIRS, EmbeddedRK
from difftool.samplers.gotta_go_fast import Brownian, GottaGoFast
from difftool.samplers.per_sample import PI, error_norm
from difftool.samplers.tableau import Tableau
from difftool.sampling import prepare, sample
from difftool.sampling.watch import Watch
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, Path, ScaledLinear, VPLinear

F64 = torch.float64
MEAN, VARIANCE = torch.linspace(-1, 1, 64, dtype=F64), torch.linspace(0.05, 1.0, 64, dtype=F64)
GAUSSIAN = GaussianMixture(MEAN[None], VARIANCE[None])
SOLVERS = [
    EmbeddedRK(rtol=1e-7, atol=1e-7),
    EmbeddedRK("bosh3", rtol=1e-6, atol=1e-6),
    EmbeddedRK("heun-euler", rtol=1e-5, atol=1e-5),
    DPMAdaptive(2, rtol=1e-4, atol=1e-4),
    DPMAdaptive(3, rtol=1e-5, atol=1e-5),
]
EVERY = [EmbeddedRK(), EmbeddedRK("bosh3"), DPMAdaptive(2), DPMAdaptive(3), GottaGoFast(rtol=0.1, atol=0.05)]


def close(a, b, rtol=1e-10, atol=1e-10):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def flow_map(x, a, b):
    """Where the probability flow of Gaussian data takes x from the point a to b: each direction is scaled."""
    va, vb = (p.alpha**2 * VARIANCE + p.sigma**2 for p in (a, b))
    return b.alpha * MEAN + (vb / va).sqrt() * (x - a.alpha * MEAN)


class Waves(torch.nn.Module):
    """A network that is the harder the larger `wild` is; it writes down which samples it was asked about."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones((), dtype=F64))
        self.asked: list[list[int]] = []

    def forward(self, x, t, wild=None, number=None):
        if number is not None:
            self.asked.append(number.tolist())
        wild = 1.0 if wild is None else wild[:, None]
        return torch.sin(self.scale * wild * x + t[:, None])

    def asked_about(self, number: int) -> int:
        """How often."""
        return sum(number in each for each in self.asked)


# --- the flow, to the tolerance ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [VPLinear(), Flow(), *slow(Cosine(), VE(), ScaledLinear())], ids=str)
@pytest.mark.parametrize("sampler", SOLVERS, ids=str)
def test_the_exact_flow_to_the_tolerance_and_back(sampler, schedule):
    """Pure noise included where the sampler takes it: alpha = 0 at the start on flow and cosine."""
    times = schedule.t_start(sampler.divides_by_alpha), schedule.t_at_level(0.05)
    job = prepare(GAUSSIAN, sampler, shape=(3, 64), grid=times, schedule=schedule, dtype=F64)
    a, b = job.path[0], job.path[-1]
    x = a.sigma * randn(0, 3, 64)
    out = job.batch(0, 3, x)
    assert job.nfe > 10
    assert float((out - flow_map(x, a, b)).abs().max()) < 30 * sampler.rtol  # local errors add up over the steps
    back = sample(GAUSSIAN, sampler, x=out, grid=times[::-1], schedule=schedule)
    close(back, flow_map(out, b, a), 100 * sampler.rtol * a.sigma, 100 * sampler.rtol * a.sigma)  # and so do they here


@pytest.mark.parametrize("schedule", [VPLinear(), Flow(), VE()], ids=str)
def test_encoding_starts_at_clean_data(schedule):
    """The slope at sigma = 0 is known without the model."""
    sampler = EmbeddedRK(rtol=1e-8, atol=1e-8)
    x = GAUSSIAN.draw(3, seed=1).double()
    out = sample(GAUSSIAN, sampler, x=x, grid=(0.0, schedule.t_at_level(3.0)), schedule=schedule)
    close(out, flow_map(x, schedule.at(0.0), schedule.at(schedule.t_at_level(3.0))), 1e-6, 1e-6)  # local errors add up
    with pytest.raises(DifftoolError, match="dpm-adaptive must start above noise level 0"):
        sample(GAUSSIAN, DPMAdaptive(), x=x, grid=(0.0, schedule.t_at_level(3.0)), schedule=schedule)


@pytest.mark.parametrize("sampler", EVERY, ids=str)
def test_clean_data_ends_with_the_mean(sampler):
    with pytest.raises(DifftoolError, match="end it with last='mean'"):
        sample(GAUSSIAN, sampler, shape=(2, 64), last="step")


@pytest.mark.parametrize(
    "make", [EmbeddedRK, partial(EmbeddedRK, "bosh3"), DPMAdaptive], ids=["dopri5", "bosh3", "dpm"]
)
def test_the_error_falls_with_the_tolerance(make):
    """And is about as large, on data for which the flow is not linear; the reference is another solver."""
    model, x = mixture(3, std=0.2), randn(1, 8, 3)
    options = {"x": x, "schedule": Flow(), "grid": (0.99, 0.1)}
    exact = sample(model, AdaptiveODE("dopri8", rtol=1e-12, atol=1e-12), **options)
    errors, tolerances = [], (1e-3, 1e-5, 1e-7)
    for tolerance in tolerances:
        difference = sample(model, make(rtol=tolerance, atol=tolerance), **options) - exact
        errors.append(float(difference.square().mean().sqrt()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert all(error < 50 * tolerance for error, tolerance in zip(errors, tolerances, strict=True))


def test_a_sample_alone_costs_what_torchdiffeq_takes():
    """At most; few steps are rejected."""
    for schedule in (VPLinear(), VE()):
        nfe = []
        for kind in (AdaptiveODE, EmbeddedRK):
            job = prepare(GAUSSIAN, kind("dopri5", rtol=1e-6, atol=1e-6), shape=(1, 64), schedule=schedule, dtype=F64)
            job.batch(0, 1)
            nfe.append(job.nfe)
        assert nfe[1] <= 1.1 * nfe[0]


@pytest.mark.parametrize("method", PAIRS)
def test_the_pairs_have_their_orders(method):
    pair = PAIRS[method]
    size = len(pair.other)
    rows = ((), *pair.a)
    result, other = Tableau(rows, (*pair.a[-1], 0.0)), Tableau(rows, pair.other)
    assert result.order == min(pair.order, 4)  # it looks no further
    assert other.order == pair.order - 1
    assert len(pair.c) == size - 1
    assert sum(pair.error) == pytest.approx(0.0, abs=1e-15)


STEPS = [
    *(EmbeddedRK(m, rtol=1e9, atol=1e9, h_init=9.0) for m in PAIRS),
    *(DPMAdaptive(n, 1e9, 1e9, 9.0) for n in (2, 3)),
]


@pytest.mark.parametrize("sampler", STEPS, ids=str)
def test_one_step_has_its_order(sampler):
    """The defect of one step, which this tolerance lets pass, is of order p + 1."""
    order = PAIRS[sampler.method].order if isinstance(sampler, EmbeddedRK) else sampler.order
    schedule = VPLinear()
    model, x = mixture(5, std=0.3).bind(schedule), randn(2, 5, 3)
    defects = []
    for h in (0.2, 0.1):
        path = Path(schedule, (schedule.t_at_half_log_snr(0.0), schedule.t_at_half_log_snr(h)))
        exact = AdaptiveODE("dopri8", rtol=1e-13, atol=1e-13)(model, x, path, None)
        defects.append(float((sampler(model, x, path, None) - exact).abs().mean()))
    assert math.log2(defects[0] / defects[1]) == pytest.approx(
        order + 1, abs=0.4
    )  # the next order shows at these steps


# --- a sample by itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", EVERY, ids=str)
@pytest.mark.parametrize("schedule", [DDPMLinear(), *slow(VPLinear(), VE(sigma_max=20.0))], ids=str)
def test_no_sample_depends_on_its_batch(sampler, schedule):
    """A network trained on another schedule, conditioning with a row for each sample, batches of 1, 2, 3 against 6."""
    net = Waves()
    model = NetworkModel(net, Cosine(), "v")
    cond = {"wild": torch.tensor([0.1, 3.0, 1.0, 2.0, 0.5, 6.0], dtype=F64)}
    job = prepare(model, sampler, shape=(6, 3), cond=cond, schedule=schedule, dtype=F64)
    whole = job.batch(0, 6)
    close(torch.cat([job.batch(0, 1), job.batch(1, 2), job.batch(3, 3)]), whole)
    other = prepare(model, sampler, shape=(6, 3), cond={"wild": cond["wild"].flip(0)}, schedule=schedule, dtype=F64)
    assert float((other.batch(0, 6) - whole).abs().amin(1).max()) > 1e-3  # each has the conditioning that is its own


@pytest.mark.parametrize("sampler", EVERY, ids=str)
def test_labels_are_cut_with_the_samples_that_go_on(sampler):
    model, label = mixture(1, std=0.02), torch.tensor([0, 1, 2, 1, -1, 0])
    x = sample(model, sampler, shape=(6, 3), cond={"label": label}, dtype=F64)
    near = model.labels[torch.cdist(x, model.means).argmin(1)]
    assert torch.equal(near[label >= 0], label[label >= 0])
    for which in (2, torch.tensor(2)):  # one for all
        x = sample(model, sampler, shape=(2, 3), cond={"label": which}, dtype=F64)
        assert model.labels[torch.cdist(x, model.means).argmin(1)].tolist() == [2, 2]


@pytest.mark.parametrize("sampler", EVERY, ids=str)
def test_a_hard_sample_costs_the_easy_ones_nothing(sampler):
    """Evaluations of a sample are those of a run of its own."""
    wild = torch.tensor([0.1, 0.1, 12.0, 0.1], dtype=F64)
    net = Waves()
    job = prepare(
        NetworkModel(net, VPLinear(), "v"),
        sampler,
        shape=(4, 3),
        cond={"wild": wild, "number": torch.arange(4)},
        dtype=F64,
    )
    job.batch(0, 4)
    together, calls = [net.asked_about(i) for i in range(4)], len(net.asked)
    assert calls == job.nfe == together[2]
    for i in range(4):
        net.asked.clear()
        job.batch(i, 1)
        assert net.asked_about(i) == job.nfe == together[i]
    part = 0.9 if sampler.stochastic else 0.7  # an SDE's steps follow the noise as well, which all samples have
    assert max(together[i] for i in (0, 1, 3)) < part * together[2]


@pytest.mark.parametrize("sampler", [*EVERY, GottaGoFast()], ids=str)
@pytest.mark.parametrize(
    ("dtype", "bit", "tolerance"),
    [(F64, 1e-14, 1e-9), pytest.param(torch.float32, 3e-7, 2e-3, marks=pytest.mark.slow)],
    ids=str,
)
def test_the_last_bit_of_an_answer_decides_nothing(sampler, dtype, bit, tolerance):
    """Another processor rounds otherwise: where results agree, where a step is tried, and which noise it gets.

    The tolerance: step sizes of the ODE solvers move with the bits, and the result within its own tolerance with them.
    """
    net = Waves()

    def run(seed):
        g = torch.Generator().manual_seed(seed)

        def rounded(x, t, wild):
            return net(x, t, wild) * (1 + bit * (2 * torch.rand(len(x), 1, generator=g, dtype=x.dtype) - 1))

        cond = {"wild": torch.tensor([0.0, 1e-3, 0.1, 1.0, 3.0, 6.0], dtype=dtype)}
        return sample(NetworkModel(rounded, VPLinear(), "v"), sampler, shape=(6, 3), cond=cond, dtype=dtype)

    first = run(0)
    for seed in (1, 2, 3):
        close(run(seed), first, tolerance, tolerance)


# --- the reverse SDE --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [VPLinear(), VE(), Flow()], ids=str)
def test_gotta_go_fast_has_the_right_law(schedule):
    """64 means and variances, on each schedule; the start is N(0, sigma^2), next to the true law."""
    count = 1500
    x = sample(GAUSSIAN, GottaGoFast(), shape=(count, 64), schedule=schedule, seed=3, dtype=F64)
    means = (x.mean(0) - MEAN) / (VARIANCE / count).sqrt()
    variances = (x.var(0) / VARIANCE - 1) * math.sqrt(count / 2)
    assert float(means.abs().max()) < 4.5
    assert float(variances.abs().max()) < 4.5
    assert float(variances.mean().abs() * 8) < 4.5  # all of them together, where a bias would show
    y = sample(GAUSSIAN, GottaGoFast(), x=x[:2], schedule=schedule, seed=3)
    assert not torch.equal(y, sample(GAUSSIAN, GottaGoFast(), x=x[:2], schedule=schedule, seed=4))


def test_noise_drawn_afresh_after_a_rejection_biases_the_law():
    """Worst in one dimension; the figures of the docstring."""
    model, count = GaussianMixture(torch.zeros(1, 1), 1.0), 4000
    ratio = {
        kind: float(sample(model, GottaGoFast(rejected=kind), shape=(count, 1), seed=1, dtype=F64).var())
        for kind in ("kept", "fresh")
    }
    assert abs(ratio["kept"] - 1) < 0.02 + 4 * math.sqrt(2 / count)  # the bias of the tolerance, the sampling error
    assert ratio["fresh"] > 2


@given(st.lists(st.tuples(st.integers(1, 128), st.booleans()), min_size=2, max_size=12), st.integers(0, 99))
def test_the_motion_is_remembered(steps, seed):
    """However steps (in 64ths) are tried, rejected and taken: asked again about a time, the motion is what it was."""
    motion = Brownian(torch.zeros(1, 2, dtype=F64))
    now, here, seen = 0.0, torch.zeros(1, 2, dtype=F64), {}
    for i, (h, taken) in enumerate(steps):
        ahead = [t - now for t in seen if t > now]
        h = ahead[0] if ahead and i % 3 == 2 else h / 64  # a time that is known
        w = motion.draw(torch.tensor([h], dtype=F64), randn(seed + i, 1, 2))
        for t, value in seen.items():
            if t == now + h:
                close(here + w, value)
        seen[now + h] = here + w
        motion.move(torch.tensor([taken]), torch.tensor([h], dtype=F64), w)
        if taken:
            now, here = now + h, here + w
    for t, value in seen.items():
        if t > now:
            close(here + motion.draw(torch.tensor([t - now], dtype=F64), randn(seed, 1, 2)), value)


@pytest.mark.parametrize("taken", [False, True])
def test_the_motion_is_brownian(taken):
    """Times asked about in any order have the covariance min(s, t), before and after a step is taken."""
    count, g = 20000, gen(0)
    motion, seen = Brownian(torch.zeros(count, 1, dtype=F64)), {}

    def ask(t, now=0.0, go=False):
        h = torch.full((count,), t - now, dtype=F64)
        w = motion.draw(h, torch.randn(count, 1, generator=g, dtype=F64))
        seen[t] = w[:, 0] + seen.get(now, 0.0)
        motion.move(torch.full((count,), go), h, w)

    for t in (1.0, 0.25, 0.5):
        ask(t)
    ask(0.375, go=taken)
    for t in (0.75, 2.0, 0.4):
        ask(t, 0.375 if taken else 0.0)
    times = torch.tensor(list(seen), dtype=F64)
    found = torch.cov(torch.stack(list(seen.values())))
    assert float((found - torch.minimum(times[:, None], times)).abs().max()) < 5 * 2 * math.sqrt(2 / count)  # sampling


# --- points of their own ----------------------------------------------------------------------------------------------


def own_points(schedule, fractions):
    """A point for each sample of (B, 3), and the same as floats."""
    low, high = schedule.domain
    t = torch.tensor([low + u * (high - low) for u in fractions], dtype=F64)
    return schedule.at(t[:, None]), [schedule.at(float(v)) for v in t]


FRACTIONS = [0.05, 0.9, 0.3, 0.3, 0.6]


@pytest.mark.parametrize("kind", ["shared", "per element", "per component", "per component and element"])
@pytest.mark.parametrize("label", [None, [0, 1, 2, -1, 0]], ids=["all", "labelled"])
@given(seed=st.integers(0, 99))
def test_a_mixture_at_a_point_for_each_sample(kind, label, seed):
    model = mixture(seed, kind=kind)
    p, each = own_points(VPLinear(), FRACTIONS)
    x = torch.cat([states(model, q, seed, 1) for q in each])
    label = None if label is None else torch.tensor(label)
    labels = [None] * 5 if label is None else label.split(1)
    alone = [model.x0(y, q, own) for y, q, own in zip(x.split(1), each, labels, strict=True)]
    close(model.x0(x, p, label), torch.cat(alone), 1e-8, 1e-8)  # the exponents cancel digits, as at one point
    close(model.x0(x.float(), p, label), torch.cat(alone).float(), 1e-4, 1e-4)  # x is rounded


@pytest.mark.parametrize("predicts", ["eps", "x0", "v", "flow", "score", "edm"])
@pytest.mark.parametrize("own", [VPLinear(), DDPMLinear(), VE(sigma_max=200.0)], ids=str)
def test_a_network_at_a_point_for_each_sample(predicts, own):
    """On its own schedule and on others, in float64 and in float32."""
    exact = mixture(2)
    network = ExactNetwork(exact, predicts)
    model = NetworkModel(network, own, predicts, time=network.number)
    p, each = own_points(VPLinear(), FRACTIONS)
    x = torch.cat([states(exact, q, 0, 1) for q in each])
    bound = model.bind(VPLinear())
    close(
        bound(x, p), torch.cat([exact.x0(x[i : i + 1], q) for i, q in enumerate(each)]), 1e-6, 1e-6
    )  # eps at low noise
    out = NetworkModel(lambda x, t: torch.sin(x + t[:, None]), own, predicts)
    narrow = out.bind(VPLinear())(x.float(), p)
    wide = torch.cat([out.to(dtype=F64).bind(VPLinear())(x[i : i + 1], q) for i, q in enumerate(each)])
    assert narrow.dtype == torch.float32
    close(narrow.double(), wide, 1e-3, 1e-4)  # the rounding of float32, of times and levels up to 150


def test_levels_above_the_trained_ones_are_refused_for_each():
    model = NetworkModel(Waves(), VE(sigma_max=5.0), "v").bind(VE())
    p = VE().at(torch.tensor([[1.0], [7.0]], dtype=F64))
    with pytest.raises(DifftoolError, match="the run reaches noise level 7, the model was trained up to 5"):
        model(torch.zeros(2, 3, dtype=F64), p)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_times_of_many_levels_at_once(schedule):
    """Arrays give what floats give one by one, both ends included."""
    top = schedule.level(schedule.t_start(True))
    levels = [0.0, *(level for level in (1e-6, 0.002, 0.5, 3.0, 9.0) if level <= top), top]
    times = [schedule.t_at_level(level) for level in levels]
    close(schedule.t_at_level(torch.tensor(levels, dtype=F64)), torch.tensor(times, dtype=F64), 1e-12, 1e-12)
    close(
        torch.from_numpy(schedule.t_at_level(torch.tensor(levels, dtype=F64).numpy())), torch.tensor(times, dtype=F64)
    )
    flow = torch.tensor([*(level / (1 + level) for level in levels), 1.0], dtype=F64)
    expected = torch.tensor([*times, schedule.domain[1]], dtype=F64)
    close(schedule.t_at_flow(flow), expected, 1e-10, 1e-10)  # 1 - s has lost digits at high noise


# --- what a run tells, and what it refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", EVERY, ids=str)
def test_a_callback_is_told_who_was_asked_and_where(sampler):
    """Every evaluation, with the rows of the batch, their points and their states, and the answer to them."""
    exact, steps = mixture(4), []
    bound = exact.bind(VPLinear())
    job = prepare(exact, sampler, shape=(9, 3), schedule=VPLinear(), dtype=F64)
    sizes = []

    def callback(step):
        sizes.append(len(step.x))
        steps.append(step)
        close(step.x0, bound(step.x, step.point))
        assert step.index is None
        if isinstance(step.point.sigma, torch.Tensor):
            rows = list(range(5)) if step.rows is None else step.rows
            assert len(rows) == len(step.x) == len(step.point.sigma)

    job.batch(4, 5, callback=callback)
    assert len(steps) == job.nfe
    assert {step.first for step in steps} == {4}
    assert sizes[0] == 5
    assert min(sizes[:-1]) < 5  # somebody was there first; the last is the mean of all


@pytest.mark.parametrize("sampler", EVERY, ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_that_breaks_down_is_named(sampler, value):
    def net(x, t, bad):
        return torch.where((bad > 0)[:, None] & (t < 0.5)[:, None], value, torch.sin(x))

    bad = torch.tensor([0, 0, 0, 1, 0])
    with pytest.raises(NonFinite, match=r"the model returned NaN or infinity .*\(t=0\..*\), first in sample 3"):
        sample(NetworkModel(net, VPLinear(), "v"), sampler, shape=(5, 3), cond={"bad": bad}, batch_size=3, dtype=F64)


def test_the_sample_that_broke_is_told_by_its_number():
    """Rows 2 and 5 of a batch that begins with sample 7 go on; the second of them breaks."""
    model = NetworkModel(lambda x, t: x / (x - 1), VPLinear(), "v").bind(VPLinear())
    watch = Watch(model, Path(VPLinear(), (0.5, 0.1)), 7, None, check=True)
    p = VPLinear().at(torch.tensor([[0.4], [0.3]], dtype=F64))
    with pytest.raises(NonFinite, match=r"NaN or infinity \(t=0.3\), first in sample 12"):
        watch.rows(torch.tensor([2, 5]), 6)(torch.tensor([[0.0], [1.0]], dtype=F64), p)


def test_steps_that_underflow_are_given_up():
    """A network whose answers are never the same twice: no step is short enough, and after some thirty none is left."""
    g = torch.Generator().manual_seed(0)
    model = NetworkModel(lambda x, t: torch.randn(x.shape, generator=g, dtype=x.dtype), VPLinear(), "v")
    with pytest.raises(DifftoolError, match=r"gave up after \d\d steps, the last of length .*e-1\d; loosen rtol"):
        sample(model, EmbeddedRK(rtol=1e-30, atol=1e-30), shape=(2, 64), dtype=F64)


@pytest.mark.parametrize("sampler", EVERY, ids=str)
def test_steps_that_lead_nowhere_are_given_up(sampler, monkeypatch):
    monkeypatch.setattr("difftool.samplers.per_sample.MOST_STEPS", 4)
    with pytest.raises(DifftoolError, match=r"gave up after 4 steps"):
        sample(GAUSSIAN, sampler, shape=(2, 64), dtype=F64)


@pytest.mark.parametrize("sampler", EVERY, ids=str)
def test_a_graph_goes_through_the_steps(sampler):
    """The gradient of the result, against differences; steps are held fixed in both as far as they are smooth."""
    model = NetworkModel(Waves(), VPLinear(), "v")
    loose = type(sampler)(**{**vars(sampler), "rtol": 1e3, "atol": 1e3})  # every step is accepted, whatever it is
    x = randn(3, 2, 3).requires_grad_()

    def run(x):
        return sample(model, loose, x=x, grid=(0.6, 0.3), grad=True, seed=1).square().sum()

    (found,) = torch.autograd.grad(run(x), x)
    h = 1e-5 * torch.eye(3, dtype=F64)[1] * torch.tensor([[1.0], [0.0]], dtype=F64)
    with torch.no_grad():
        difference = float(run(x + h) - run(x - h)) / 2e-5
    assert float(found[0, 1]) == pytest.approx(difference, rel=1e-3)  # the steps move a little with x


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EmbeddedRK("dopri6"), "embedded takes method dopri5, bosh3 or heun-euler, got 'dopri6'"),
        (lambda: EmbeddedRK(rtol=0.0), "embedded takes rtol, atol and h_init >= 1e-30, got rtol=0.0"),
        (lambda: EmbeddedRK(atol=math.nan), "got rtol=0.0001, atol=nan"),
        (lambda: EmbeddedRK(h_init=-1.0), "h_init=-1.0"),
        (lambda: DPMAdaptive(1), "dpm-adaptive takes order 2 or 3, got 1"),
        (lambda: DPMAdaptive(rtol=math.inf), "dpm-adaptive takes rtol"),
        (
            lambda: DPMAdaptive(pid=(1.0,)),
            "dpm-adaptive takes the three gains of its step-size control as pid=P+I+D, got (1.0,)",
        ),
        (lambda: DPMAdaptive(pid=(1.0, math.nan, 0.0)), "as pid=P+I+D"),
        (lambda: DPMAdaptive(safety=1.5), "dpm-adaptive takes 0.01 <= safety <= 0.99, got 1.5"),
        (lambda: GottaGoFast(atol=0.0), "gotta-go-fast takes rtol"),
        (lambda: GottaGoFast(theta=0.0), "gotta-go-fast takes 0 < theta <= 1, got 0.0"),
        (lambda: GottaGoFast(r=2.0), "gotta-go-fast takes 0 < r <= 1, got 2.0"),
        (lambda: GottaGoFast(rejected="lost"), "gotta-go-fast takes rejected kept or fresh, got 'lost'"),
        (lambda: sample(GAUSSIAN, GottaGoFast(), x=randn(0, 2, 64), grid=(0.1, 0.5)), "the grid runs upwards"),
        (lambda: sample(GAUSSIAN, DPMAdaptive(), shape=(2, 64), nfe=10), "cannot be set to nfe=10"),
        (lambda: sample(GAUSSIAN, DPMAdaptive(), shape=(2, 64), schedule=Flow(), grid=(1.0, 0.1)), "alpha = 0"),
    ],
)
def test_bad_input_is_one_line(make, words):
    with pytest.raises(DifftoolError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the control of step sizes ----------------------------------------------------------------------------------------


def test_errors_are_those_of_each_sample():
    error = error_norm(torch.tensor([[3.0, 4.0], [0.0, 0.0], [math.nan, 0.0]]), torch.tensor([[1.0, 1.0]]))
    close(error[:2], torch.tensor([math.sqrt(12.5), 0.0], dtype=F64), 1e-6, 1e-6)  # float32
    assert bool(error[2].isnan())


@pytest.mark.parametrize("control", [PI(3), PID((0.0, 1.0, 0.0), 3, 0.81), PID((0.4, 0.3, 0.1), 3, 0.81)], ids=str)
@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=5))
def test_steps_grow_where_the_error_is_small(control, errors):
    """Within bounds, shorter after every rejection, and at an error of 1 about as long as before."""
    inverse = 1 / torch.tensor(errors, dtype=F64)
    past = torch.ones(len(errors), 2, dtype=F64)
    accept, factor = control(inverse, past)
    assert bool(((factor > 0.19) & (factor <= 5)).all())
    assert bool((factor[~accept] < 1).all())
    assert bool((factor[inverse > 1e3] > 1).all())
    one = control(torch.ones(1, dtype=F64), past[:1])
    assert bool(one[0])
    assert 0.8 < float(one[1]) <= 1
