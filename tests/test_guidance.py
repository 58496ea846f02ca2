"""Classifier-free guidance: what it is on exact models, and that networks keep their plans under it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from registered import ONE_EACH

from difftool.errors import DifftoolError
from difftool.models import PARAMETRIZATIONS, Clipped, GaussianMixture, Guided, NetworkModel
from difftool.names.specs import make
from difftool.nn import MLP
from difftool.sampling import prepare, sample
from difftool.schedules import DDPMLinear, Flow, VPLinear

F64 = torch.float64
MIXTURE = GaussianMixture(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), 0.1, labels=torch.tensor([0, 1, 2]))
LABELS = torch.tensor([0, 2, 1, 1])
scales = st.floats(-2, 5)


def network(predicts="v", schedule=None):
    torch.manual_seed(0)
    return NetworkModel(MLP(2, (16,), classes=3).double(), schedule or VPLinear(), predicts)


@pytest.mark.parametrize("model", [MIXTURE, network()], ids=["exact", "network"])
def test_models_and_what_is_around_them_say_their_classes(model):
    assert model.classes == 3
    assert Guided(model, 2.0).classes == Clipped(Guided(model, 2.0), -1, 1).classes == 3
    assert NetworkModel(lambda x, time: x, VPLinear()).classes is None
    assert GaussianMixture(torch.zeros(1, 2), 1.0).classes is None


@given(scales, st.floats(0.05, 0.9))
def test_it_leads_from_the_whole_to_the_class(scale, t):
    x = torch.randn(4, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    p = VPLinear().at(t)
    guided = Guided(MIXTURE, scale).bind(VPLinear(), {"label": LABELS})(x, p)
    given, plain = MIXTURE.x0(x, p, label=LABELS), MIXTURE.x0(x, p)
    torch.testing.assert_close(guided, (1 - scale) * plain + scale * given, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("model", [MIXTURE, network()], ids=["exact", "network"])
def test_at_one_it_is_the_class_and_at_zero_the_whole(model):
    options = {"shape": (4, 2), "steps": 6, "dtype": F64}
    given = sample(model, **options, cond={"label": LABELS})
    torch.testing.assert_close(sample(Guided(model, 1), **options, cond={"label": LABELS}), given)
    plain = sample(model, **options)
    torch.testing.assert_close(sample(Guided(model, 0), **options, cond={"label": LABELS}), plain)
    assert float((given - plain).abs().max()) > 1e-3


@pytest.mark.parametrize("predicts", sorted(PARAMETRIZATIONS))
def test_the_plan_is_kept_whatever_the_network_returns(predicts):
    """The plan on raw outputs against the plain loop on x0."""
    model = Guided(network(predicts, DDPMLinear()), 2.5)
    options = {"shape": (4, 2), "steps": 5, "cond": {"label": LABELS}, "schedule": VPLinear(), "dtype": F64}
    job = prepare(model, make("samplers", "flow-abm"), **options)
    assert job.plan is not None
    assert job.nfe == 2 * 5
    torch.testing.assert_close(sample(model, **options), sample(model, **options, grad=True), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ONE_EACH)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sampler_goes_with_it_in_any_batches(name):
    sampler = make("samplers", name)
    steps = None if sampler.adaptive else 4
    options = {"shape": (4, 2), "steps": steps, "cond": {"label": LABELS}, "dtype": F64}
    out = sample(Guided(network(), 2.0), sampler, **options)
    assert torch.isfinite(out).all()
    if sampler.batch_independent:
        parts = sample(Guided(network(), 2.0), sampler, **options, batch_size=1)
        torch.testing.assert_close(out, parts, rtol=1e-6, atol=1e-6)


def test_the_other_condition_may_be_named():
    model = Guided(MIXTURE, 2.0, without={"label": torch.tensor([1, 1, 0, 0])})
    x, p = torch.zeros(4, 2, dtype=F64), VPLinear().at(0.5)
    bound = model.bind(VPLinear(), {"label": LABELS})
    other = MIXTURE.x0(x, p, label=torch.tensor([1, 1, 0, 0]))
    torch.testing.assert_close(bound(x, p), 2 * MIXTURE.x0(x, p, label=LABELS) - other)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Guided(MIXTURE, math.nan), "the guidance scale must be a finite number, got nan"),
        (lambda: Guided(MIXTURE, "2"), "the guidance scale must be a finite number, got '2'"),
        (lambda: Guided(torch.nn.Linear(2, 2), 2.0), "guidance takes a model"),
        (lambda: sample(Guided(MIXTURE, 2.0), shape=(4, 2)), "guidance needs conditioning"),
        (
            lambda: sample(NetworkModel(lambda x, t: x, Flow()), shape=(2, 2), cond={"label": LABELS[:2]}),
            "the network takes no 'label'",
        ),
    ],
)
def test_refusals(made, words):
    with pytest.raises(DifftoolError, match=words):
        made()


def test_a_network_that_answers_in_one_tensor_is_refused():
    kept = torch.zeros(3, 2)
    model = NetworkModel(
        lambda x, time, label=None: kept.copy_(x if label is None else 2 * x), Flow(), "flow", shape=(2,)
    )
    with pytest.raises(DifftoolError, match="reuses its output tensor; guidance needs two outputs"):
        sample(Guided(model, 3.0), shape=(3, 2), steps=4, cond={"label": torch.zeros(3, dtype=torch.int64)})
