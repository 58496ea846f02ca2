"""Models: exact mixtures by brute force, networks by the definitions of what they predict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from exact import KINDS, ExactNetwork, at, gen, mixture, places, randn, schedules, seeds, states
from hypothesis import assume, given
from hypothesis import strategies as st
from registered import ONE_EACH, slow
from torch.utils._python_dispatch import TorchDispatchMode

from difftool import sample
from difftool.errors import DifftoolError
from difftool.grids import FlowGrid
from difftool.models import PARAMETRIZATIONS, GaussianMixture, Model, NetworkModel
from difftool.names.specs import make
from difftool.plan import trace
from difftool.samplers import DDIM, Heun, PredictorCorrector
from difftool.sampling import make_path
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, Point, VPLinear, ZeroTerminal

F64 = torch.float64
kinds = st.sampled_from(KINDS)
labelled = st.lists(st.integers(-1, 2), min_size=7, max_size=7)
predictions = st.sampled_from(sorted(PARAMETRIZATIONS))


def close(a, b, rtol=1e-8, atol=1e-8):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


# --- the exact mixture ------------------------------------------------------------------------------------------------


def brute_log_density(model, x, p, label=None):
    """log sum_k w_k N(x; alpha c_k, alpha^2 S_k + sigma^2), by the (B, K, D) tensor."""
    x = x.reshape(len(x), 1, -1)
    means = model.means.reshape(len(model.means), -1)
    var = p.alpha**2 * model.variance.expand_as(model.means).reshape(means.shape) + p.sigma**2
    normal = torch.distributions.Normal(p.alpha * means, var.sqrt())
    prior = model.weights.expand(len(x), -1)
    if label is not None:
        allowed = (torch.as_tensor(label)[:, None] == model.labels) | (torch.as_tensor(label)[:, None] == -1)
        prior = prior * allowed
        prior = prior / prior.sum(1, keepdim=True)
    logits = normal.log_prob(x).sum(2) + prior.log()
    return logits.logsumexp(1), logits.softmax(1)


def brute_x0(model, x, p, label=None):
    """E[x_0 | x_t] as the responsibility-weighted mean of the conditional means of every component."""
    _, r = brute_log_density(model, x, p, label)
    means = model.means.reshape(len(model.means), -1)
    inner = model.variance.expand_as(model.means).reshape(means.shape)
    gain = p.alpha * inner / (p.alpha**2 * inner + p.sigma**2)
    each = means + gain * (x.reshape(len(x), 1, -1) - p.alpha * means)
    return (r[..., None] * each).sum(1).reshape(x.shape)


def weighted(seed, kind, **options):
    """A mixture that remembers its normalised weights, for brute force."""
    model = mixture(seed, kind=kind, **options)
    raw = 0.1 + torch.rand(len(model.means), generator=gen(seed + 2), dtype=F64)
    model.weights = raw / raw.sum()
    return model


@given(seeds, kinds, schedules, places, st.none() | labelled, st.sampled_from([(3,), (1, 2, 2)]))
def test_a_mixture_is_what_brute_force_says(seed, kind, schedule, u, label, shape):
    model, p = weighted(seed, kind, shape=shape), at(schedule, u)
    x = states(model, p, seed).requires_grad_()
    label = None if label is None else torch.tensor(label)
    log_density, _ = brute_log_density(model, x, p, label)
    (score,) = torch.autograd.grad(log_density.sum(), x)
    x = x.detach()
    bound = model.bind(schedule, {} if label is None else {"label": label})
    expected = brute_x0(model, x, p, label)
    # the matrix products cancel digits of |x| |c| / V in the exponent, which weigh by the spread of the means
    close(model.x0(x, p, label), expected, rtol=1e-7, atol=1e-7 * (1 + float(expected.abs().max())))
    close(bound(x, p), model.x0(x, p, label), 0, 0)
    close(model.log_density(x, p, label), log_density, rtol=1e-9, atol=1e-7)
    close(model.score(x, p, label), score, rtol=1e-6, atol=1e-7 * float(score.abs().max()))


@given(seeds, kinds, schedules, places)
def test_tweedie(seed, kind, schedule, u):
    """score = (alpha x0 - x) / sigma^2, which the code does not use."""
    model, p = mixture(seed, kind=kind), at(schedule, max(u, 1e-3))
    x = states(model, p, seed)
    close(p.sigma * model.score(x, p), (p.alpha * model.x0(x, p) - x) / p.sigma, rtol=1e-7, atol=1e-7)


@given(seeds, kinds, st.floats(0.1, 1.0))
def test_the_score_of_clean_data(seed, kind, std):
    """At sigma = 0 the score is that of the data's own density."""
    model, p = weighted(seed, kind, std=std), VPLinear().at(0.0)
    x = states(model, p, seed).requires_grad_()
    (score,) = torch.autograd.grad(brute_log_density(model, x, p)[0].sum(), x)
    close(model.score(x.detach(), p), score, rtol=1e-7, atol=1e-7 * float(score.abs().max()))


