"""`difftool plan` and `difftool check`."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from reading import files, read

from difftool.plan import load_plan, plan_from_json, trace
from difftool.samplers import DDIM, Heun
from difftool.sampling import make_path
from difftool.schedules import Cosine, VPLinear
from difftool.zoo import digits_exact


def rows(out: str) -> list[list[str]]:
    """The cells of the table, by row."""
    lines = out.splitlines()
    end = next(i for i, line in enumerate(lines) if not line or line.startswith("*"))
    return [re.split(r" {2,}", line.strip()) for line in lines[2:end]]


def facts(out: str) -> dict[str, str]:
    last = out.split("\n\n")[-1]
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in last.splitlines())


def test_the_table_says_what_the_sampler_does(ok, monkeypatch):
    """Its figures, to the digits shown, are DDIM's formula."""
    monkeypatch.setenv("COLUMNS", "200")
    found = rows(ok("plan", "ddim", "--steps", 5).stdout)
    assert [row[0] for row in found] == list("012345")
    path = make_path(digits_exact(), DDIM(), steps=5, schedule=VPLinear())
    for row, now, nxt in zip(found[1:], path, path[1:], strict=False):
        assert float(row[2]) == pytest.approx(nxt.t, abs=1e-5)
        ratio = nxt.sigma / now.sigma
        x, m = 0.0, 0.0
        for cell in row[5:]:
            value, source = cell.split()
            x, m = (float(value), m) if source[0] == "x" else (x, float(value))
        assert x == pytest.approx(ratio, abs=1e-5)
        assert m == pytest.approx(nxt.alpha - ratio * now.alpha, abs=1e-5)


def test_the_figures(ok):
    found = facts(ok("plan", "heun", "--steps", 4).stdout)
    assert found["NFE"] == "7"
    assert found["noises"] == "0"
    assert found.keys() >= {"registers", "exact error", "prior mismatch", "path error"}
    found = facts(ok("plan", "em", "--steps", 4).stdout)
    assert found["noises"] == "3"  # none in the step into sigma = 0
    assert "path error" not in found


def test_more_steps_err_less(ok):
    errors = [facts(ok("plan", "ddim", "--steps", n).stdout)["path error"].split()[1] for n in (5, 10, 20)]
    assert float(errors[0]) > 1.5 * float(errors[1]) > 2 * float(errors[2])


def test_rows(ok):
    def shown(*options):
        return [row[0] for row in rows(ok("plan", "ddim", "--steps", 30, *options).stdout)]

    assert shown() == [*map(str, range(10)), "...", *map(str, range(21, 31))]
    assert shown("--rows", 4) == ["0", "1", "...", "29", "30"]
    assert shown("--rows", 0) == [str(i) for i in range(31)]
    assert shown("--rows", 100) == [str(i) for i in range(31)]


def test_json_is_the_plan(ok, folder):
    options = ("--steps", 3, "--schedule", "cosine", "--last", "mean")
    result = ok("plan", "heun", *options, "--json", "--out", "plan.json")
    path = make_path(digits_exact(), Heun(), steps=3, schedule=Cosine())
    expected = trace(Heun(), path, "mean")
    assert plan_from_json(result.stdout) == expected
    assert load_plan(folder / "plan.json") == expected
    assert json.loads(result.stdout)["version"] == 1
    assert files(folder) == ["plan.json"]


def test_a_plan_runs_as_its_sampler_does(ok):
    ok("plan", "ddpm", "--steps", 4, "--out", "plan.json")
    ok("sample", "--sampler", "plan.json", "--num-samples", 3, "--out", "a.npz")
    ok("sample", "--sampler", "ddpm", "--steps", 4, "--num-samples", 3, "--out", "b.npz")
    np.testing.assert_array_equal(read("a.npz")[0], read("b.npz")[0])


def test_a_plan_from_a_file_is_shown_alike(ok):
    made = ok("plan", "ddpm", "--steps", 4, "--out", "plan.json").stdout
    read_back = ok("plan", "plan.json").stdout
    own = [line for line in made.splitlines()[:-1] if not line.startswith("stability")]  # of the sampler, not the table
    assert own == read_back.splitlines()  # but for "written to"


def test_force(ok, folder):
    ok("plan", "ddim", "--steps", 2, "--out", "plan.json")
    ok("plan", "ddim", "--steps", 3, "--out", "plan.json", "--force")
    assert load_plan(folder / "plan.json").nfe == 3


def test_steps_of_an_explicit_grid(ok):
    assert facts(ok("plan", "ddim", "--grid", "explicit:times=1+0.5+0.2+0").stdout)["NFE"] == "3"


def test_a_model_without_a_law_has_no_exact_error(ok, faulty):
    found = facts(ok("plan", "ddim", "--model", "flat").stdout)
    assert found["NFE"] == "10"
    assert "exact error" not in found


def test_names_are_not_read_as_markup(ok, folder):
    ok("plan", "ddim", "--steps", 2, "--out", "[red]plan[blue].json")
    plan = json.loads((folder / "[red]plan[blue].json").read_text())
    (folder / "odd.json").write_text(json.dumps({**plan, "name": "[bold]odd[/red]"}))
    assert ok("plan", "odd.json").stdout.startswith("[bold]odd[/red]  ")


@pytest.mark.parametrize("name", ["flow", "eight-gaussians", pytest.param("ddim:eta=0.5", marks=pytest.mark.slow)])
def test_check(ok, name):
    lines = ok("check", name).stdout.splitlines()
    assert lines[0].split() == ["check", "expected", "measured"]
    assert len(lines) > 3
    assert all(line.split()[0] == "ok" for line in lines[1:] if not line.startswith(" "))


def test_check_json(ok):
    found = json.loads(ok("check", "cosine", "--json").stdout)
    assert all(set(finding) == {"check", "expected", "measured", "ok"} for finding in found)
    assert all(finding["ok"] for finding in found)


def test_check_fails(cli, faulty):
    result = cli("check", "nan:size=4")
    assert result.exit_code == 1
    marks = [line.split()[0] for line in result.stdout.splitlines()[1:] if not line.startswith(" ")]  # long ones go on
    assert "FAILED" in marks
    found = json.loads(cli("check", "nan:size=4", "--json").stdout)
    assert [finding["ok"] for finding in found] == [mark == "ok" for mark in marks]
