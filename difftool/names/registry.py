"""The registry: everything that is installed, by axis and name.

Everything comes from entry points of the group `difftool`, including the built-ins. The
environment variable DIFFTOOL_PLUGINS limits the others: a comma-separated list of entry-point
names, or `none`. A plugin that fails is reported in `problems` and skipped; a name that two
distributions claim is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from difftool import hookspecs
from difftool.errors import DifftoolError, unknown

NAME = re.compile(r"[\w.-]+")  # what a spec can contain without quotes
SAMPLING = ("schedules", "grids", "models", "samplers")
TRAINING = ("datasets", "networks", "weightings", "times", "features")
AXES = (*SAMPLING, *TRAINING, "commands")


@dataclass(frozen=True)
class Entry:
    """One registered name: how to load it and its origin (distribution and version)."""

    axis: str
    name: str
    target: Any
    plugin: str
    origin: str

    def load(self) -> Any:
        """The object; `DifftoolError` if a lazy reference cannot be resolved."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (Exception, SystemExit) as error:  # a plugin's module may fail in any way
            what = f"{self.axis[:-1]} {self.name!r} of {self.origin}"
            raise DifftoolError(
                f"{what} cannot be loaded from {self.target!r}: {_brief(error)}"
            ) from error


@dataclass
class Registry:
    """All names of all axes, and the problems met while loading plugins."""

    entries: dict[str, dict[str, Entry]] = field(
        default_factory=lambda: {axis: {} for axis in AXES}
    )
    plugins: list[tuple[str, str, str]] = field(default_factory=list)  # name, origin, module
    problems: list[str] = field(default_factory=list)
    collisions: dict[str, list[str]] = field(
        default_factory=lambda: {axis: [] for axis in AXES}
    )

    def axis(self, axis: str) -> Mapping[str, Entry]:
        """The entries of one axis; `DifftoolError` if two distributions claim the same name."""
        if self.collisions[axis]:
            raise DifftoolError(
                f"{'; '.join(self.collisions[axis])}; uninstall one, or list the plugins to load "
                f"in DIFFTOOL_PLUGINS=name,name (or none)"
            )
        return self.entries[axis]

    def find(self, axis: str, name: str) -> Entry:
        """The entry with that name; `DifftoolError` with a suggestion if there is none."""
        entries = self.axis(axis)
        if name not in entries:
            raise _unknown(axis[:-1], name, entries, axis)
        return entries[name]

    def find_all(self, name: str) -> list[Entry]:
        """The entries with that name on any axis other than the commands."""
        axes = [axis for axis in AXES if axis != "commands"]
        found = [self.axis(axis)[name] for axis in axes if name in self.axis(axis)]
        if not found:
            if (
                axis := next((axis for axis in axes if name in (axis, axis[:-1])), None)
            ) is not None:
                raise DifftoolError(
                    f"{name!r} is a kind, not a name; difftool list {axis} shows the names"
                )
            raise _unknown(
                "schedule, grid, model or sampler",
                name,
                {n for axis in axes for n in self.axis(axis)},
            )
        return found

    def add(self, axis: str, names: Mapping[str, Any], plugin: str, origin: str) -> None:
        """Register a plugin's names; a name that is already taken is a collision."""
        for name, target in names.items():
            taken = self.entries[axis].get(name)
            if taken is None:
                self.entries[axis][name] = Entry(axis, name, target, plugin, origin)
            else:
                self.collisions[axis].append(
                    f"{axis[:-1]} {name!r} is claimed by {taken.origin} (plugin {taken.plugin!r}) and by {origin} "
                    f"(plugin {plugin!r})"
                )


@cache
def registry() -> Registry:
    """The registry of this process, loaded at the first call."""
    return load(entry_points(group="difftool"), os.environ.get("DIFFTOOL_PLUGINS"))


