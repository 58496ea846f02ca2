"""The registry: plugins that are good, broken, or claim what is another's."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, EntryPoint
from types import ModuleType
from typing import Any

import pytest

from difftool.errors import DifftoolError, DifftoolWarning
from difftool.hookspecs import hookimpl
from difftool.names import describe
from difftool.names.registry import AXES, load
from difftool.samplers import DDIM, DDPM


class Named(Distribution):
    """A distribution of which only name and version are known."""

    def __init__(self, name: str, version: str):
        self._metadata = {"Name": name, "Version": version}

    @property
    def metadata(self) -> Any:
        return self._metadata

    @property
    def version(self) -> str:
        return self._metadata["Version"]

    def read_text(self, filename: str) -> None: ...

    def locate_file(self, path: Any) -> Any: ...


@pytest.fixture
def plugin(monkeypatch):
    """`plugin("name", samplers=...)`: the entry point of a module with those hooks, of a distribution `name-dist 1`."""

    def make(name: str, **hooks: Any) -> EntryPoint:
        module = ModuleType(f"plugin_{name}")
        for hook, offer in hooks.items():
            function = offer if callable(offer) else (lambda offer=offer: offer)
            function.__name__ = f"difftool_{hook}"
            setattr(module, f"difftool_{hook}", hookimpl(function) if not callable(offer) else offer)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return EntryPoint(name, module.__name__, "difftool")._for(Named(f"{name}-dist", "1"))

    return make


def test_a_plugin_that_forgot_to_mark_its_hooks(plugin):
    found = load([plugin("mute", samplers=lambda: {"mute": DDIM})])
    assert "mute" not in found.axis("samplers")
    assert any("'mute'" in problem and "@hookimpl" in problem for problem in found.problems)


def test_builtin_alone():
    found = load([])
    assert found.problems == []
    assert [name for name, _, _ in found.plugins] == ["builtin"]
    for axis in AXES:
        assert found.axis(axis)
        for entry in found.axis(axis).values():
            assert callable(entry.load())
            assert entry.origin.startswith("difftool ")


def test_a_plugin_adds_to_every_axis(plugin):
    offers = {axis: {"mine": DDIM} for axis in AXES}
    found = load([plugin("mine", **offers)])
    assert found.problems == []
    for axis in AXES:
        entry = found.find(axis, "mine")
        assert (entry.load(), entry.origin, entry.plugin) == (DDIM, "mine-dist 1", "mine")
    assert [entry.axis for entry in found.find_all("mine")] == [axis for axis in AXES if axis != "commands"]


def test_an_object_may_be_a_plugin(monkeypatch):
    class Plugin:
        @hookimpl
        def difftool_samplers(self):
            return {"mine": "difftool.samplers:DDIM"}

    module = ModuleType("plugin_object")
    module.thing = Plugin()
    monkeypatch.setitem(sys.modules, "plugin_object", module)
    found = load([EntryPoint("object", "plugin_object:thing", "difftool")])
    assert found.find("samplers", "mine").load() is DDIM


def exits():
    raise SystemExit(3)


@hookimpl
def difftool_samplers(config):
    return {}


@hookimpl
def difftool_sampler():
    return {}


@hookimpl
def raises():
    raise RuntimeError("first line\nsecond line")


BROKEN = {
    "a list": ({"samplers": ["a", "b"]}, "difftool_samplers must return a mapping, got a list"),
    "none": ({"samplers": hookimpl(lambda: None)}, "difftool_samplers must return a mapping, got a NoneType"),
    "a wrong signature": ({"samplers": difftool_samplers}, "config"),
    "a hook that does not exist": ({"sampler": difftool_sampler}, "difftool_sampler"),
    "an exception": ({"samplers": raises}, "RuntimeError: first line second line"),
    "a name with a colon": ({"samplers": {"a:b": DDIM}}, "'a:b'"),
    "a name that is none": ({"samplers": {3: DDIM}}, "must consist of letters, digits and . _ -, got 3"),
    "an empty name": ({"samplers": {"": DDIM}}, "must consist of letters, digits and . _ -, got ''"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_reported_and_skipped(plugin, kind):
    hooks, says = BROKEN[kind]
    found = load([plugin("bad", **hooks), plugin("good", samplers={"mine": DDIM})])
    (problem,) = found.problems
    assert "plugin 'bad' of bad-dist 1 was skipped" in problem
    assert says in problem
    assert "\n" not in problem
    assert [name for name, _, _ in found.plugins] == ["builtin", "good"]
    assert found.find("samplers", "mine").origin == "good-dist 1"  # the others are as they would be
    assert {name: list(found.axis(name)) for name in ("schedules", "grids", "models")} == {
        name: list(load([]).axis(name)) for name in ("schedules", "grids", "models")
    }


def test_half_a_plugin_is_none(plugin):
    """One hook is fine, another is not: nothing of it is registered."""
    found = load([plugin("bad", schedules={"mine": DDIM}, samplers=["a"])])
    assert "mine" not in found.axis("schedules")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def (", "SyntaxError"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch, source, says):
    (tmp_path / "plugin_bad.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for value in ("plugin_bad", "plugin_bad:thing"):
        found = load([EntryPoint("bad", value, "difftool")])
        assert says in found.problems[0]
        assert "ddim" in found.axis("samplers")


LAZY = [
    "no_such_module:Thing", "difftool.samplers:NoSuchThing", "difftool.samplers", "", ":", "plugin_lazy:Thing",
]  # fmt: skip


@pytest.mark.parametrize("target", LAZY)
def test_a_lazy_target_that_does_not_exist(plugin, registered, tmp_path, monkeypatch, target):
    (tmp_path / "plugin_lazy.py").write_text("raise RuntimeError('late')")
    monkeypatch.syspath_prepend(tmp_path)
    found = registered(plugin("lazy", samplers={"mine": target, "yours": "difftool.samplers:DDIM"}))
    assert found.problems == []
    with pytest.raises(DifftoolError) as caught:
        found.find("samplers", "mine").load()
    for words in ("sampler 'mine' of lazy-dist 1", repr(target)):
        assert words in str(caught.value)
    assert found.find("samplers", "yours").load() is DDIM
    rows = {row["name"]: row["what"] for row in describe.listing("samplers")["samplers"]}
    assert rows["mine"].startswith("broken: sampler 'mine' of lazy-dist 1 cannot be loaded")
    assert rows["yours"].startswith("Denoising")


def test_two_plugins_claim_a_name(plugin):
    """That name is refused, and no other."""
    found = load([plugin("one", samplers={"mine": DDIM, "a": DDIM}), plugin("two", samplers={"mine": DDIM})])
    for ask in (
        lambda: found.find("samplers", "mine"),
        lambda: found.find_all("mine"),
        found.axis("samplers")["mine"].load,
    ):
        with pytest.raises(DifftoolError) as caught:
            ask()
        for words in ("sampler 'mine'", "one-dist 1", "two-dist 1", "'one'", "'two'", "DIFFTOOL_PLUGINS"):
            assert words in str(caught.value)
    assert found.find("samplers", "a").origin == "one-dist 1"
    assert found.find("samplers", "ddim").plugin == "builtin"
    assert [entry.name for entry in found.clashes()] == ["mine"]
    other = load([plugin("one", samplers={"mine": DDIM}), plugin("two", grids={"mine": DDIM})])
    assert {entry.axis for entry in other.find_all("mine")} == {"grids", "samplers"}


def test_a_plugin_claims_a_builtin_name(plugin):
    found = load([plugin("aaa", samplers={"ddim": DDPM, "mine": DDPM})])
    with pytest.warns(DifftoolWarning, match=r"sampler 'ddim' of aaa-dist 1 .* is left out: difftool has one"):
        mine = found.find("samplers", "mine")
    assert mine.load() is DDPM
    assert found.find("samplers", "ddim").load() is DDIM


def test_the_way_out_of_a_collision(plugin):
    points = [plugin("one", samplers={"mine": DDIM}), plugin("two", samplers={"mine": DDIM})]
    assert load(points, "two").find("samplers", "mine").origin == "two-dist 1"
    assert "mine" not in load(points, "none").axis("samplers")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (None, ["builtin", "one", "two"]),
        ("none", ["builtin"]),
        ("", ["builtin"]),
        ("one", ["builtin", "one"]),
        (" two , one ", ["builtin", "one", "two"]),
        ("builtin", ["builtin"]),
    ],
)
def test_wanted(plugin, wanted, names):
    found = load([plugin("two", samplers={"b": DDIM}), plugin("one", samplers={"a": DDIM})], wanted)
    assert [name for name, _, _ in found.plugins] == names
    assert found.problems == []


def test_wanted_but_not_installed(plugin):
    found = load([plugin("one", samplers={"a": DDIM})], "one,three")
    assert found.problems == ["DIFFTOOL_PLUGINS lists 'three', which is not installed"]
    assert [name for name, _, _ in found.plugins] == ["builtin", "one"]


def test_unknown_names_get_a_suggestion():
    with pytest.raises(DifftoolError, match=r"no sampler 'dmpp'; did you mean dpmpp"):
        load([]).find("samplers", "dmpp")
    with pytest.raises(DifftoolError, match="no schedule, grid, model or sampler 'sample'"):
        load([]).find_all("sample")  # commands are none of those
