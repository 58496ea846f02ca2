"""The README does what it says: every command, every block of Python, every figure's source is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from difftool.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines() if line.strip()]
INSTALL = re.findall(r"^    (pip install -e .*)$", README, flags=re.MULTILINE)


def run(line: str):
    program, *arguments = shlex.split(line)
    assert program == "difftool"
    return CliRunner().invoke(app(), arguments)


def test_the_commands_in_the_order_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 6
    for line in COMMANDS:
        result = run(line)
        assert result.exit_code == 0, (line, result.output)
    written = {file.name for file in tmp_path.iterdir()}
    assert {"ring.png", "threes.npz", "again.png"} <= written


def test_the_first_command(tmp_path, monkeypatch):
    """The set-up is for `.ci/run`; what it ends with writes a picture, and again under another name."""
    monkeypatch.chdir(tmp_path)
    assert len(INSTALL) == 2
    install, command = INSTALL[0].split(" && ")
    assert install == "pip install -e ."
    assert INSTALL[1] == "pip install -e '.[test]' && pytest"
    for count in (1, 2):
        result = run(command)
        assert result.exit_code == 0, result.output
        assert len(list(tmp_path.glob("*.png"))) == count
    assert INSTALL[1] in (ROOT / ".ci/run").read_text()


def test_the_picture_of_the_page_is_repeated_by_its_recipe(tmp_path, monkeypatch):
    """It was written by an older version: what that drew is drawn still."""
    monkeypatch.chdir(tmp_path)
    picture = ROOT / "docs" / "digits.png"
    result = run(f"difftool sample --recipe {picture} --out again.png")
    assert result.exit_code == 0, result.output
    old, new = (np.asarray(Image.open(file), np.int16) for file in (picture, "again.png"))
    assert np.abs(old - new).max() <= 1  # the last bit of a float can turn a grey


def test_the_python_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    blocks = [text for kind, text in BLOCKS if kind == "python"]
    assert len(blocks) >= 3
    for text in blocks:
        exec(compile(text, "README.md", "exec"), space)
    assert space["x"].shape == space["y"].shape == (4, 3, 32, 32)


def test_the_plan_on_the_page_is_the_plan():
    """The numbers of the printed table, whatever the width of the console."""
    (page,) = [text for kind, text in BLOCKS if kind == "text"]
    printed = run("difftool plan ddim --steps 5").output
    numbers = re.compile(r"[+-]?\d+\.?\d*(?:e-?\d+)?")
    assert numbers.findall(page) == numbers.findall(printed)


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_no_placeholder_is_left():
    assert not re.search(r"\b(PLAN|BENCH|TODO|FIXME)\b", README)


def test_the_page_on_checks_names_tests_that_are_there():
    page = (ROOT / "docs" / "checks.md").read_text()
    sources = [file.read_text() for file in (ROOT / "tests").rglob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}
    named = set(re.findall(r"(?:::|`)(test_\w+)`", page))
    assert named
    assert named <= there
    files = set(re.findall(r"`(tests/[\w/]+\.py)", page))
    assert all((ROOT / file).exists() for file in files)
