"""The generated pages: samplers.md says what is registered, claimed and measured, choosing.md what networks gave."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from difftool.checks.table import line_of, lines, markdown
from difftool.names.registry import registry
from difftool.names.specs import make

PAGE = Path(__file__).parent.parent / "docs" / "samplers.md"


def cells(text):
    """The rows of the table by name, without what was measured."""
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0][3:-1]: [re.sub(r" \([^)]*\)", "", cell) for cell in row[1:6]] for row in rows}


def test_everything_registered_is_in_the_table_with_its_claims():
    own = [name for name, entry in registry().axis("samplers").items() if entry.origin.startswith("difftool ")]
    shown = cells(PAGE.read_text())
    assert list(shown) == own
    for name in own:
        sampler = make("samplers", name)
        claims = [shown[name][2], shown[name][3]]
        weak = f"{sampler.weak_order:g}" if sampler.stochastic and sampler.weak_order is not None else ""
        nfe = "chosen in the run" if sampler.evaluations is None else str(sampler.evaluations)
        assert claims == [weak, nfe], name


@pytest.mark.parametrize("name", ["ddim", "flow-abm", "dpmpp-2m-sde", "em", "ode"])
def test_a_line_is_measured_again(name):
    line = line_of(name, make("samplers", name))
    assert cells(markdown([line]))[name] == cells(PAGE.read_text())[name]
    assert line.worst <= 0.15


@pytest.mark.slow
def test_no_figure_is_further_than_its_claim_allows():
    table = lines()
    assert {line.name: line.worst for line in table if not line.worst <= 0.15} == {}
    assert cells(markdown(table)) == cells(PAGE.read_text())


def test_the_page_on_choosing_is_that_of_the_figures(monkeypatch):
    monkeypatch.syspath_prepend(str(PAGE.parent.parent / "benchmarks"))
    import choosing

    assert choosing.page() == (PAGE.parent / "choosing.md").read_text()
