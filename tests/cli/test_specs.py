"""Specs: `name:key=value,...` to a name with options, to typed objects, and back."""

from __future__ import annotations

import string
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.grids import Explicit, FlowGrid, Karras
from difftool.names import specs
from difftool.names.registry import Entry, Registry
from difftool.names.specs import make, options_of, parse, spec_of, spell, spell_value, write
from difftool.samplers import DDIM, DDPM, EulerMaruyama, PredictorCorrector
from difftool.schedules import VE, Cosine, Schedule, VPLinear

KEYS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=6)
ODD = st.text("ab1 :,=+'\"\\-\té", max_size=8)
TEXT = st.one_of(st.text(max_size=12), ODD)


@given(name=TEXT.filter(bool), options=st.dictionaries(KEYS, TEXT))
def test_what_is_written_is_read(name, options):
    assert parse(write(name, options)) == (name, options)


@given(name=TEXT.filter(bool), inner=st.dictionaries(KEYS, TEXT), key=KEYS)
def test_specs_stand_within_specs(name, inner, key):
    """As in `predictor-corrector:predictor="ddim:eta=0.5"`, at any depth."""
    spec = write(name, {key: write(name, {key: write(name, inner)})})
    for _ in range(2):
        spec = parse(spec)[1][key]
    assert parse(spec) == (name, inner)


@pytest.mark.parametrize(
    ("spec", "meaning"),
    [
        ("ddim", ("ddim", {})),
        ("ddim:eta=0.5", ("ddim", {"eta": "0.5"})),
        (" ddim : eta = 0.5 , b = c ", ("ddim", {"eta": "0.5", "b": "c"})),
        ("a:step-size=level", ("a", {"step_size": "level"})),
        ("a:b='c:d,e=f'", ("a", {"b": "c:d,e=f"})),
        ("a:b=\"c, 'd'\"", ("a", {"b": "c, 'd'"})),
        ("a:b=ddim:eta=1", ("a", {"b": "ddim:eta=1"})),
        ('"C:/x.json"', ("C:/x.json", {})),
        ("a:b=' c '", ("a", {"b": " c "})),
        ("a:b=", ("a", {"b": ""})),
    ],
)
def test_parse(spec, meaning):
    assert parse(spec) == meaning


@pytest.mark.parametrize("spec", ["", ":", " :a=1", "a:b", "a:=1", "a:b=1,", "a:b=1,,c=2", "a:b=1,b=2", "a:b='1", '"a'])
def test_refused(spec):
    with pytest.raises(DifftoolError) as caught:
        parse(spec)
    assert spec in str(caught.value)


def test_simple_specs_are_written_without_quotes():
    assert write("karras", {"rho": "7.0", "level_min": "0.002"}) == "karras:rho=7.0,level_min=0.002"
    assert write("ddim", {}) == "ddim"


NUMBERS = st.floats(allow_nan=False)


@dataclass(frozen=True)
class Everything(Schedule):
    """One option of every kind."""

    number: float = 1.0
    whole: int = 1
    switch: bool = False
    word: str = ""
    choice: Literal["one", "two", 3] = "one"
    maybe: float | None = None
    numbers: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "a")
    many: list[int] | None = None
    file: Path = Path("a")
    schedule: Schedule | None = None
    either: int | str = 1

    def alpha(self, t: Any) -> Any:
        return t

    def sigma(self, t: Any) -> Any:
        return t


def with_entry(name, target):
    """The built-in registry with one schedule more."""
    found = Registry()
    found._add(Entry("schedules", name, target, "tests", "tests 1"))
    return found


@pytest.fixture
def everything(monkeypatch):
    found = with_entry("everything", Everything)
    monkeypatch.setattr(specs, "registry", lambda: found)
    return Everything


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("number=2", 2.0),
        ("number=1e-3", 0.001),
        ("number=inf", float("inf")),
        ("whole=-3", -3),
        ("switch=true", True),
        ("switch=No", False),
        ("switch=1", True),
        ("word=none", "none"),
        ("word='a b'", "a b"),
        ("choice=two", "two"),
        ("choice=3", 3),
        ("maybe=none", None),
        ("maybe=2", 2.0),
        ("numbers=1+0.5+0", (1.0, 0.5, 0.0)),
        ("numbers=1e+2+1E+1+-1e-5", (100.0, 10.0, -1e-5)),
        ("pair=2+b", (2, "b")),
        ("many=1+2", [1, 2]),
        ("file='a:b/c.json'", Path("a:b/c.json")),
        ("schedule=cosine:s=0.1", Cosine(s=0.1)),
        ("schedule=none", None),
        ("either=2", 2),
        ("either=none", "none"),
    ],
)
def test_values_are_typed(everything, option, value):
    made = make("schedules", f"everything:{option}")
    got = getattr(made, option.split("=")[0])
    assert (got, type(got)) == (value, type(value))


