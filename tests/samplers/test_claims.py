"""Claims of samplers: read-only, and never options by mistake."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import pytest

from difftool.errors import DifftoolError
from difftool.names.registry import registry
from difftool.samplers import DDIM, Sampler
from difftool.samplers.base import CLAIMS


def test_a_claim_with_a_type_is_refused():
    with pytest.raises(DifftoolError, match=r"Mine.accuracy is a claim, not an option; write accuracy = ... without"):

        @dataclass(frozen=True)
        class Mine(DDIM):
            accuracy: int = 1


def test_class_variables_and_plain_values_are_claims():
    @dataclass(frozen=True)
    class Mine(DDIM):
        evaluations: ClassVar[int] = 2
        accuracy = 3

    assert (Mine().evaluations, Mine().accuracy) == (2, 3)


def test_no_claim_is_an_option():
    assert {"accuracy", "weak_order", "stochastic", "last", "evaluations", "point_mass"} <= CLAIMS
    for entry in registry().axis("samplers").values():
        kind = type(entry.load()())
        assert issubclass(kind, Sampler)
        assert not CLAIMS & {field.name for field in fields(kind)}, kind
