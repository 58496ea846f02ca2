"""Clipping: estimates of x0 within the data's range, for every sampler, with plans kept; and results that ran away."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from registered import ONE_EACH

from difftool.errors import DifftoolError, DifftoolWarning, NonFinite
from difftool.models import PARAMETRIZATIONS, Clipped, GaussianMixture, Guided, NetworkModel
from difftool.names.specs import make
from difftool.nn import MLP
from difftool.samplers import DDIM, FlowABM, UniPC
from difftool.sampling import Astray, prepare, ran_away, sample
from difftool.schedules import DDPMLinear, Flow, VPLinear

F64 = torch.float64
LABELS = torch.tensor([0, 2, 1, 1])


def network(predicts="eps", schedule=None, data_range=(-0.5, 0.5)):
    torch.manual_seed(0)
    net = MLP(2, (16,), classes=3).double()
    return NetworkModel(net, schedule or DDPMLinear(), predicts, data_range=data_range)


@pytest.mark.parametrize("predicts", sorted(PARAMETRIZATIONS))
@given(t=st.floats(0.02, 0.98), low=st.floats(-2, 0), width=st.floats(0.01, 3))
def test_an_estimate_is_cut_and_nothing_else_is_changed(predicts, t, low, width):
    model, p = network(predicts), DDPMLinear().at(t)
    x = torch.randn(4, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    free, cut = (m.bind(DDPMLinear(), {"label": LABELS})(x, p) for m in (model, Clipped(model, low, low + width)))
    torch.testing.assert_close(cut, free.clamp(low, low + width))
    wide = Clipped(model, -1e9, 1e9).bind(DDPMLinear(), {"label": LABELS})(x, p)
    assert torch.equal(wide, free)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("predicts", sorted(PARAMETRIZATIONS))
def test_the_plan_is_kept(predicts, guidance):
    """The plan against the plain loop, on the network's own schedule and on another."""
    for schedule in (DDPMLinear(), VPLinear(beta_max=12.0)):
        model = Clipped(Guided(network(predicts), guidance))
        options = {"shape": (4, 2), "steps": 6, "cond": {"label": LABELS}, "schedule": schedule, "dtype": F64}
        sampler = make("samplers", "dpmpp-2m")
        assert prepare(model, sampler, **options).plan is not None
        planned, loop = (sample(model, sampler, **options, grad=grad) for grad in (False, True))
        torch.testing.assert_close(planned, loop, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sampler_goes_with_it(name):
    """And those whose last step is the estimate itself end within the range."""
    sampler = make("samplers", name)
    steps = None if sampler.adaptive else 5
    x = sample(Clipped(network("v")), sampler, shape=(4, 2), steps=steps, cond={"label": LABELS}, dtype=F64)
    assert torch.isfinite(x).all()
    x = sample(
        Clipped(network("v")), sampler, shape=(4, 2), steps=steps, cond={"label": LABELS}, dtype=F64, last="mean"
    )
    assert float(x.abs().max()) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Clipped(network(data_range=None)), r"does not have; .* Clipped\(model, -1, 1\)"),
        (lambda: Clipped(GaussianMixture(torch.zeros(1, 2), 1.0)), "the range of the data, which this model does not"),
        (lambda: Clipped(network(), 1, -1), r"a range must be two finite numbers, low < high, got \(1, -1\)"),
        (lambda: network(data_range=(0.0, 0.0)), "two finite numbers"),
        (lambda: network(data_range=(math.nan, 1.0)), "two finite numbers"),
        (lambda: network(data_range=(-1.0, 0.0, 1.0)), "two finite numbers"),
        (lambda: network(data_range=("a", "b")), "two finite numbers"),
        (lambda: network(data_range=5), "two finite numbers, low < high, got 5"),
        (lambda: Clipped(network(), 0, math.inf), "two finite numbers"),
        (lambda: Clipped(network(), None, 1.0), "two finite numbers"),
        (lambda: Clipped(network(), True, 2.0), "two finite numbers"),
        (lambda: Clipped(torch.nn.Linear(2, 2)), "clipping takes a model"),
    ],
)
def test_bad_input_is_one_line(made, words):
    with pytest.raises(DifftoolError, match=words) as caught:
        made()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.array, torch.tensor, int])
def test_numbers_of_any_library_are_numbers(number):
    limits = number(-1), number(1)
    assert Clipped(network(data_range=None), *limits).limits == network(data_range=limits).data_range == (-1.0, 1.0)
    assert network(data_range=np.array([-1.0, 1.0])).data_range == (-1.0, 1.0)


# --- results that ran away --------------------------------------------------------------------------------------------


def constant(value, data_range=(-1.0, 1.0), predicts="x0"):
    """A network that is sure of the data."""
    return NetworkModel(lambda x, t: value.expand_as(x).clone(), Flow(), predicts, data_range=data_range)