@given(seeds, kinds, schedules, places, st.sampled_from([1e-3, 0.05, 0.3]))
def test_float32_is_close_to_float64(seed, kind, schedule, u, std):
    model, p = mixture(seed, kind=kind, std=std), at(schedule, u)
    x = states(model, p, seed).float()
    out, wide = model.x0(x, p), model.x0(x.double(), p)
    assert out.dtype == torch.float32
    assert wide.dtype == F64
    # documented: the exponent of a component keeps three digits after the point, x0 as many of the means' spread
    close(out.double(), wide, rtol=1e-5, atol=3e-3)
    if std == 1e-3 and p.sigma < 1e-2 * p.alpha:  # float64 inside: only the answer is rounded
        close(out.double(), wide, rtol=1e-6, atol=1e-6)


@given(seeds, kinds, schedules, st.sampled_from([1e-3, 3e-3, 0.01, 0.03]))
def test_float32_tells_close_components_apart(seed, kind, schedule, std):
    """Components a few std apart and far from the origin: exponents are small differences of large numbers."""
    base = mixture(seed, kind=kind, std=std)
    model = GaussianMixture(torch.ones(3) + std * base.means, base.variance)
    p = schedule.at(schedule.t_at_level(std))
    x = states(model, p, seed).float()
    wide = model.x0(x.double(), p)
    # three digits of the exponent are three of what tells the components apart, std; and the answer is rounded
    assert (model.x0(x, p).double() - wide).abs().max() < 0.02 * std + 1e-6


@given(seeds, kinds, schedules, places)
def test_at_is_the_law_of_the_noised_state(seed, kind, schedule, u):
    model, p = mixture(seed, kind=kind), at(schedule, u)
    law, clean = model.at(p), Point(0.0, 1.0, 0.0)
    (mean, cov), (mean_t, cov_t) = model.moments(), law.moments()
    close(mean_t, p.alpha * mean)
    close(cov_t, p.alpha**2 * cov + p.sigma**2 * torch.eye(len(cov), dtype=F64))
    x, label = states(model, p, seed), torch.tensor([0, 1, 2, -1, 0, 1, 2])
    close(law.log_density(x, clean), model.log_density(x, p), rtol=1e-7, atol=1e-7)
    close(law.log_density(x, clean, label), model.log_density(x, p, label), rtol=1e-7, atol=1e-7)
    q = Point(0.5, 0.6, 0.8)  # noising twice: x_q = 0.6 x_t + 0.8 eps
    whole = Point(0.5, 0.6 * p.alpha, math.hypot(0.6 * p.sigma, 0.8))
    x = states(model, whole, seed)
    close(law.log_density(x, q), model.log_density(x, whole), rtol=1e-7, atol=1e-7)


@given(seeds, kinds)
def test_moments_are_the_definition(seed, kind):
    model = weighted(seed, kind, shape=(1, 2, 2))
    w, c = model.weights, model.means.reshape(5, 4)
    mean = torch.einsum("k,kd->d", w, c)
    second = torch.einsum("k,kd,ke->de", w, c, c)
    inner = torch.einsum("k,kd->d", w, model.variance.expand_as(model.means).reshape(5, 4)).diag()
    close(model.moments()[0], mean)
    close(model.moments()[1], second + inner - torch.outer(mean, mean))


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_right_moments(kind):
    """Means and covariances of 40000 draws, each within five of its standard errors."""
    count = 40_000
    for label in (None, 1):
        model = mixture(4, kind=kind)
        keep = model.labels == 1 if label == 1 else model.labels >= 0
        part = GaussianMixture(model.means[keep], model.variance.expand_as(model.means)[keep], weights_of(4)[keep])
        mean, cov = part.moments()
        x = model.draw(count, seed=9, label=label).double()
        error = (x.mean(0) - mean) / (cov.diag() / count).sqrt()
        assert error.abs().max() < 5
        centred = x - mean
        products = centred[:, :, None] * centred[:, None]
        assert ((products.mean(0) - cov) / (products.std(0) / math.sqrt(count))).abs().max() < 5


def weights_of(seed, components=5):
    return 0.1 + torch.rand(components, generator=gen(seed + 2), dtype=F64)


