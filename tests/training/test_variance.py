"""A learned variance: the loss that teaches it, the network that gives it and the sampler that uses it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from difftool import sample
from difftool.errors import DifftoolError
from difftool.models import Guided, NetworkModel
from difftool.nn import MLP, DiT, UNet
from difftool.samplers import DDIM, DDPM, PredictorCorrector
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, VPLinear
from difftool.training import Hybrid, Objective, Output

F64 = torch.float64
FIVE = [VPLinear(), DDPMLinear(), Cosine(), VE(), Flow()]


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def constant(r):
    """A network that estimates 0.3 x and says r everywhere."""
    return lambda x, time, **cond: torch.cat([0.3 * x, torch.full_like(x, r)], dim=1)


def learned(r, predicts="v", schedule=None):
    return NetworkModel(constant(r), schedule or Cosine(), predicts, shape=(2, 3), learned_variance=True)


@pytest.mark.parametrize("schedule", FIVE, ids=str)
@given(k=st.integers(2, 50), r=st.floats(-1.5, 1.5), seed=st.integers(0, 99))
def test_the_term_is_the_divergence_of_two_steps_of_ddpm(schedule, k, r, seed):
    low, high = schedule.domain
    t, s = (low + (high - low) * i / 50 for i in (k, k - 1))
    x0, eps = normal(4, 2, 3, seed=seed), normal(4, 2, 3, seed=seed + 100)
    now, nxt = schedule.at(t), schedule.at(s)
    x = now.alpha * x0 + now.sigma * eps
    estimate = 0.3 * x

    # Bayes' rule for q(x_s | x_t, x_0), from x_s | x_0 and x_t | x_s
    step = now.alpha / nxt.alpha
    fresh = now.sigma**2 - (step * nxt.sigma) ** 2
    precision = 1 / nxt.sigma**2 + step**2 / fresh
    posterior = [(nxt.alpha * a / nxt.sigma**2 + step * x / fresh) / precision for a in (x0, estimate)]
    small, large = 1 / precision, fresh
    std = [math.sqrt(small), math.exp(((r + 1) / 2 * math.log(large) + (1 - r) / 2 * math.log(small)) / 2)]
    want = kl_divergence(*(Normal(mean, width) for mean, width in zip(posterior, std, strict=True)))

    hybrid = Hybrid(weight=0.01, length=50)
    objective = Objective(schedule, "x0", weighting=Output(), hybrid=hybrid)
    plain = Objective(schedule, "x0", weighting=Output())
    times = torch.full((4,), t, dtype=F64)
    told = {"t": times, "eps": eps}
    got = objective.loss(constant(r), x0, **told) - plain.loss(lambda x, time: 0.3 * x, x0, **told)
    torch.testing.assert_close(got, 0.01 * 50 * want.flatten(1).mean(1), rtol=1e-6, atol=1e-9)


def test_the_last_step_counts_nothing_and_the_estimate_learns_nothing_from_it():
    x0 = normal(5, 2, 3)
    net = MLP(6, (8,), outputs=12, embedding=4).double()

    def both(x, time):
        return net(x.flatten(1), time).unflatten(1, (4, 3))

    def gradient(hybrid, t):
        net.zero_grad()
        torch.manual_seed(0)
        objective = Objective(VPLinear(), "eps", hybrid=hybrid)
        objective.loss(both, x0, t=torch.full((5,), t, dtype=F64)).sum().backward()
        return net.out.weight.grad.clone()

    strong, weak = Hybrid(weight=1.0, length=10), Hybrid(weight=0.1, length=10)
    assert gradient(strong, 0.5)[:6].equal(gradient(weak, 0.5)[:6])  # the rows of the estimate
    torch.testing.assert_close(gradient(strong, 0.5)[6:], 10 * gradient(weak, 0.5)[6:])
    assert gradient(strong, 0.5)[6:].abs().min() > 0
    for t in (0.02, 0.1, 0.15):
        assert not gradient(strong, t)[6:].any()


@pytest.mark.parametrize("schedule", FIVE, ids=str)
@pytest.mark.parametrize(("r", "variance"), [(-1.0, "small"), (1.0, "large"), (0.0, "between")])
def test_a_constant_answer_is_a_variance_that_has_a_name(schedule, r, variance):
    options = {"shape": (3, 2, 3), "steps": 12, "schedule": schedule, "dtype": F64}
    model = learned(r)
    got = sample(model, DDPM(variance="learned"), **options)
    torch.testing.assert_close(got, sample(model, DDPM(variance=variance), **options), rtol=1e-9, atol=1e-9)


def test_other_samplers_and_wrappers_take_the_network_as_it_is():
    plain = NetworkModel(lambda x, time, **cond: 0.3 * x, Cosine(), "v", shape=(2, 3))
    options = {"shape": (3, 2, 3), "steps": 6}
    assert sample(learned(0.3), DDIM(), **options).equal(sample(plain, DDIM(), **options))
    wrapped = [PredictorCorrector(predictor=DDPM(variance=v)) for v in ("learned", "large")]
    one, other = (sample(learned(1.0), sampler, dtype=F64, **options) for sampler in wrapped)
    torch.testing.assert_close(one, other)
    assert sample(learned(0.3), DDPM(variance="learned"), shape=(3, 2, 3), steps=1).isfinite().all()


def test_guidance_leads_the_estimate_and_keeps_the_variance():
    def net(x, time, label=None):
        lead = 0.0 if label is None else 0.1 * label[:, None, None]
        return torch.cat([0.3 * x + lead, torch.ones_like(x) if label is not None else -torch.ones_like(x)], dim=1)

    model = NetworkModel(net, Cosine(), "v", shape=(2, 3), learned_variance=True)
    options = {"shape": (3, 2, 3), "steps": 8, "cond": {"label": torch.tensor([1, 2, 3])}, "dtype": F64}
    got, want = (sample(Guided(model, 1.5), DDPM(variance=v), **options) for v in ("learned", "large"))
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("net", [UNet(1, (8, 8), 1, outputs=2), DiT(1, 2, 8, 1, 2, outputs=2), MLP(4, (8,), outputs=8)])
def test_networks_with_twice_the_outputs(net):
    shape = (4,) if isinstance(net, MLP) else (1, 4, 4)
    model = Objective(Flow(), "flow", hybrid=Hybrid()).model(net, shape)
    assert sample(model, DDPM(variance="learned"), shape=(2, *shape), steps=3).isfinite().all()
    assert Objective(Flow(), "flow", hybrid=Hybrid()).loss(net, torch.randn(2, *shape)).isfinite().all()


def test_what_does_not_fit():
    plain = NetworkModel(lambda x, time: x, Cosine(), "v", shape=(2, 3))
    with pytest.raises(
        DifftoolError, match="returns x0 only, but the sampler asks for 2 outputs; variance=learned needs"
    ):
        sample(plain, DDPM(variance="learned"), shape=(3, 2, 3), steps=3)
    half = NetworkModel(lambda x, time: x, Cosine(), "v", shape=(2, 3), learned_variance=True)
    for sampler in (DDIM(), DDPM(variance="learned")):
        with pytest.raises(DifftoolError, match=r"must return twice the channels, \(3, 4, 3\), got \(3, 2, 3\)"):
            sample(half, sampler, shape=(3, 2, 3), steps=3)
    for options in ({"weight": 0.0}, {"length": 1}, {"length": 2.5}, {"weight": float("nan")}):
        with pytest.raises(DifftoolError, match="the hybrid loss needs weight > 0 and length >= 2"):
            Hybrid(**options)


def test_the_variance_of_a_mixture_is_learned():
    """Where data is +1 or -1 at even odds, the variance of a long step is that of x_s given x_t, which is known."""
    torch.manual_seed(0)
    schedule, length = Cosine(), 8
    net = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
    objective = Objective(schedule, "x0", weighting=Output(), hybrid=Hybrid(weight=1.0, length=length))
    both = lambda x, time: net(torch.cat([x.flatten(1), time[:, None].to(x.dtype)], 1)).unflatten(1, (2, 1))  # noqa: E731
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    t = 0.5
    for _ in range(600):
        x0 = torch.randint(0, 2, (256, 1, 1)).float() * 2 - 1
        loss = objective.loss(both, x0, t=torch.full((256,), t)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    now, nxt = schedule.at(t), schedule.at(t - 1 / length)
    keep = 1 - (nxt.sigma * now.alpha / (now.sigma * nxt.alpha)) ** 2
    small, large = nxt.sigma**2 * keep, now.sigma**2 * keep
    x = torch.zeros(1, 1, 1)  # half way: x_0 is +1 or -1 at even odds, x0 = 0
    want = small + (nxt.alpha * keep) ** 2
    v = (both(x, torch.tensor([t])).flatten()[1].item() + 1) / 2
    got = math.exp(v * math.log(large) + (1 - v) * math.log(small))
    assert got == pytest.approx(want, rel=0.1)  # a small network, 600 steps
