"""Plugins: which are installed, and what each offers, without letting one of them harm the tool.

A plugin is imported only when something of it is used. What it offers is known before that: it is asked
once in a process of its own, which may fail, print, exit or hang as it likes, and the answer is kept in
a file of the user's cache folder until the plugin changes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, distributions
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import pluggy

from difftool import hookspecs
from difftool.errors import DifftoolError, printable
from difftool.files.reading import parse_json, read_text
from difftool.files.writing import writing

GROUP, BUILTIN = "difftool", "difftool.names.builtin"
NAME = re.compile(r"[\w.-]+")  # what can stand in a spec without quotes
SAMPLING = ("schedules", "grids", "models", "samplers")
TRAINING = ("datasets", "networks", "weightings", "times", "features")
AXES = (*SAMPLING, *TRAINING, "commands")
SECONDS = 10.0  # that the import of a plugin may take
ASK = "from difftool.names.plugins import answer; answer()"


@dataclass(frozen=True)
class Offer:
    """What a plugin offers, names to targets by axis (a target is None where only names are known); what is wrong."""

    names: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Plugin:
    """An entry point that is not built in."""

    point: EntryPoint

    @property
    def name(self) -> str:
        """The name of its entry point."""
        return self.point.name

    @property
    def origin(self) -> str:
        """Its distribution, with the version."""
        dist = self.point.dist
        if dist is not None:
            return f"{dist.name} {dist.version}"
        return self.point.value

    @cached_property
    def offer(self) -> Offer:
        """What it offers, after importing it into this process."""
        return offered(self.point)


def installed() -> tuple[list[EntryPoint], list[str]]:
    """The entry points of all plugins but the built-in one, and distributions that cannot be read."""
    points: list[EntryPoint] = []
    problems: list[str] = []
    seen = set()
    for distribution in distributions():
        try:
            name = distribution.metadata["Name"]
            if name in seen:
                continue
            seen.add(name)
            points += [point for point in distribution.entry_points if point.group == GROUP]
        except Exception as error:  # a file that is not what it should be
            problems.append(f"a distribution cannot be read and was skipped: {brief(error)}")
    return [point for point in points if point.value != BUILTIN], problems


def offered(point: EntryPoint) -> Offer:
    """What a plugin offers, after importing it into this process; everything it does wrong is its `problem`."""
    try:
        with _silenced() as printed:
            plugin = point.load()
            manager = pluggy.PluginManager(GROUP)
            manager.add_hookspecs(hookspecs)
            manager.register(plugin)
            manager.check_pending()  # refuses hooks that do not exist
            names = {axis: _names(manager, axis) for axis in AXES}
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # whatever a plugin does wrong must not take the tool with it
        return Offer(problem=f"was skipped: {brief(error)}")
    if not any(names.values()):
        return Offer(problem="registers nothing; mark its functions with @hookimpl")
    text = printed.getvalue().strip()
    if text:
        return Offer(names, f"printed at its import: {printable(text)!r}")
    return Offer(names)


def _names(manager: pluggy.PluginManager, axis: str) -> dict[str, Any]:
    """What the one plugin of a manager returns for one axis."""
    hook = getattr(manager.hook, f"difftool_{axis}")
    for implementation in hook.get_hookimpls():
        names = implementation.function()
        if not isinstance(names, Mapping):
            raise DifftoolError(
                f"difftool_{axis} must return a mapping, got a {type(names).__name__}"
            )
        for name in names:
            if not (isinstance(name, str) and NAME.fullmatch(name)):
                raise DifftoolError(
                    f"names in difftool_{axis} must consist of letters, digits and . _ -, got {name!r}"
                )
        return dict(names.items())
    return {}


@contextmanager
def _silenced() -> Iterator[StringIO]:
    """What is printed goes here: it must not get into output that is read by programs."""
    printed = StringIO()
    with redirect_stdout(printed):
        yield printed


def brief(error: BaseException) -> str:
    """An error in one line that is not too long."""
    return printable(" ".join(f"{type(error).__name__}: {error}".split()), 300)


# --- asking in a process of its own -------------------------------------------------------------


def asked(plugins: Sequence[Plugin]) -> list[Offer]:
    """The names that plugins offer, each found by a process of its own; all of them at once."""
    processes = [_start(plugin.point) for plugin in plugins]
    return [_finish(process) for process in processes]


def _start(point: EntryPoint) -> subprocess.Popen[str]:
    request = json.dumps({"name": point.name, "value": point.value, "path": sys.path})
    process = subprocess.Popen(
        [sys.executable, "-c", ASK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.write(request)
        process.stdin.close()
    process.stdin = None
    return process


def _finish(process: subprocess.Popen[str]) -> Offer:
    try:
        out, _ = process.communicate(timeout=SECONDS)
        answer = parse_json(out)
        return Offer(
            {axis: dict.fromkeys(names) for axis, names in answer["names"].items()},
            answer["problem"],
        )
    except subprocess.TimeoutExpired:
        return Offer(problem=f"was skipped: its import takes more than {SECONDS:g} s")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Offer(problem="was skipped: it ended the process that imported it")
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and those that it began."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        process.communicate(timeout=1)


def answer() -> None:
    """What the process of its own does: imports the plugin, and prints the names that it offers as JSON."""
    request = json.loads(sys.stdin.read())
    out = os.dup(1)
    os.dup2(2, 1)  # nothing that the plugin prints is taken for the answer
    sys.path[:] = request["path"]
    offer = offered(EntryPoint(request["name"], request["value"], GROUP))
    names = {axis: list(names) for axis, names in offer.names.items()}
    text = json.dumps({"names": names, "problem": offer.problem})
    with os.fdopen(out, "w") as file:
        file.write(text)
    os._exit(0)  # threads of the plugin are not waited for


# --- the answers that are kept ------------------------------------------------------------------


def imported(plugins: Sequence[Plugin]) -> list[Offer]:
    """What plugins offer, imported into this process."""
    return [plugin.offer for plugin in plugins]


def remembered(plugins: Sequence[Plugin]) -> list[Offer]:
    """The names that plugins offer, from the cache where they have not changed since, else `asked`."""
    known = _load()
    keys = [_key(plugin) for plugin in plugins]
    new = [plugin for plugin, key in zip(plugins, keys, strict=True) if key not in known]
    for plugin, offer in zip(new, asked(new), strict=True):
        names = {axis: list(names) for axis, names in offer.names.items()}
        known[_key(plugin)] = {"names": names, "problem": offer.problem}
    if new:
        _save({key: known[key] for key in keys})
    return [
        Offer(
            {axis: dict.fromkeys(names) for axis, names in known[key]["names"].items()},
            known[key]["problem"],
        )
        for key in keys
    ]


def _key(plugin: Plugin) -> str:
    """What a plugin is known by: its distribution, version and entry point, its file's time and size."""
    value = plugin.point.value
    return f"{plugin.origin} {plugin.name}={value} {_stamp(value)}"


