"""Help: every command and option is explained, nothing is swallowed, nothing is wider than the terminal."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from difftool.cli.sample import sample
from difftool.names.registry import registry
from difftool.runs.recipe import Recipe

COMMANDS = ["sample", "list", "show", "plan", "check"]


def parameters(command: str) -> list[str]:
    found = inspect.signature(registry().find("commands", command).load()).parameters
    return [name for name in found if name != "ctx"]


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("width", [80, 120])
def test_fits(ok, monkeypatch, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERMINAL_WIDTH", str(width))
    lines = ok(*command.split(), "--help").stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_the_commands(ok):
    out = ok("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", out)
        text = inspect.getdoc(registry().find("commands", command).load())
        assert text.split()[0] in out


def test_without_a_command_it_is_the_help(cli):
    result = cli()
    assert "Usage: difftool" in result.output
    assert "sample" in result.output


def test_short_help(ok):
    assert ok("-h").stdout == ok("--help").stdout
    assert ok("sample", "-h").stdout == ok("sample", "--help").stdout


def test_version(ok):
    from importlib.metadata import version

    assert ok("--version").stdout == f"difftool {version('difftool')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_there(ok, command):
    out = ok(command, "--help").stdout
    names = {"label": "--class", "axis": "AXIS"}
    for name in parameters(command):
        shown = names.get(name, "--" + name.replace("_", "-"))
        assert shown in out or name.upper() in out


def test_defaults_are_shown_and_true(ok):
    """What the help says of a default is what a recipe has; where that is None, it says what happens."""
    out = " ".join(ok("sample", "--help").stdout.replace("│", " ").split())
    defaults = {name: p.default for name, p in inspect.signature(sample).parameters.items()}
    for field in dataclasses.fields(Recipe):
        if field.name in defaults:
            assert defaults[field.name] == field.default
            if field.default not in (None, False):
                assert f"[default: {field.default}]" in out
    from difftool.sampling import DEFAULT_STEPS

    for said in (
        "the model's own, else vp-linear",
        "the sampler's own, else flow",
        str(DEFAULT_STEPS),
        "all",
        "a new name each time",
    ):
        assert f"[default: ({said})]" in out
    out = " ".join(ok("plan", "--help").stdout.replace("│", " ").split())
    for said in ("10", "vp-linear", "the sampler's own, else flow"):
        assert f"[default: ({said})]" in out
