"""The command line in this process, in a folder of its own, and what a refusal looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from reading import files
from typer.testing import CliRunner, Result

from difftool.cli.app import app
from difftool.names import registry as plugins

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _small_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of a small run goes into its distance to the exact samples."""
    monkeypatch.setattr("difftool.runs.run.REFERENCE", 128)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def cli(folder: Path) -> Command:
    """`cli("sample", "--steps", 3)`: the result of a command in `folder`; anything but an exit is an error."""

    def run(*arguments: Any) -> Result:
        result = CliRunner().invoke(app(), [str(a) for a in arguments], prog_name="difftool")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def ok(cli: Command) -> Command:
    """As `cli`, for commands that must work."""

    def run(*arguments: Any) -> Result:
        result = cli(*arguments)
        assert result.exit_code == 0, result.stderr
        assert result.stderr == ""
        return result

    return run


@pytest.fixture
def refused(cli: Command, folder: Path) -> Callable[..., str]:
    """`refused("sample", "--steps", 0, says=["steps", "0"])`: one line, exit code 2, and no file more or less."""

    def run(*arguments: Any, says: list[str], leaves: list[str] | None = None) -> str:
        before = files(folder)
        result = cli(*arguments)
        assert result.exit_code == 2, result.output
        line = result.stderr
        assert line.count("\n") == 1, line
        assert line.startswith("difftool: error: ")
        assert result.stdout == ""
        for word in says:
            assert word in line
        assert files(folder) == sorted([*before, *(leaves or [])])
        return line

    return run


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The models of `faulty.py`, registered as a plugin."""
    import faulty as module

    monkeypatch.setattr(plugins, "installed", lambda: ([EntryPoint("faulty", "faulty", "difftool")], []))
    monkeypatch.setattr(plugins, "remembered", plugins.imported)
    plugins.registry.cache_clear()
    module.Faulty.evaluations = 0
    yield module
    plugins.registry.cache_clear()
