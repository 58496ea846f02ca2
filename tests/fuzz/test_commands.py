"""Command lines that nobody meant: one line and an exit code, nothing left behind, nothing endless.

pytest tests/fuzz                                             # some, with every run of the tests
DIFFTOOL_FUZZ=1000 pytest tests/fuzz                          # so many, the same ones each time
DIFFTOOL_FUZZ_ANEW=1 DIFFTOOL_FUZZ=100000 pytest tests/fuzz   # a night of others
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from fuzzing import CASES, commands, files, fuzzed
from hypothesis import given
from typer.testing import CliRunner

from difftool.cli.app import app

SECONDS = 10.0  # of the processor


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with files of all kinds, good, damaged and hostile; the current one."""
    folder = tmp_path_factory.mktemp("fuzz")
    before = Path.cwd()
    os.chdir(folder)
    files(folder)
    yield folder
    os.chdir(before)


@fuzzed(CASES)
@given(command=commands())
def test_command_lines(place, command):
    before = {path: path.stat().st_size for path in place.rglob("*") if path.is_file()}
    begin = time.process_time()
    result = CliRunner().invoke(app(), command, prog_name="difftool")
    taken = time.process_time() - begin
    error = result.exception
    assert error is None or isinstance(error, SystemExit), (command, error)
    assert result.exit_code in (0, 1, 2), (command, result.stderr)
    if result.exit_code == 2:
        assert result.stderr.splitlines()[-1].startswith("difftool: error: "), (command, result.stderr)
    assert "internal error" not in result.stderr, (command, result.stderr)
    assert "\x1b" not in result.stderr + result.stdout, command
    assert taken < SECONDS, (command, taken)
    for path in place.rglob("*"):
        if path.is_file() and path not in before:
            assert result.exit_code in (0, 1), (command, path)
            assert not path.name.startswith(".difftool-"), (command, path)
            path.unlink()
    shutil.rmtree("run", ignore_errors=True)
