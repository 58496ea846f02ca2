"""Objectives: targets, weightings and times, each by a second way of saying it."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from registered import SCHEDULES
from scipy import stats

from difftool.errors import DifftoolError
from difftool.models import PARAMETRIZATIONS, NetworkModel
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, VPLinear
from difftool.training import (
    EDM,
    VLB,
    Hybrid,
    LogitNormalTimes,
    LogNormalTimes,
    MinSNR,
    Objective,
    Output,
    Simple,
    StratifiedTimes,
    TableTimes,
    UniformTimes,
)

F64 = torch.float64
PREDICTS = sorted(PARAMETRIZATIONS)
FIVE = [VPLinear(), DDPMLinear(), Cosine(), VE(), Flow()]
parts = st.floats(0.02, 0.95)


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def place(schedule, u):
    low, high = schedule.domain
    return low + (high - low) * u


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@given(u=parts, std=st.floats(0.1, 3), seed=st.integers(0, 99))
def test_what_it_is_trained_towards_gives_the_clean_data(schedule, u, std, seed):
    x0, eps = noise(5, seed=seed), noise(5, seed=seed + 100)
    p = schedule.at(place(schedule, u))
    x = p.alpha * x0 + p.sigma * eps
    for predicts, form in PARAMETRIZATIONS.items():
        if form.divides_by_alpha and p.alpha < 1e-3:
            continue
        (skip, out, _), (a, b) = form.coefficients(p, std), form.target(p, std)
        torch.testing.assert_close(skip * x + out * (a * x0 + b * eps), x0, rtol=1e-6, atol=1e-6, msg=predicts)


@pytest.mark.parametrize("predicts", PREDICTS)
@given(u=parts, seed=st.integers(0, 99))
def test_a_network_that_knows_has_no_loss(predicts, u, seed):
    """Data at a single point: the answer follows from x_t alone."""
    schedule, point = Cosine(), noise(3, seed=seed)
    objective = Objective(schedule, predicts)
    t = torch.full((4,), u, dtype=F64)
    p = schedule.at(u)

    def net(x, time):
        form = PARAMETRIZATIONS[predicts]
        (_, _, scale), (a, b) = form.coefficients(p, 0.5), form.target(p, 0.5)
        return a * point + b * (x / scale - p.alpha * point) / p.sigma

    loss = objective.loss(net, point.expand(4, 3), t=t, eps=noise(4, 3, seed=seed))
    assert float(loss.max()) < 1e-20
    assert float(objective.loss(lambda x, time: net(x, time) + 1, point.expand(4, 3), t=t).min()) > 1e-6


@pytest.mark.parametrize("schedule", FIVE, ids=str)
@pytest.mark.parametrize("predicts", PREDICTS)
@given(u=st.floats(0.05, 0.9))
def test_simple_is_the_error_of_the_noise_whatever_is_predicted(schedule, predicts, u):
    check(schedule, predicts, u, Simple(), lambda p, x0, eps, own, noise: (own[1] - eps) ** 2)


@pytest.mark.parametrize("predicts", PREDICTS)
@given(u=st.floats(0.05, 0.9), gamma=st.floats(0.1, 50))
def test_min_snr_is_the_error_of_the_data_times_what_its_name_says(predicts, u, gamma):
    def expected(p, x0, eps, own, noise):
        return min((p.alpha / p.sigma) ** 2, gamma) * (own[0] - x0) ** 2

    check(Cosine(), predicts, u, MinSNR(gamma), expected)


@pytest.mark.parametrize("predicts", PREDICTS)
@given(u=st.floats(0.05, 0.9))
def test_edm_is_table_1(predicts, u):
    def expected(p, x0, eps, own, noise):
        level, std = p.sigma / p.alpha, 0.5
        return (level**2 + std**2) / (level * std) ** 2 * (own[0] - x0) ** 2

    check(VE(), predicts, u, EDM(), expected)
    if predicts == "edm":
        check(VE(), predicts, u, Output(), expected)  # that is what its network is scaled for


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("schedule", [*FIVE, DDPMLinear(length=50, beta_min=1e-3, beta_max=0.3)], ids=str)
@given(k=st.integers(2, 50))
def test_vlb_is_the_distance_of_two_steps(schedule, variance, k):
    """The Kullback-Leibler distance of the steps of the chain with the true and with the network's x0, per element."""
    length = 50
    s, t = (schedule.at(place(schedule, i / length)) for i in (k - 1, k))

    def expected(p, x0, eps, own, noise):
        step = t.alpha / s.alpha  # x_t = step x_s + sqrt(fresh) z, and Bayes' rule for x_s
        fresh = t.sigma**2 - (step * s.sigma) ** 2
        precision = 1 / s.sigma**2 + step**2 / fresh
        gap = s.alpha * (own[0] - x0) / s.sigma**2 / precision  # of the means
        return gap**2 / (2 * (fresh if variance == "large" else 1 / precision))

    check(schedule, "v", k / length, VLB(length, variance), expected)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_loss_is_finite_at_every_entry_of_the_table(schedule):
    """At alpha = 0 too, where eps and score say nothing of x0 and some times are infinite."""
    x0, t = noise(4, 3), place(schedule, torch.tensor([1, 2, 999, 1000], dtype=F64) / 1000)
    weightings = Simple(), Output(), EDM(), MinSNR(), VLB(), VLB(variance="large")
    times = "t", "index", "rounded-index", "level", "log-level"
    for i, (predicts, weighting) in enumerate(product(PREDICTS, weightings), SCHEDULES.index(schedule)):
        time = times[i % len(times)]  # over all schedules every one meets every weighting and prediction
        hybrid = Hybrid() if time == "t" else None
        objective = Objective(schedule, predicts, time, weighting, hybrid=hybrid)

        def net(x, time, twice=hybrid is not None):
            assert torch.isfinite(time).all()
            return torch.sin(torch.cat([x, x], 1) if twice else x)

        assert torch.isfinite(objective.loss(net, x0, t=t)).all(), (predicts, weighting, time)


