"""Wrong samplers, schedules and models, each caught by the law that is named; right ones that look wrong pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import wrong_models
import wrong_samplers
import wrong_schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from difftool.checks import check_model, check_schedule
from difftool.checks.sampler import findings
from difftool.checks.variants import variants
from difftool.data.base import Arrays
from difftool.models.parametrization import PARAMETRIZATIONS
from difftool.samplers import DDIM
from difftool.schedules import VE, Betas, Cosine, Flow, VPLinear
from difftool.training.config import Training


def label(value):
    return value if isinstance(value, str) else type(value).__name__


def caught(found, law):
    """Whether a finding of that law failed; the other ones are not looked at any more."""
    return any(law in finding.check and not finding.ok for finding in found)


DEAR = (
    "distribution at every level",
    "distribution of many samples",
    "everywhere",
    "other options",
    "any sample shape",
)  # of these the first is for every day
BY_LAW = {law: wrong for wrong, law in reversed(wrong_samplers.ESCAPED)}
EVERY_DAY = [pair for pair in wrong_samplers.ESCAPED if pair[1] not in DEAR or BY_LAW[pair[1]] is pair[0]]


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        *EVERY_DAY,
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in wrong_samplers.ESCAPED if pair not in EVERY_DAY),
    ],
    ids=label,
)
def test_a_wrong_sampler_is_caught(wrong, law):
    assert caught(findings(wrong), law)


def test_a_scaled_state_that_is_carried_is_no_false_alarm():
    assert [finding for finding in findings(wrong_samplers.CarriesY(), 0.0) if not finding.ok] == []


@dataclass(frozen=True)
class Listed(DDIM):
    """Right, with an option that has no hash."""

    weights: list = field(default_factory=list)


@dataclass(frozen=True)
class Arrayed(Listed):
    """The same, with an array, of which == has no truth value."""

    table: np.ndarray = field(default_factory=lambda: np.ones(2))
    flag: bool = False

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "table", np.array(self.table))


def test_options_that_are_arrays():
    assert [text for text, _ in variants(Arrayed(eta=0.5))] == [
        "eta=0.0",
        "eta=0.3",
        "eta=0.85",
        "eta=1.0",
        "flag=True",
    ]


def test_options_without_a_hash():
    assert [finding for finding in findings(Listed(), 0.0) if not finding.ok] == []


@pytest.mark.parametrize("spec", ["dit:width=16,depth=1,heads=2", "unet:widths=8,heads=1,depth=1", "mlp:widths=8"])
def test_a_network_that_knows_nothing_need_not_know_its_labels(spec):
    data = Arrays(torch.randn(8, *((2,) if spec.startswith("mlp") else (1, 8, 8))), torch.arange(8) % 3)
    training = Training(network=spec, predicts="v").filled(data)
    model = training.objective().model(training.net(), data.shape)
    assert [finding for finding in check_model(model) if "label" in finding.check and not finding.ok] == []


@pytest.mark.parametrize(("wrong", "law"), wrong_schedules.ESCAPED, ids=label)
def test_a_wrong_schedule_is_caught(wrong, law):
    assert caught(check_schedule(wrong), law)


@pytest.mark.parametrize(("wrong", "law"), wrong_models.ESCAPED, ids=label)
def test_a_wrong_model_is_caught(wrong, law):
    assert caught(check_model(wrong), law)


def test_a_schedule_that_rounds_says_how_to_write_it():
    textbook = wrong_schedules.Textbook()
    assert any("expm1" in finding.measured for finding in check_schedule(textbook) if not finding.ok)


def test_a_table_of_many_entries_is_no_false_alarm():
    for finding in check_schedule(Betas(tuple(np.linspace(1e-6, 2e-4, 100_000).tolist()))):
        assert finding.ok, finding


TRAINED = st.sampled_from([VPLinear(), Cosine(), Flow(), VE()])
NAMES = st.sampled_from(sorted(PARAMETRIZATIONS))
ALIKE = {("edm", "v")}  # with data_std 1/2: 3% apart in x0


@settings(max_examples=12)
@given(TRAINED, NAMES, NAMES)
def test_a_parametrization_is_told_from_every_other(schedule, gives, told):
    failed = [f for f in check_model(wrong_models.network(gives, schedule, told=told)) if not f.ok]
    assert (failed == []) == (gives == told or (gives, told) in ALIKE), failed
