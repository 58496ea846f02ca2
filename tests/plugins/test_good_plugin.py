"""A good plugin, installed beside difftool: a process finds all that it brings, and touches none of our files."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from installed import difftool, environment, install

from difftool import sample
from difftool.checks import check_named, check_sampler
from difftool.errors import DifftoolError
from difftool.runs.plans import figures, plan_of
from difftool.runs.recipe import Recipe
from difftool.samplers import DDIM

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages that holds the plugin."""
    source = (Path(__file__).parent / "good" / "good_plugin.py").read_text()
    return install(tmp_path / "site", "good-plugin", "1.2", {"good": "good_plugin"}, good_plugin=source)


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """`difftool` with the plugin; it must work, and say nothing on stderr."""
    work = tmp_path / "work"
    work.mkdir()

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = difftool(*arguments, folder=work, env=environment(site))
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done

    return call


def test_it_is_listed_with_its_origin(run):
    found = json.loads(run("list", "--json").stdout)
    for axis, name in [("samplers", "midway"), ("schedules", "sine"), ("grids", "thirds"), ("models", "coin")]:
        row = next(row for row in found[axis] if row["name"] == name)
        assert row["from"] == "good-plugin 1.2"
    assert {"name": "good", "from": "good-plugin 1.2", "module": "good_plugin"} in found["plugins"]
    assert any(row["from"].startswith("difftool ") for row in found["samplers"])
    lines = run("list", "samplers").stdout.splitlines()
    assert lines[1].split() == ["name", "what", "from"]
    (line,) = [line for line in lines if line.startswith("midway")]
    assert line.endswith("  good-plugin 1.2")
    assert "Euler's method in the flow time, written by a stranger." in line


def test_show(run):
    out = run("show", "midway").stdout
    assert out.startswith("midway  sampler, from good-plugin 1.2\n")
    for words in ("written by a stranger", "A. Stranger 2024", "damping", "1.0", "order 1"):
        assert words in out


def test_its_grid_has_its_own_number_of_steps(here):
    assert plan_of("ddim", grid="three").nfe == 3
    with pytest.raises(DifftoolError, match="this Three grid has 3 steps, got steps=4"):
        plan_of("ddim", grid="three", steps=4)
    seven = Recipe(steps=7)
    assert seven.changed(grid="thirds").steps == 7
    assert seven.changed(grid="three").steps is None
    assert Recipe(grid="three", steps=3).changed(grid="thirds").steps is None


def test_its_exact_model_is_what_samples_are_compared_with(run, here):
    lines = run("sample", "--model", "dart", "--nfe", "4", "--num-samples", "200", "--out", "d.npz").stdout.splitlines()
    assert any(line.startswith("sliced Wasserstein  ") and "to exact samples" in line for line in lines)
    assert "exact error" in figures(plan_of("ddim", model="dart"), "dart")
    told = run("evaluate", "d.npz", "--data", "moons", "--exact", "dart").stdout
    assert "density" in told
    findings = check_named("dart")
    assert all(finding.ok for finding in findings)
    assert any("score" in finding.check for finding in findings)


def test_its_command(run):
    assert run("greet", "world").stdout == "hello world\n"
    assert run("greet", "world", "--loud").stdout == "HELLO WORLD\n"
    assert "greet" in run("--help").stdout
    assert "Shout." in run("greet", "--help").stdout


@pytest.fixture
def here(registered, monkeypatch):
    """The plugin in this process: its module."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "good")
    found = registered(EntryPoint("good", "good_plugin", "difftool"))
    assert found.problems == []
    return importlib.import_module("good_plugin")


def test_it_samples(run, here, tmp_path):
    """All four of its things in one run; and its sampler is the DDIM that it says it is."""
    things = ("--model", "coin:std=0.2", "--schedule", "sine", "--grid", "thirds:r=0.5", "--sampler", "midway")
    run("sample", *things, "--nfe", "6", "--seed", "4", "--out", "a.npz")
    samples = np.load(tmp_path / "work" / "a.npz")["samples"]
    options = {"schedule": here.Sine(), "grid": here.Thirds(r=0.5), "steps": 6, "seed": 4, "shape": (64, 1)}
    model = here.coin(std=0.2)
    np.testing.assert_array_equal(samples, sample(model, here.Midway(), **options).numpy())
    np.testing.assert_allclose(samples, sample(model, DDIM(), **options).numpy(), atol=1e-5)  # in float32
    assert abs(abs(samples) - 1).mean() < 0.5


def test_it_is_planned(here):
    plan = plan_of("midway:damping=0.5", steps=3, schedule="sine", grid="thirds", model="coin")
    assert plan.name == "Midway(damping=0.5)"
    assert plan.nfe == 3
    assert "exact error" in figures(plan, "coin")


def test_it_is_checked(run, here):
    lines = run("check", "midway").stdout.splitlines()
    assert all(line.split()[0] == "ok" for line in lines[1:])
    assert any("order" in line for line in lines)
    for name in ("sine", "coin"):
        assert all(finding.ok for finding in check_named(name))
    damped = check_sampler(here.Midway(0.5), 0.0)
    assert all(finding.ok for finding in damped) and not any("order of" in finding.check for finding in damped)


def test_its_claims_are_held_with_other_options(here):
    class Careless(here.Midway):
        accuracy, weak_order, point_mass = 1, None, True

    failed = [finding for finding in check_sampler(Careless(), 0.0) if not finding.ok]
    assert [finding.check for finding in failed] == ["holds with other options"]
    assert "damping=" in failed[0].measured


@pytest.mark.parametrize(
    ("wanted", "there", "warning"),
    [
        ("none", False, ""),
        ("", False, ""),
        ("good", True, ""),
        (" good , ", True, ""),
        ("other", False, "DIFFTOOL_PLUGINS lists 'other', which is not installed"),
        ("other,good", True, "DIFFTOOL_PLUGINS lists 'other', which is not installed"),
    ],
)
def test_difftool_plugins(site, tmp_path, wanted, there, warning):
    done = difftool("list", "samplers", folder=tmp_path, env=environment(site, DIFFTOOL_PLUGINS=wanted))
    assert done.returncode == 0
    assert ("midway" in done.stdout) == there
    assert "ddim" in done.stdout  # the built-ins are always there
    assert done.stderr.strip() == (f"difftool: warning: {warning}" if warning else "")
    done = difftool("greet", "you", folder=tmp_path, env=environment(site, DIFFTOOL_PLUGINS=wanted))
    assert done.returncode == (0 if there else 2)