@given(seeds)
def test_draws_come_from_the_components_of_their_class_by_weight(seed):
    means = 100 * torch.arange(6, dtype=F64)[:, None]
    model = GaussianMixture(means, 1.0, torch.arange(6), torch.tensor([0, 0, 0, 1, 1, 2]))
    near = (model.draw(2000, seed=seed) / 100).round().flatten().long()
    share = torch.bincount(near, minlength=6) / 2000
    expected = torch.arange(6) / 15
    assert share[0] == 0
    assert ((share - expected).abs() <= 5 * (expected * (1 - expected) / 2000).sqrt()).all()
    assert set((model.draw(200, seed=seed, label=1) / 100).round().flatten().tolist()) == {3.0, 4.0}
    assert torch.equal(model.draw(50, seed=seed), model.draw(50, seed=seed, label=-1))
    assert not torch.equal(model.draw(50, seed=seed), model.draw(50, seed=seed + 1))


@given(seeds, st.sampled_from(["shared", "per component"]), schedules, places, st.sampled_from([None, 0, 1, 2, -1]))
def test_the_density_is_normalised(seed, kind, schedule, u, label):
    """In one dimension: the integrals of p and of x p, by the trapezoid rule around every component."""
    model, p = mixture(seed, kind=kind, shape=(1,)), at(schedule, u)
    wide = (p.alpha**2 * model.variance.flatten() + p.sigma**2).sqrt().expand(5)
    around = torch.linspace(-12, 12, 600, dtype=F64)
    x = (p.alpha * model.means.flatten()[:, None] + wide[:, None] * around).flatten().sort().values
    labels = None if label is None else torch.full((len(x),), label)
    density = model.log_density(x[:, None], p, labels).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, rel=1e-3)  # the rule's own error, 1e-4
    weights = weights_of(seed)
    if label is not None and label >= 0:
        weights = weights * (model.labels == label)
    mean = p.alpha * float(weights @ model.means.flatten() / weights.sum())
    scale = float((x.square() * density).mul(1.0).max().sqrt()) + 1
    assert torch.trapezoid(x * density, x).item() == pytest.approx(mean, abs=2e-3 * scale)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [None, torch.arange(19) % 3])
def test_no_tensor_of_batch_by_components_by_elements(kind, label):
    batch, components, elements = 19, 23, 29
    model, p = mixture(1, kind=kind, components=components, shape=(elements,)), VPLinear().at(0.4)
    x = randn(2, batch, elements)
    for call in (model.x0, model.score, model.log_density):
        with Largest() as largest:
            call(x, p, label)
        assert 0 < largest.size <= components * elements


@given(seeds, kinds, schedules, places)
def test_a_sample_does_not_depend_on_its_batch(seed, kind, schedule, u):
    model, p = mixture(seed, kind=kind), at(schedule, u)
    x, label = states(model, p, seed), torch.tensor([0, 1, 2, -1, 0, 1, 2])
    whole = model.x0(x, p, label)
    parts = [model.x0(x[i : i + 1], p, label[i : i + 1]) for i in range(len(x))]
    close(whole, torch.cat(parts), rtol=1e-9, atol=1e-7 + 1e-12 / p.sigma * (p.sigma < 1e-4))
    close(model.x0(x[:3], p, 1), model.x0(x[:3], p, torch.tensor([1, 1, 1])))  # one label for all