@given(st.floats(0.05, 0.95))
def test_vlb_of_many_steps_is_that_of_continuous_time(u):
    """length * weight -> g^2 / (2 sigma^2) on the error of the noise."""
    schedule, length = VPLinear(), 1_000_000
    p = schedule.at(torch.full((1, 1), round(u * length) / length, dtype=F64))
    out = -p.sigma / p.alpha
    weight = float(VLB(length)(p, out, 0.5, schedule))
    q = schedule.at(float(p.t))
    assert weight * length == pytest.approx(schedule.diffusion2(q.t) / (2 * q.sigma**2), rel=1e-3)


def test_vlb_is_finite_at_the_first_step():
    for schedule in (DDPMLinear(), VPLinear(), Cosine()):
        p = schedule.at(torch.tensor([[1 / 1000]], dtype=F64))
        assert math.isfinite(float(VLB()(p, -p.sigma / p.alpha, 0.5, schedule)))


def test_score_loss_is_that_of_the_marginals():
    """mean((pred * std + z)^2), as score-based models are trained."""
    schedule, x0, eps, t = VPLinear(), noise(6, 2), noise(6, 2, seed=1), torch.linspace(0.1, 0.9, 6, dtype=F64)
    std = schedule.sigma(t)[:, None]
    loss = Objective(schedule, "score").loss(lambda x, time: torch.sin(x), x0, t=t, eps=eps)
    x = schedule.alpha(t)[:, None] * x0 + std * eps
    torch.testing.assert_close(loss, ((torch.sin(x) * std + eps) ** 2).mean(1))


# --- times -----------------------------------------------------------------------------------------------------------

LAWS = [
    (UniformTimes(), lambda s, t: (t - s.domain[0]) / (s.domain[1] - s.domain[0]), stats.uniform.cdf),
    (LogitNormalTimes(0.3, 0.8), lambda s, t: logit(s.at(t).flow), stats.norm(0.3, 0.8).cdf),
    (LogNormalTimes(-1.0, 0.7), lambda s, t: torch.log(s.at(t).level), stats.norm(-1.0, 0.7).cdf),
]