def test_nothing_is_an_empty_list(everything):
    assert make("schedules", "everything:numbers=").numbers == ()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("number=x", "number=number, got 'x'"),
        ("number=nan", "number=number, got 'nan'"),
        ("whole=1.5", "whole=whole number, got '1.5'"),
        ("switch=maybe", "switch=true | false, got 'maybe'"),
        ("choice=four", "choice=one | two | 3, got 'four'"),
        ("maybe=x", "maybe=number | none, got 'x'"),
        ("numbers=1+x", "numbers=number+number+..., got '1+x'"),
        ("pair=1", "pair=whole number+text, got '1'"),
        ("pair=1+b+c", "pair=whole number+text, got '1+b+c'"),
        ("schedule=cosin", "did you mean cosine"),
        ("nunber=1", "did you mean number"),
    ],
)
def test_values_of_another_kind(everything, option, says):
    with pytest.raises(DifftoolError) as caught:
        make("schedules", f"everything:{option}")
    assert says in str(caught.value)


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "number": NUMBERS, "whole": st.integers(), "switch": st.booleans(),
            "word": TEXT, "choice": st.sampled_from(["one", "two", 3]), "maybe": st.none() | NUMBERS,
            "numbers": st.lists(NUMBERS, min_size=1).map(tuple),
            "schedule": st.none() | st.builds(VE, sigma_max=st.floats(1, 100)),
        },
    )
)  # fmt: skip
def test_every_value_comes_back(values):
    """An object is written as a spec, and made again from it."""
    found = with_entry("everything", Everything)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specs, "registry", lambda: found)
        thing = Everything(**values)
        assert make("schedules", spec_of("schedules", thing)) == thing


@pytest.mark.parametrize(
    ("axis", "thing", "spec"),
    [
        ("samplers", DDIM(), "ddim"),
        ("samplers", DDIM(eta=0.5), "ddim:eta=0.5"),
        ("samplers", PredictorCorrector(), "predictor-corrector"),
        ("samplers", PredictorCorrector(predictor=DDPM()), "predictor-corrector:predictor=ddpm"),
        ("samplers", PredictorCorrector(predictor=DDIM(eta=1.0)), 'predictor-corrector:predictor="ddim:eta=1.0"'),
        ("grids", Karras(rho=5.0, start=0.5), "karras:start=0.5,rho=5.0"),
        ("grids", Explicit(times=(1.0, 0.5, 0.0)), "explicit:times=1.0+0.5+0.0"),
        ("schedules", VPLinear(), "vp-linear"),
    ],
)
def test_spec_of(axis, thing, spec):
    assert spec_of(axis, thing) == spec
    assert make(axis, spec) == thing


def test_things_without_a_name_are_written_as_python():
    @dataclass(frozen=True)
    class Mine(Cosine):
        pass

    assert spec_of("schedules", Mine()).endswith("Mine(s=0.008)")


def test_a_nested_sampler_is_made():
    made = make("samplers", "predictor-corrector:predictor=ddpm,step_size=level")
    assert made == PredictorCorrector(predictor=DDPM(), step_size="level")
    made = make("samplers", "predictor-corrector:predictor='ddpm:variance=between,v=0.3',corrections=2")
    assert made == PredictorCorrector(predictor=DDPM(variance="between", v=0.3), corrections=2)
    assert make("samplers", "predictor-corrector").predictor == EulerMaruyama()


def test_names_stand_for_one_axis():
    assert make("grids", "flow") == FlowGrid()
    assert make("schedules", "flow") != FlowGrid()
    with pytest.raises(DifftoolError, match="no sampler 'flow'"):
        make("samplers", "flow")


def annotated(a, b: float, *rest: int, c: int | None = None, d: Unknown = 1, **more: int) -> None:  # noqa: F821
    """Options of a function."""


def test_options_of_a_function():
    options = {option.name: option for option in options_of(annotated)}
    assert list(options) == ["a", "b", "c", "d"]
    assert options["a"].type is str
    assert options["b"].type is float
    assert options["b"].default is specs.MISSING
    assert options["c"].type == int | None
    assert options["d"].type is str  # not known when the program runs


def test_options_of_a_class_are_its_fields():
    assert [option.name for option in options_of(Everything)] == [field.name for field in fields(Everything)]


def needy(size: int, name: str = "a") -> Any:
    return VPLinear()


def raising(size: int = 1) -> Any:
    raise ValueError(f"size {size} does not go")


def foreign() -> Any:
    return "a string"


@pytest.mark.parametrize(
    ("name", "spec", "says"),
    [
        ("needy", "needy", "needs the option 'size' (whole number)"),
        ("raising", "raising:size=3", "schedule 'raising' of tests 1 could not be created: size 3 does not go"),
        ("foreign", "foreign", "schedule 'foreign' of tests 1 is a str, expected a Schedule"),
    ],
)
def test_what_plugins_may_get_wrong(monkeypatch, name, spec, says):
    found = with_entry(name, globals()[name])
    monkeypatch.setattr(specs, "registry", lambda: found)
    with pytest.raises(DifftoolError) as caught:
        make("schedules", spec)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (float, "number"),
        (int, "whole number"),
        (bool, "true | false"),
        (float | None, "number | none"),
        (Literal["a", "b"], "a | b"),
        (tuple[float, ...], "number+number+..."),
        (tuple[int, str], "whole number+text"),
        (list[int], "whole number+whole number+..."),
        (Path, "path"),
        (Schedule, "schedule"),
    ],
)
def test_spell(kind, text):
    assert spell(kind) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "true"), (1.5, "1.5"), ((1.0, 2.0), "1.0+2.0"), (DDIM(), "ddim"), ("a", "a")],
)
def test_spell_value(value, text):
    assert spell_value(value) == text