MEANS = torch.eye(3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianMixture(torch.zeros(3), 1.0), "(components, ...)"),
        (lambda: GaussianMixture(torch.zeros(0, 2), 1.0), "at least 1"),
        (lambda: GaussianMixture("abc", 1.0), "means must be numbers"),
        (lambda: GaussianMixture([[0.0], [math.nan]], 1.0), "means must be finite"),
        (lambda: GaussianMixture([[0.0], [1.0, 2.0]], 1.0), "means must be numbers"),
        (lambda: GaussianMixture(MEANS, "wide"), "variance must be numbers"),
        (lambda: GaussianMixture(MEANS, None), "variance must be numbers"),
        (lambda: GaussianMixture(MEANS, -1.0), "must be >= 0, got -1"),
        (lambda: GaussianMixture(MEANS, math.nan), "variance must be finite"),
        (lambda: GaussianMixture(MEANS, math.inf), "variance must be finite"),
        (lambda: GaussianMixture(MEANS, torch.ones(4)), "does not broadcast to the shape of the means, (3, 3)"),
        (lambda: GaussianMixture(MEANS, torch.ones(2, 3, 3)), "does not broadcast"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.ones(2)), "weights must be 3 numbers"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.tensor([1.0, -1.0, 1.0])), "weights must be 3 numbers >= 0"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.zeros(3)), "positive sum"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.tensor([1.0, math.inf, 1.0])), "weights must be finite"),
        (lambda: GaussianMixture(MEANS, 1.0, "abc"), "weights must be numbers"),
        (lambda: GaussianMixture(MEANS, 1.0, labels=torch.zeros(2)), "labels must be 3 whole numbers"),
        (lambda: GaussianMixture(MEANS, 1.0, labels=[0.5, 1.0, 2.0]), "labels must be 3 whole numbers"),
        (lambda: GaussianMixture(MEANS, 1.0, labels=["a", "b", "c"]), "labels must be numbers"),
        (lambda: GaussianMixture(MEANS, 1.0).bind(None, {"label": 1}), "no labels"),
        (lambda: GaussianMixture(MEANS, 1.0).draw(3, label=1), "no labels"),
        (lambda: mixture().bind(None, {"klass": 1}), "got klass"),
        (lambda: mixture().bind(None, {"label": torch.tensor([-1, 0, 7, 9])}), "class 7; the model knows: 0, 1, 2"),
        (lambda: mixture().bind(None, {"label": "two"}), "whole numbers"),
        (lambda: mixture().draw(3, label=7), "unknown class 7"),
        (lambda: mixture().draw(0), "at least 1, got 0"),
        (lambda: mixture().draw(2.5), "got 2.5"),
        (lambda: mixture().x0(torch.zeros(4, 3), Flow().at(0.5), [0, 1, 2]), "3 labels for 4 samples"),
        (lambda: mixture().log_density(torch.zeros(4, 3), Flow().at(0.5), [0, 1, 2]), "3 labels for 4 samples"),
        (lambda: mixture().score(torch.zeros(4, 3), Flow().at(torch.rand(4), like=torch.zeros(4, 3))), "one point"),
        # a class whose components have no weight is no class
        (lambda: GaussianMixture(MEANS, 1.0, torch.tensor([0.0, 1, 1]), MEANS[0]).draw(1, label=1), "unknown class 1"),
    ],
)  # fmt: skip
def test_a_mixture_refuses(make, words):
    with pytest.raises(DifftoolError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_dimensional_variances_are_per_component():
    model = GaussianMixture(torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 4.0]))
    assert model.variance.expand_as(model.means)[1].unique().tolist() == [4.0]


# --- networks ---------------------------------------------------------------------------------------------------------


def network(predicts, schedule, exact=None, dtype=F64, std=0.5):
    """(model, exact): a perfectly trained network on that schedule."""
    exact = exact or mixture(3, kind="per component and element")
    net = ExactNetwork(exact, predicts, std, dtype)
    return NetworkModel(net, schedule, predicts, time=net.number, data_std=std, shape=exact.shape), exact


@given(predictions, schedules, places, seeds, st.floats(0.1, 2.0))
def test_a_perfect_network_gives_the_exact_x0(predicts, schedule, u, seed, std):
    p = at(schedule, u)
    assume(p.alpha > 1e-6 or not PARAMETRIZATIONS[predicts].divides_by_alpha)
    model, exact = network(predicts, schedule, std=std)
    x = states(exact, p, seed)
    expected = exact.x0(x, p)
    tolerance = {"rtol": 1e-7, "atol": 1e-9 / (p.alpha if PARAMETRIZATIONS[predicts].divides_by_alpha else 1)}
    close(model.x0(x, p), expected, **tolerance)
    close(model.bind(schedule)(x, p), expected, **tolerance)
    # the plan's way: raw outputs, and the affine form
    bound = model.bind(schedule)
    other = at(schedule, 0.3)
    (call, told), form = bound.prepare([other, p], x), bound.affine(p)
    close(form.skip * x + form.out * call(x, told[1]), expected, **tolerance)
    # a point for each sample, as in training
    t = torch.full((len(x),), p.t, dtype=F64)
    t[::2] = other.t
    mixed = schedule.at(t, like=x)
    expected = torch.cat([exact.x0(x[i : i + 1], p if i % 2 else other) for i in range(len(x))])
    close(model.x0(x, mixed), expected, **tolerance)