def logit(v):
    return torch.log(v) - torch.log1p(-v)


@pytest.mark.parametrize("schedule", FIVE, ids=str)
@pytest.mark.parametrize(("times", "value", "law"), LAWS, ids=lambda v: type(v).__name__)
def test_times_have_the_law_of_their_name(schedule, times, value, law):
    torch.manual_seed(3)
    t = times.draw(4000, schedule)
    assert t.dtype == F64
    assert stats.kstest(value(schedule, t).numpy(), law).pvalue > 1e-4
    assert stats.kstest(value(schedule, t).numpy() * 1.2 + 0.1, law).pvalue < 1e-4


@given(st.integers(1, 200), st.integers(0, 99))
def test_stratified_times_have_one_in_every_stratum(n, seed):
    torch.manual_seed(seed)
    t = StratifiedTimes().draw(n, VPLinear())
    counts = torch.histc(t, n, 0, 1)
    assert int(counts.max()) <= 2  # one on a border may fall on either side
    assert float((t.sort().values - torch.arange(n) / n).abs().max()) <= 1 / n + 1e-5


@given(st.integers(1, 50), st.sampled_from(FIVE))
def test_table_times_are_entries(length, schedule):
    low, high = schedule.domain
    t = TableTimes(length).draw(400, schedule)
    k = (t - low) / (high - low) * length
    torch.testing.assert_close(k, k.round(), rtol=0, atol=1e-9)
    assert {*k.round().int().tolist()} <= {*range(1, length + 1)}
    if length < 10:
        assert len({*k.round().int().tolist()}) == length


@pytest.mark.parametrize(
    "times", [UniformTimes(), StratifiedTimes(), TableTimes(), LogitNormalTimes(), LogNormalTimes()]
)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_no_time_is_clean_data(times, schedule):
    t = times.draw(2000, schedule)
    assert float(schedule.sigma(t).min()) > 0
    assert schedule.domain[0] <= float(t.min())
    assert float(t.max()) <= schedule.domain[1]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Objective(VPLinear(), "noise"), "no parametrization 'noise'"),
        (lambda: Objective(VPLinear(), time="steps"), "no time 'steps'"),
        (lambda: Objective(VPLinear(), weighting="simple"), "weighting must be an instance of Weighting"),
        (lambda: Objective("cosine"), "a schedule"),
        (lambda: TableTimes(0), "length of at least 1, got 0"),
        (lambda: LogitNormalTimes(std=0.0), "std > 0"),
        (lambda: LogNormalTimes(mean=math.nan), "finite mean"),
        (lambda: MinSNR(0.0), "gamma > 0, got 0.0"),
        (lambda: VLB(1), "length >= 2"),
        (
            lambda: Objective(VPLinear()).loss(lambda x, time: x[:, :1], torch.zeros(2, 3)),
            r"returned shape \(2, 1\), expected \(2, 3\)",
        ),
    ],
)
def test_refusals(made, words):
    with pytest.raises(DifftoolError, match=words):
        made()


def check(schedule, predicts, u, weighting, expected):
    """The loss of some network against a figure of its estimates of x0 and eps."""
    t = place(schedule, u)
    x0, eps, p = noise(3, 4), noise(3, 4, seed=1), schedule.at(t)
    net = lambda x, time: torch.sin(3 * x) + time[:, None]  # noqa: E731
    objective = Objective(schedule, predicts, weighting=weighting)
    loss = objective.loss(net, x0, t=torch.full((3,), t, dtype=F64), eps=eps)
    x = p.alpha * x0 + p.sigma * eps
    clean = NetworkModel(net, schedule, predicts).to(dtype=F64).x0(x, p)
    own = clean, (x - p.alpha * clean) / p.sigma
    torch.testing.assert_close(loss, expected(p, x0, eps, own, eps).mean(1), rtol=1e-6, atol=1e-9)