def load(points: Iterable[EntryPoint], wanted: str | None = None) -> Registry:
    """A registry from entry points; wanted: those to load (None: all; `none`: built-ins)."""
    out = Registry()
    manager = pluggy.PluginManager("difftool")
    manager.add_hookspecs(hookspecs)
    if wanted is None:
        allowed = None
    else:
        allowed = {name.strip() for name in wanted.split(",")} - {"", "none"}
    points = sorted(points, key=lambda p: (not _is_builtin(p), p.name))
    for name in sorted((allowed or set()) - {p.name for p in points}):
        out.problems.append(f"DIFFTOOL_PLUGINS lists {name!r}, which is not installed")
    for point in points:
        if _is_builtin(point) or allowed is None or point.name in allowed:
            _register(out, manager, point)
    return out


def _register(out: Registry, manager: pluggy.PluginManager, point: EntryPoint) -> None:
    origin = _origin(point)
    name = f"{origin}:{point.name}"
    try:
        plugin = point.load()
        manager.register(plugin, name=name)
        manager.check_pending()  # rejects hooks that do not exist
        offers = {axis: _offer(manager, plugin, axis) for axis in AXES}
    except (Exception, SystemExit) as error:  # a faulty plugin must not break the tool
        if manager.has_plugin(name):
            manager.unregister(name=name)
        out.problems.append(f"plugin {point.name!r} of {origin} was skipped: {_brief(error)}")
        return
    if not any(offers.values()):
        out.problems.append(
            f"plugin {point.name!r} of {origin} registers nothing; mark its functions with @hookimpl"
        )
    out.plugins.append((point.name, origin, point.value))
    for axis, names in offers.items():
        out.add(axis, names, point.name, origin)


def _offer(manager: pluggy.PluginManager, plugin: Any, axis: str) -> Mapping[str, Any]:
    """The names that one plugin registers on one axis."""
    hook = getattr(manager.hook, f"difftool_{axis}")
    for implementation in hook.get_hookimpls():
        if implementation.plugin is plugin:
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
            return names
    return {}


def _unknown(
    what: str, name: str, known: Iterable[str], axis: str | None = None
) -> DifftoolError:
    """The error for an unknown name, with what it is in difftool if another tool has it."""
    from difftool.names.hints import hint  # reads a table

    sampler, at, grid = name.partition("@")
    if at and axis in ("samplers", "grids"):
        return DifftoolError(
            f"no {what} {name!r}; give sampler and grid separately: --sampler {sampler} --grid {grid}"
        )
    spec, comma, rest = name.partition(",")
    if comma and spec in known and "=" in rest:
        return DifftoolError(f"no {what} {name!r}; options follow a colon: {spec}:{rest}")
    if axis in (None, "samplers", "grids", "schedules"):
        elsewhere = hint(axis, name)
    else:
        elsewhere = ""
    if axis is not None and not elsewhere:
        elsewhere = _elsewhere(axis, name)
    if elsewhere:
        return DifftoolError(f"no {what} {name!r}; {elsewhere}")
    return unknown(what, name, known)


PLACES = {"models": ("checkpoint", "a training"), "datasets": ("folder", "pictures")}


def _elsewhere(axis: str, name: str) -> str:
    """What else the name may be: a name on another axis, a folder or a file."""
    axes = (other for other in ("grids", "samplers", "schedules", "models") if other != axis)
    lower = name.lower()
    if (
        other := next((other for other in axes if lower in registry().axis(other)), None)
    ) is not None:
        return f"{lower} is a {other[:-1]}: --{other[:-1]} {lower}"
    path = Path(name)
    if axis in PLACES and path.is_dir():
        kind, what = PLACES[axis]
        return f"if the folder {name} holds {what}, write {kind}:path={name}"
    if axis == "datasets" and path.suffix == ".npz":
        return f"for the file {name} write npz:path={name}"
    if axis == "models" and path.is_file():
        return f"for the file {name} write checkpoint:path={name}"
    return ""


def _brief(error: BaseException) -> str:
    """The error in one line of limited length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if len(text) <= 300:
        return text
    return f"{text[:297]}..."


def _is_builtin(point: EntryPoint) -> bool:
    return point.value == "difftool.names.builtin"


def _origin(point: EntryPoint) -> str:
    dist = point.dist
    if dist is not None:
        return f"{dist.name} {dist.version}"
    return point.value