@given(predictions, schedules, schedules, st.floats(0.001, 0.999), seeds)
def test_a_network_answers_along_other_schedules(predicts, trained, schedule, u, seed):
    """Rescaling: the estimate depends on x / alpha and sigma / alpha only."""
    p = at(schedule, u)
    assume(trained.t_start(True) >= trained.t_at_level(p.level) and p.level < trained.level(trained.t_start(True)))
    assume(p.alpha > 1e-3)
    model, exact = network(predicts, trained)
    x = states(exact, p, seed)
    bound = model.bind(schedule)
    close(bound(x, p), exact.x0(x, p), rtol=1e-6, atol=1e-6)
    form = bound.affine(p)
    call, told = bound.prepare([p], x)
    close(form.skip * x + form.out * call(x, told[0]), exact.x0(x, p), rtol=1e-6, atol=1e-6)


@dataclass(frozen=True)
class Listener:
    """A network that writes down what it is told."""

    told: list

    def __call__(self, x, t):
        self.told.append(t)
        return torch.zeros_like(x)


TOLD = {
    "t": lambda p, m: p.t,
    "index": lambda p, m: m * p.t - 1,
    "rounded-index": lambda p, m: min(max(round(m * p.t - 1), 0), m - 1),
    "level": lambda p, m: p.sigma / p.alpha,
    "log-level": lambda p, m: math.log(p.sigma / p.alpha) / 4,
    "own": lambda p, m: 7.0 * p.sigma,
}


@given(st.sampled_from(sorted(TOLD)), schedules, st.floats(1e-4, 0.99) | st.sampled_from([1e-9, 1.0]))
def test_what_a_network_is_told_as_time(time, schedule, u):
    p, m = at(schedule, u), schedule.entries
    assume(p.alpha > 0)
    listener = Listener([])
    model = NetworkModel(listener, schedule, "x0", time=(lambda p: 7.0 * p.sigma) if time == "own" else time)
    x = randn(0, 3, 2, 2)
    listener.told.clear()
    model.x0(x, p)
    model.bind(schedule)(x, p)
    call, told = model.bind(schedule).prepare([at(schedule, 0.5), p], x)
    call(x, told[1])
    model.x0(x, schedule.at(torch.full((3,), p.t, dtype=F64), like=x))
    assert len(listener.told) == 4
    for told in listener.told:
        assert told.shape == (3,)
        assert told.dtype == (torch.int64 if time == "rounded-index" else torch.float32)
        expected = torch.full((3,), TOLD[time](p, m), dtype=F64)
        # float32; the rounded index may go either way where M t - 1 lies between two entries
        close(told.double(), expected, rtol=1e-6, atol=1.0 if time == "rounded-index" else 1e-6)
    if time == "rounded-index" and abs((m * p.t) % 1 - 0.5) > 1e-6:
        assert {int(told[0]) for told in listener.told} == {TOLD[time](p, m)}


@given(st.data(), st.sampled_from([2, 7, 50, 100, 1000, 4000]), st.booleans())
def test_entries_of_the_table_are_told_by_their_number(data, length, terminal):
    listener, entry = Listener([]), data.draw(st.integers(1, length - terminal))
    table = DDPMLinear(length=length, beta_min=1e-3 / length**0.5, beta_max=0.01)
    table = ZeroTerminal(table) if terminal else table
    for time in ("rounded-index", "index"):
        model = NetworkModel(listener, table, "eps", time=time)
        model.bind(VE(1e6))(torch.zeros(2, 3), VE(1e6).at(table.level(entry / length)))
        assert listener.told[-1].double().tolist() == pytest.approx([entry - 1] * 2, abs=1e-4)  # float32 of 999