@given(
    size=st.floats(1e-2, 1e30),
    low=st.floats(-10, 0.9),
    width=st.floats(0.1, 5),
    known=st.booleans(),
)
def test_samples_far_outside_are_said_and_others_are_not(size, low, width, known):
    """More than the range's own half-width outside of it; where no range is known, beyond 1000."""
    data_range = (low, low + width) if known else None
    model = constant(torch.tensor(size), data_range)
    low, high = (low, low + width) if known else (-1e3, 1e3)
    half = (high - low) / 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        x = sample(model, shape=(8, 2), steps=4)
    beyond = max(float(x.max()) - high, low - float(x.min()))
    if abs(beyond / half - 1) > 1e-3:  # float32
        assert bool(caught) == (beyond > half)
    for each in caught:
        assert issubclass(each.category, DifftoolWarning)
        assert "8 of 8 samples lie far outside" in str(each.message)
        assert "\n" not in str(each.message)


def test_a_few_samples_may_stray_but_not_far():
    def run(stray, far):
        value = torch.zeros(300, 2)
        value[:stray] = far
        model = NetworkModel(lambda x, t: value.clone(), Flow(), "x0", data_range=(-1.0, 1.0))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sample(model, shape=(300, 2), steps=3)
        return [str(w.message) for w in caught]

    assert run(2, 3.0) == []
    assert "5 of 300 samples" in run(5, 3.0)[0]
    assert "1 of 300 samples" in run(1, 30.0)[0]
    assert "|x| reaches 1e+20" in run(1, 1e20)[0]


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, 5.0, 1e20]), min_size=1, max_size=40), st.integers(1, 40))
def test_batches_are_judged_together(values, size):
    x = torch.tensor(values, dtype=torch.float64)[:, None]
    job = prepare(constant(torch.tensor(0.0)), shape=(1, 1), steps=2)
    astray = Astray(job)
    for part in x.split(size):
        astray.count(part)
    assert astray.line() == ran_away(job, x)


def test_noise_that_is_left_is_allowed_for():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(constant(torch.tensor(0.0), (-0.01, 0.01)), shape=(400, 2), grid=(1.0, 0.5, 0.2))


def test_the_causes_are_those_of_the_run():
    model = network("eps", data_range=(-1e-6, 1e-6))
    with pytest.warns(DifftoolWarning) as caught:
        sample(Guided(model, 7.0), shape=(4, 2), steps=9, cond={"label": LABELS}, dtype=F64)
    text = next(str(w.message) for w in caught if "far outside" in str(w.message))
    for words in ("more steps than 9", "a guidance closer to 1 than 7", "a later start than alpha", "clipping"):
        assert words in text
    with pytest.warns(DifftoolWarning) as caught:
        sample(network("v", data_range=(-1e-6, 1e-6)), shape=(4, 2), steps=9)
    assert not any(words in str(caught[0].message) for words in ("guidance", "a later start"))


# --- runs that will run away ------------------------------------------------------------------------------------------


def gaussians(x, t, label=None):
    """Exact x0 for data of variance 1/2, whose classes have the variance 1/20."""
    variance, t = 0.5 if label is None else 0.05, t[:, None]
    return x * (1 - t) * variance / ((1 - t) ** 2 * variance + t**2)


def told_before(scale, steps, sampler, clip=False):
    model = Guided(NetworkModel(gaussians, Flow(), "x0"), scale)
    asked = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sample(
            Clipped(model, -1, 1) if clip else model, sampler, shape=(64, 2), steps=steps,
            cond={"label": torch.zeros(64)}, callback=lambda step: asked.append(len(caught)),
        )  # fmt: skip
    lines = [str(each.message) for each in caught]
    assert all("\n" not in line for line in lines)
    return [line for line in lines if "is unstable in" in line], asked[0]


@pytest.mark.parametrize("sampler", [FlowABM(order=2), FlowABM(order=4), DDIM(), UniPC(order=2)], ids=str)
def test_a_guidance_that_is_too_strong_for_the_steps_is_said_before_they_are_spent(sampler):
    said, before = told_before(30.0, 10, sampler)
    assert "guidance 30 is unstable in 10 steps" in said[0]
    assert before == 1
    for harmless in ((1.0, 10), (1.5, 10), (-2.0, 10), (30.0, 400)):
        assert told_before(*harmless, sampler)[0] == []
    assert told_before(30.0, 10, sampler, clip=True)[0] == []


def test_what_is_infinite_is_no_estimate():
    model = NetworkModel(lambda x, t: torch.full_like(x, math.inf), Flow(), "flow", data_range=(-1.0, 1.0))
    with pytest.raises(NonFinite):
        sample(Clipped(model), shape=(2, 2), steps=4)


def test_an_answer_of_another_shape_is_refused():
    model = NetworkModel(lambda x, t: x[:, :1], Flow(), "flow", data_range=(-1.0, 1.0))
    with pytest.raises(DifftoolError, match=r"returned shape \(4, 1\), expected \(4, 2\)"):
        sample(Clipped(model), shape=(4, 2), steps=4)
