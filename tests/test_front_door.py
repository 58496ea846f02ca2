"""What `difftool` and its rooms of named things offer: one list for people, for Python and for type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import difftool
from difftool.names import builtin

TYPED = """\
from difftool import Grid, GaussianMixture, Sampler, make, sample
from difftool.samplers import deis, lms

reveal_type(sample)
reveal_type(GaussianMixture)
reveal_type(lms())
"""


def test_type_checkers_read_the_list_that_python_reads():
    tree = ast.parse(Path(difftool.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: line.module for line in block.body for alias in line.names}
    assert seen == difftool._HOME
    assert set(difftool.__all__) == {"__version__", *difftool._HOME}


@pytest.mark.parametrize("name", sorted(difftool._HOME))
def test_every_name_is_there(name):
    assert name in dir(difftool)
    assert getattr(difftool, name) is getattr(import_module(difftool._HOME[name]), name)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'difftool' has no attribute 'sampel'"):
        difftool.sampel  # noqa: B018


@pytest.mark.parametrize("axis", ["schedules", "grids", "samplers"])
def test_all_that_has_a_name_in_the_command_line_is_imported_from_one_place(axis):
    room = import_module(f"difftool.{axis}")
    for target in getattr(builtin, f"difftool_{axis}")().values():
        module, _, name = target.partition(":")
        assert name in room.__all__
        assert getattr(room, name) is getattr(import_module(module), name)


@pytest.mark.slow
def test_mypy_sees_types(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports", "user.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    revealed = [line.partition('Revealed type is "')[2] for line in told.splitlines() if "Revealed" in line]
    assert len(revealed) == 3, told
    assert not any(line.startswith("Any") for line in revealed), told
    assert "Model" in revealed[0] and "Tensor" in revealed[0]
    assert "GaussianMixture" in revealed[1]
    assert "Adams" in revealed[2]