def test_a_time_is_never_an_integer_by_accident():
    """The time 1 (an int) is 1.0 to the network."""
    listener = Listener([])
    for time in ("t", "index"):
        NetworkModel(listener, VPLinear(), "x0", time=time).x0(torch.zeros(2, 3), VPLinear().at(1))
    assert [told.dtype for told in listener.told] == [torch.float32] * 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NetworkModel(torch.nn.Identity(), Flow(), "epss"), "did you mean eps?"),
        (lambda: NetworkModel(torch.nn.Identity(), Flow(), "eps", time="rounded"), "rounded-index"),
        (lambda: NetworkModel(torch.nn.Identity(), Flow(), "edm", data_std=0.0), "data_std must be positive"),
        (lambda: NetworkModel(torch.nn.Identity(), Flow(), "edm", data_std=math.inf), "data_std must be positive"),
        (lambda: NetworkModel("net", Flow()), "needs net(x, time) and a schedule"),
        (lambda: NetworkModel(torch.nn.Identity(), "flow"), "needs net(x, time) and a schedule"),
        (lambda: NetworkModel(lambda x, t: x, Flow(), "eps").x0(torch.zeros(2, 3), Flow().at(1.0)), "alpha = 0"),
        (
            lambda: network("x0", Flow())[0].bind(None)(torch.zeros(2, 3), Flow().at(0.5), answers=("x0", "variance")),
            "returns x0 only",
        ),
    ],
)
def test_a_network_model_refuses(make, words):
    with pytest.raises(DifftoolError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_point_without_noise_costs_no_evaluation():
    model, _ = network("eps", VPLinear())
    x = randn(0, 2, 3)
    assert torch.equal(model.bind(VPLinear())(x, Point(0.0, 0.5, 0.0)), x / 0.5)
    assert model.net.calls == 0


# --- a network on one schedule, sampled along another -----------------------------------------------------------------


@pytest.mark.parametrize("predicts", sorted(PARAMETRIZATIONS))
@pytest.mark.parametrize("trained", [VPLinear(), DDPMLinear(), Cosine(), VE(), Flow()], ids=lambda s: type(s).__name__)
def test_all_sampling_schedules_end_in_one_place(predicts, trained):
    """DDIM through the same noise levels, from the same x / (alpha + sigma), with one network."""
    model, exact = network(predicts, trained)
    levels = [50.0 * (1e-3 / 50.0) ** (i / 12) for i in range(13)] + [0.0]
    y = randn(1, 4, 3)
    ends = []
    for schedule in (VPLinear(), Cosine(), VE(), Flow()):
        times = [schedule.t_at_level(level) for level in levels]
        p = schedule.at(times[0])
        ends.append(sample(model, DDIM(), grid=times, schedule=schedule, x=(p.alpha + p.sigma) * y))
        loop = sample(model, DDIM(), grid=times, schedule=schedule, x=(p.alpha + p.sigma) * y, grad=True)
        close(loop.detach(), ends[-1], 1e-8, 1e-8)
    for end in ends[1:]:
        close(end, ends[0], rtol=1e-6, atol=1e-6)
    ve = VE()
    close(sample(exact, DDIM(), grid=[ve.t_at_level(a) for a in levels], schedule=ve, x=51 * y), ends[0], 1e-6, 1e-6)


@pytest.mark.parametrize("grad", [False, True], ids=["plan", "loop"])
@given(st.sampled_from([Flow(), Cosine(), VPLinear(), VE()]), st.floats(0.5, 25.0), st.floats(1.01, 3.0))
def test_levels_above_the_trained_ones_are_refused(grad, schedule, top, factor):
    model, _ = network("eps", VE(sigma_max=top))
    t = schedule.t_at_level(top * factor)
    with pytest.raises(DifftoolError, match=rf"trained up to {top:.6g}"):
        sample(model, DDIM(), shape=(2, 3), grid=[t, schedule.domain[0]], schedule=schedule, grad=grad)
    start = []  # unless asked, nobody gets there: the run starts at the trained maximum
    sample(
        model,
        DDIM(),
        shape=(2, 3),
        steps=2,
        schedule=schedule,
        grad=grad,
        callback=lambda s: start.append(s.point.level),
    )
    assert start[0] == pytest.approx(top, rel=1e-6)


@pytest.mark.parametrize("time", ["level", "log-level", lambda p: math.log(p.sigma / p.alpha) / 4, lambda p: p.level])
@pytest.mark.parametrize("schedule", [Flow(), Cosine()])
def test_an_infinite_time_is_not_told(time, schedule):
    """v and flow networks are defined at alpha = 0, unless they are told the noise level."""
    listener = Listener([])
    model = NetworkModel(listener, schedule, "v", time=time)
    assert sample(model, DDIM(), shape=(2, 3), steps=3).isfinite().all()
    assert all(told.isfinite().all() for told in listener.told)
    assert not NetworkModel(listener, schedule, "v").divides_by_alpha
    with pytest.raises(DifftoolError, match="alpha = 0"):
        sample(model, DDIM(), shape=(2, 3), grid=[1.0, 0.5, 0.0])


# --- networks that do not answer in kind ------------------------------------------------------------------------------

WRONG = {
    "shape": (lambda x: x[:, :1], r"shape \(2, 1\), expected \(2, 3\)"),
    "one more axis": (lambda x: x[None], r"shape \(1, 2, 3\), expected \(2, 3\)"),
    "broadcastable": (lambda x: x.sum(), r"shape \(\), expected \(2, 3\)"),
    "dtype": (lambda x: x.double(), r"dtype torch.float64, expected torch.float32"),
    "half": (lambda x: x.half(), r"dtype torch.float16, expected torch.float32"),
    "device": (lambda x: x.to("meta"), r"device meta, expected cpu"),
    "nothing": (lambda x: None, r"returned a NoneType, expected a tensor of shape \(2, 3\)"),
    "tuple": (lambda x: (x, x), r"returned a tuple, expected a tensor"),
    "numpy": (lambda x: x.numpy(), r"returned a ndarray, expected a tensor"),
}


class Answer(Model):
    """A model of one's own, whose x0 is a function of x."""

    def __init__(self, function):
        self.function = function

    def x0(self, x, p, **cond):
        return self.function(x)


@pytest.mark.parametrize("wrong", sorted(WRONG))
@pytest.mark.parametrize("predicts", ["eps", "x0", "edm", None], ids=str)
@pytest.mark.parametrize("sampler", [DDIM(), Heun(), PredictorCorrector(corrections=1)], ids=lambda s: type(s).__name__)
def test_answers_of_another_kind_are_one_line(wrong, predicts, sampler):
    function, words = WRONG[wrong]
    net = (lambda x, t: function(x)) if predicts else None
    model = NetworkModel(net, VPLinear(), predicts) if predicts else Answer(function)
    for grad in (False, True):
        with pytest.raises(DifftoolError, match=words) as caught, torch.no_grad():
            sample(model, sampler, shape=(2, 3), steps=3, grad=grad)
        assert "\n" not in str(caught.value)


class Aliasing(torch.nn.Module):
    """Networks that are linear in x, and return memory that is not theirs to give."""

    def __init__(self, how):
        super().__init__()
        self.how, self.buffer = how, None

    def forward(self, x, t):
        if self.how == "input":
            return x
        if self.how == "view":
            return x.view(-1).view(x.shape)
        if self.how == "part":
            return x.flip(0) if t[0] > 0.5 else x[:]  # its own memory at first, the input's later
        if self.buffer is None:
            self.buffer = torch.empty_like(x)
        return torch.sin(x, out=self.buffer)


PLANS = [name for name in ONE_EACH if not make("samplers", name).adaptive]


@pytest.mark.parametrize("shift", [0, *slow(1, 2)])
@pytest.mark.parametrize("name", PLANS)
def test_a_network_may_return_its_input(name, shift):
    """The run is the same as with a twin that returns a copy; every way meets every prediction in one of the shifts."""
    sampler, options = make("samplers", name), {"shape": (4, 3), "grid": FlowGrid(end=0.3), "steps": 5}
    for i, predicts in enumerate(PARAMETRIZATIONS, PLANS.index(name) + shift):
        net = Aliasing(("input", "view", "part")[i % 3])
        model = NetworkModel(net, VPLinear(), predicts)
        twin = NetworkModel(lambda x, t, net=net: net(x, t).clone(), VPLinear(), predicts)
        assert torch.equal(sample(model, sampler, **options), sample(twin, sampler, **options)), predicts


@pytest.mark.parametrize("name", PLANS)
def test_a_network_may_use_its_output_again(name):
    """A network that writes every answer into the same buffer, as CUDA graphs do: right, or refused."""
    for predicts in PARAMETRIZATIONS:
        net = Aliasing("buffer")
        model = NetworkModel(net, VPLinear(), predicts)
        twin = NetworkModel(lambda x, t, net=net: net(x, t).clone(), VPLinear(), predicts)
        sampler = make("samplers", name)
        expected = sample(twin, sampler, shape=(4, 3), steps=6)
        refusal = ""
        try:
            samples = sample(model, sampler, shape=(4, 3), steps=6)
        except DifftoolError as error:
            refusal = str(error)
        if refusal:
            assert "clone()" in refusal  # it says what to do
            rows = trace(sampler, make_path(model, sampler, steps=6)).rows
            assert any(k < r - 1 for r, row in enumerate(rows) for (k, _), _ in row.m)  # it needs two answers at once
        else:
            assert torch.equal(samples, expected), predicts


# --- dtypes and conditioning ------------------------------------------------------------------------------------------


class Small(torch.nn.Module):
    """A small smooth network with a conditioning of its own."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3, dtype=dtype)
        with torch.no_grad():
            self.layer.weight.copy_(0.3 * randn(0, 3, 3))
            self.layer.bias.copy_(0.1 * randn(1, 3))
        self.seen = []

    def forward(self, x, t, shift=None, mode="add", scale=None):
        self.seen.append((x.dtype, len(x), mode))
        out = torch.tanh(self.layer(x)) + 0.1 * t.to(x.dtype)[:, None]
        if scale is not None:
            out = out * scale
        return out if shift is None else out + (shift if mode == "add" else -shift).to(x.dtype)


@pytest.mark.parametrize("predicts", sorted(PARAMETRIZATIONS))
def test_dtypes(predicts):
    """`dtype` is the network's; the state is float32 at least."""
    schedule = VE(sigma_max=3.0)
    outs = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float32, F64):
        model = NetworkModel(Small(dtype), schedule, predicts)
        out = outs[dtype] = sample(model, DDIM(), shape=(4, 3), steps=8)
        assert {seen[0] for seen in model.net.seen} == {dtype}
        assert out.dtype == (F64 if dtype == F64 else torch.float32)
        moved = NetworkModel(Small(), schedule, predicts)  # the same by the option of sample
        assert torch.equal(sample(moved, DDIM(), shape=(4, 3), steps=8, dtype=dtype), out) or dtype == F64
        assert {seen[0] for seen in moved.net.seen} == {dtype}
        loop = sample(model, DDIM(), shape=(4, 3), steps=8, grad=True)
        assert loop.dtype == out.dtype
    close(outs[torch.float32].double(), outs[F64], 1e-4, 1e-4)  # float32 noise and weights
    # weights and answers have 8 (11) bits; eps and score are divided by alpha = 1 and times sigma <= 3
    close(outs[torch.bfloat16], outs[torch.float32], 0.05, 0.05)
    close(outs[torch.float16], outs[torch.float32], 0.01, 0.01)
    assert not torch.equal(outs[torch.bfloat16], outs[torch.float32])