def _stamp(value: str) -> str:
    """The time and size of a module's file, found without importing the package that it is in."""
    package, *inner = value.partition(":")[0].split(".")
    with suppress(Exception):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            files = [Path(spec.origin)]
            if inner:
                place = files[0].parent.joinpath(*inner)
                files += [place.with_suffix(".py"), place / "__init__.py"]
            stats = [file.stat() for file in files if file.is_file()]
            return " ".join(f"{stat.st_mtime_ns}/{stat.st_size}" for stat in stats)
    return ""


def cache_folder() -> Path:
    """The folder of this user for what can be made again."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "difftool"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "difftool"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "difftool"


def _load() -> dict[str, Any]:
    """The answers in the file; none if it cannot be read or is not what it should be."""
    with suppress(DifftoolError, ValueError, RuntimeError):
        found = parse_json(read_text(cache_folder() / "plugins.json"))
        if isinstance(found, dict) and all(map(_is_answer, found.values())):
            return found
    return {}


def _is_answer(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("problem"), str):
        return False
    names = found.get("names")
    return isinstance(names, dict) and all(
        axis in AXES and isinstance(listed, list) and all(isinstance(n, str) for n in listed)
        for axis, listed in names.items()
    )


def _save(answers: Mapping[str, Any]) -> None:
    """Keep the answers; a folder that cannot be written to costs time, and nothing else."""
    with suppress(DifftoolError, OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "plugins.json") as file:
            file.write_text(json.dumps(answers))
