"""`difftool list` and `difftool show`: what is installed, readable at any width."""

from __future__ import annotations

import json
import textwrap
from itertools import pairwise

import pytest

from difftool.cli.text import fill
from difftool.names.describe import descriptions, first_sentence, listing
from difftool.names.registry import SAMPLING, TRAINING, registry
from difftool.names.specs import options_of

NAMES = [(axis, name) for axis in SAMPLING for name in registry().axis(axis)]


@pytest.mark.parametrize("axis", ["schedules", "grids", "models", "samplers"])
def test_an_axis(ok, monkeypatch, axis):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = ok("list", axis).stdout.splitlines()
    entries = registry().axis(axis)
    assert lines[0] == axis
    assert lines[1].split() == ["name", "what"]
    assert [line.split()[0] for line in lines[2:]] == list(entries)  # a line for each where no terminal limits it
    for line, entry in zip(lines[2:], entries.values(), strict=True):
        said = line.split(maxsplit=1)[1]
        text = " ".join(entry.load().__doc__.split())
        assert text.startswith(said)
        assert said.count(". ") == 0


def test_all(ok):
    out = ok("list").stdout
    assert [line for line in out.splitlines() if line in (*SAMPLING, *TRAINING)] == [*SAMPLING]
    assert all(name in out for _, name in NAMES)


def test_plugins(ok):
    out = ok("list", "plugins").stdout
    assert out.splitlines()[1].split() == ["name", "from", "module"]
    assert "builtin  difftool" in out


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_narrow_terminal(ok, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = ok("list").stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    for _, name in NAMES:
        assert any(line.split()[:1] == [name] for line in lines)  # no name is broken or cut


def test_json(ok):
    found = json.loads(ok("list", "--json").stdout)
    assert list(found) == ["schedules", "grids", "models", "samplers", "plugins"]
    assert [row["name"] for row in found["samplers"]] == list(registry().axis("samplers"))
    assert json.loads(ok("list", "grids", "--json").stdout) == {"grids": found["grids"]}
    assert {row["from"].split()[0] for row in found["models"]} == {"difftool"}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("One", "One"),
        ("One\ntwo. Three", "One two."),
        ("One\n\ntwo.", "One"),
        ("A step of 0.5 and more. Two", "A step of 0.5 and more."),
        ("Small, e.g. one, i.e. few, Song et al. 2020. Two", "Small, e.g. one, i.e. few, Song et al. 2020."),
    ],
)
def test_first_sentence(text, first):
    assert first_sentence(text) == first


@pytest.mark.parametrize(("axis", "name"), NAMES)
def test_show(ok, monkeypatch, axis, name):
    monkeypatch.setenv("COLUMNS", "50")
    out = ok("show", name).stdout
    assert max(map(len, out.splitlines())) <= 50
    target = registry().find(axis, name).load()
    words = " ".join(out.split())
    assert f"{name} {axis[:-1]}, from difftool" in words
    assert " ".join(target.__doc__.split()) in words
    if getattr(target, "reference", ""):
        assert target.reference in words
    for option in options_of(target):
        assert any(line.split()[:1] == [option.name] for line in out.splitlines())


def test_show_gives_all_that_goes_by_a_name(ok):
    out = ok("show", "flow").stdout
    assert "flow  schedule" in out
    assert "flow  grid" in out


def test_show_says_what_a_sampler_claims(ok):
    out = ok("show", "heun").stdout
    facts = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert facts["NFE per step"].strip() == "2"
    assert facts["accuracy"].strip() == "order 2"
    assert "deterministic" in facts["noise"]
    assert "chosen during the run" in ok("show", "ode").stdout
    assert "stochastic" in ok("show", "em").stdout


def test_show_json(ok):
    (found,) = json.loads(ok("show", "ddpm", "--json").stdout)
    assert (found["name"], found["kind"]) == ("ddpm", "sampler")
    assert found["options"] == [
        {"name": "variance", "type": "small | large | between | learned", "default": "small"},
        {"name": "v", "type": "number | none", "default": "none"},
    ]
    assert found == descriptions("ddpm")[0]


def test_show_writes_defaults_as_they_are_typed(ok):
    (found,) = json.loads(ok("show", "predictor-corrector", "--json").stdout)
    defaults = {option["name"]: option["default"] for option in found["options"]}
    assert defaults["predictor"] == "em"
    (found,) = json.loads(ok("show", "karras", "--json").stdout)
    assert {option["name"]: option["default"] for option in found["options"]}["start"] == "none"


@pytest.mark.slow
def test_show_fits(ok, monkeypatch):
    """In wider terminals than that of `test_show`."""
    for i, name in enumerate(sorted({name for _, name in NAMES})):
        width = (80, 120)[i % 2]
        monkeypatch.setenv("COLUMNS", str(width))
        assert max(map(len, ok("show", name).stdout.splitlines())) <= width


PROSE = "These words stand in lines\nof any length, and are filled anew."
FORMULAS = "a = b + c,   d = e - f,   g = h / i"
LIST = "one: the first of them,\n    with more to say\ntwo: the second"


@pytest.mark.parametrize("width", [30, 40, 100])
def test_prose_is_filled(width):
    lines = fill(PROSE, width).split("\n")
    assert " ".join(lines) == PROSE.replace("\n", " ")
    assert all(len(line) <= width for line in lines)
    assert all(len(f"{line} {following.split()[0]}") > width for line, following in pairwise(lines))


def test_formulas_keep_their_lines_or_part_between_each_other():
    table = "a = b,   c = d\ne = f,   g = h"
    assert fill(table, 100) == table
    assert fill(FORMULAS, 100) == FORMULAS
    assert fill(FORMULAS, 20) == "a = b + c,\nd = e - f,\ng = h / i"


def test_a_formula_in_prose_does_not_break():
    text = "Some words before x = 1 + 2 and words behind it."
    for width in range(20, 50):
        assert any("x = 1 + 2" in line for line in fill(text, width).split("\n"))
    for line in fill("x = " + " + ".join("abcdefghijklm"), 20).split("\n"):  # longer than a line: it must
        assert len(line) <= 20


def test_lists_hang():
    assert fill(LIST, 100) == "one: the first of them, with more to say\ntwo: the second"
    assert fill(LIST, 25) == "one: the first of them,\n    with more to say\ntwo: the second"


def test_an_indented_block_stays_indented():
    block = textwrap.indent("x_s = one\ny = two", "    ")
    assert fill(block, 80) == block


def test_listing_of_an_axis_is_that_axis():
    assert listing("grids") == {"grids": listing()["grids"]}