def test_the_state_of_a_bfloat16_network_is_not_rounded():
    """1000 steps of a network that returns next to nothing leave x where it was, to the bits of float32."""
    model = NetworkModel(lambda x, t: 0 * x, VE(sigma_max=3.0), "eps").to(dtype=torch.bfloat16)
    x = randn(0, 4, 3).float()
    assert torch.equal(sample(model, DDIM(), x=x, steps=50), x)


def test_a_function_computes_in_the_dtype_that_is_asked_for():
    seen = []

    def net(x, t):
        seen.append(x.dtype)
        return torch.sin(x)

    for dtype in (torch.float32, F64, torch.bfloat16):
        out = sample(NetworkModel(net, VPLinear()), DDIM(), shape=(2, 3), steps=2, dtype=dtype)
        assert seen[-1] == dtype
        assert out.dtype == (F64 if dtype == F64 else torch.float32)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "heun", "predictor-corrector", "em"])
@given(size=st.integers(1, 7))
def test_conditioning_is_cut_with_the_batch(name, size):
    net = Small(F64)
    model = NetworkModel(net, VPLinear(), "v")
    cond = {"shift": randn(5, 6, 3), "mode": "add", "scale": torch.tensor(0.7)}
    options = {"shape": (6, 3), "steps": 3, "cond": cond}
    whole = sample(model, make("samplers", name), **options)
    net.seen.clear()
    close(sample(model, make("samplers", name), **options, batch_size=size), whole, 1e-12, 1e-12)
    assert {n for _, n, _ in net.seen} == {min(size, 6)} | ({6 % size} - {0})
    shifted = sample(
        model, make("samplers", name), **{**options, "cond": {**cond, "mode": "subtract"}}, batch_size=size
    )
    assert (shifted - whole).abs().max() > 1e-3
    assert net.seen[-1][2] == "subtract"


@given(size=st.integers(1, 7))
def test_labels_are_cut_with_the_batch(size):
    model, label = mixture(1, std=0.01), torch.tensor([0, 1, 2, 1, -1, 0])
    x = sample(model, DDIM(eta=1), shape=(6, 3), steps=20, cond={"label": label}, batch_size=size, dtype=F64)
    near = model.labels[torch.cdist(x, model.means).argmin(1)]
    assert torch.equal(near[label >= 0], label[label >= 0])


def test_conditioning_that_does_not_fit():
    model = NetworkModel(Small(), VPLinear())
    for size in (None, 1, 3):
        with pytest.raises(DifftoolError, match="cond 'shift' has 4 rows, expected 6, one for each sample"):
            sample(model, DDIM(), shape=(6, 3), steps=2, cond={"shift": torch.zeros(4, 3)}, batch_size=size)
    with pytest.raises(DifftoolError, match="unknown class 8"):
        sample(mixture(), DDIM(), shape=(2, 3), steps=2, cond={"label": 8})
    with pytest.raises(DifftoolError, match="cond 'label' has 2 rows, expected 3, one for each sample"):
        sample(mixture(), DDIM(), shape=(3, 3), steps=2, cond={"label": [0, 1]}, batch_size=1)
