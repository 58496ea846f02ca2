"""The registry: everything that is installed, by axis and name.

Everything comes from entry points of the group `difftool`, the built-ins too. A plugin is asked for
the names that it offers (`difftool.names.plugins`) when a name is not built in, or by what lists names;
it is imported when something of it is used. The environment variable DIFFTOOL_PLUGINS limits plugins: a
comma-separated list of entry-point names, or `none`. A plugin that fails is reported once, and skipped.
Built-in names always win; a name that two plugins claim is refused, and no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

from difftool.errors import LONGEST, DifftoolError, unknown, warn
from difftool.names import builtin
from difftool.names.plugins import (
    AXES,
    NAME,
    SAMPLING,
    TRAINING,
    Offer,
    Plugin,
    brief,
    imported,
    installed,
    remembered,
)

__all__ = ["AXES", "NAME", "SAMPLING", "TRAINING", "Entry", "Registry", "load", "registry"]

Ask = Callable[[Sequence[Plugin]], list[Offer]]


@dataclass(frozen=True)
class Entry:
    """A registered name: where it comes from (`origin`, distribution and version) and how to load it."""

    axis: str
    name: str
    target: Any  # the object, or "module:attribute"; None: ask the plugin
    plugin: str
    origin: str
    source: Plugin | None = None  # None for the built-in ones
    clash: str = ""  # why the name cannot be used

    def load(self) -> Any:
        """The object; `DifftoolError` if a lazy reference does not lead to one, or the name is claimed twice."""
        if self.clash:
            raise DifftoolError(self.clash)
        what = f"{self.axis[:-1]} {self.name!r} of {self.origin}"
        target = self.target
        if target is None:
            assert self.source is not None
            offer = self.source.offer
            target = offer.names.get(self.axis, {}).get(self.name)
            if target is None:
                reason = offer.problem or "it is no longer offered"
                raise DifftoolError(f"{what} cannot be loaded: plugin {self.plugin!r} {reason}")
        if not isinstance(target, str):
            return target
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin's module may fail in any way
            raise DifftoolError(
                f"{what} cannot be loaded from {target!r}: {brief(error)}"
            ) from error


class Registry:
    """All names of all axes; those of plugins are looked up when the first of them is needed."""

    def __init__(
        self,
        plugins: Sequence[Plugin] = (),
        problems: Iterable[str] = (),
        ask: Ask = remembered,
    ):
        self._sources, self._ask, self._problems = plugins, ask, list(problems)
        self._plugins: list[tuple[str, str, str]] = []
        self._complete = False
        self._entries: dict[str, dict[str, Entry]] = {axis: {} for axis in AXES}
        origin = f"difftool {version('difftool')}"
        self._plugins.append(("builtin", origin, builtin.__name__))
        for axis in AXES:
            for name, target in getattr(builtin, f"difftool_{axis}")().items():
                self._entries[axis][name] = Entry(axis, name, target, "builtin", origin)

    @property
    def plugins(self) -> list[tuple[str, str, str]]:
        """The name, the origin and the module of every plugin that is registered."""
        self._look()
        return self._plugins

    @property
    def problems(self) -> list[str]:
        """What is wrong with plugins."""
        self._look()
        return self._problems

    def builtin(self, axis: str) -> Mapping[str, Entry]:
        """The built-in entries of one axis by name; no plugin is looked at."""
        return {n: entry for n, entry in self._entries[axis].items() if entry.source is None}

    def axis(self, axis: str) -> Mapping[str, Entry]:
        """The entries of one axis by name."""
        self._look()
        return self._entries[axis]

    def clashes(self) -> list[Entry]:
        """The names that two plugins claim."""
        return [entry for axis in AXES for entry in self.axis(axis).values() if entry.clash]

    def has(self, axis: str, name: str) -> bool:
        """Whether there is an entry of that name; plugins are looked at only if it is not built in."""
        return name in self._entries[axis] or name in self.axis(axis)

    def find(self, axis: str, name: str) -> Entry:
        """The entry of that name; `DifftoolError` with a suggestion if there is none, or if two plugins claim it."""
        if axis not in self._entries:
            raise unknown("axis", axis, AXES)
        if not self.has(axis, name):
            raise _unknown(axis[:-1], name, self.axis(axis), axis)
        entry = self._entries[axis][name]
        if entry.clash:
            raise DifftoolError(entry.clash)
        return entry

    def find_all(self, name: str) -> list[Entry]:
        """The entries with that name on any axis other than the commands."""
        axes = [axis for axis in AXES if axis != "commands"]
        found = [self.find(axis, name) for axis in axes if name in self.axis(axis)]
        if found:
            return found
        kind = next((axis for axis in axes if name in (axis, axis[:-1])), None)
        if kind is not None:
            raise DifftoolError(
                f"{name!r} is a kind, not a name; difftool list {kind} shows the names"
            )
        known = {n for axis in axes for n in self.axis(axis)}
        raise _unknown("schedule, grid, model or sampler", name, known)

    def _look(self) -> None:
        """Register what the plugins offer."""
        if self._complete:
            return
        self._complete = True
        for plugin, offer in zip(self._sources, self._ask(self._sources), strict=True):
            if offer.problem:
                self._problems.append(
                    f"plugin {plugin.name!r} of {plugin.origin} {offer.problem}"
                )
            if offer.names or not offer.problem:
                self._plugins.append((plugin.name, plugin.origin, plugin.point.value))
            for axis, names in offer.names.items():
                for name, target in names.items():
                    self._add(Entry(axis, name, target, plugin.name, plugin.origin, plugin))
        for problem in self._problems:
            warn(problem)

    def _add(self, entry: Entry) -> None:
        """Register a plugin's name, unless it is taken."""
        what, here = f"{entry.axis[:-1]} {entry.name!r}", self._entries[entry.axis]
        taken = here.get(entry.name)
        if taken is None:
            here[entry.name] = entry
            return
        if taken.source is None:
            self._problems.append(
                f"{what} of {entry.origin} (plugin {entry.plugin!r}) is left out: difftool has one"
            )
            return
        clash = (
            f"{what} is claimed by {taken.origin} (plugin {taken.plugin!r}) and by {entry.origin} (plugin "
            f"{entry.plugin!r}); uninstall one, or list the plugins to load in DIFFTOOL_PLUGINS=name,name (or none)"
        )
        here[entry.name] = Entry(
            entry.axis, entry.name, None, taken.plugin, taken.origin, taken.source, clash
        )


@cache
def registry() -> Registry:
    """The registry of this process, made at the first call."""
    points, problems = installed()
    return load(points, os.environ.get("DIFFTOOL_PLUGINS"), problems, remembered)


def load(
    points: Iterable[EntryPoint],
    wanted: str | None = None,
    problems: Iterable[str] = (),
    ask: Ask = imported,
) -> Registry:
    """A registry with these plugins, limited to the names in `wanted` (None: all; `none` or empty: none).

    ask: how they are asked for their names; default: by importing them.
    """
    points, problems = sorted(points, key=lambda point: point.name), list(problems)
    if wanted is not None:
        allowed = {name.strip() for name in wanted.split(",")} - {"", "none", "builtin"}
        for name in sorted(allowed - {point.name for point in points}):
            problems.append(f"DIFFTOOL_PLUGINS lists {name!r}, which is not installed")
        points = [point for point in points if point.name in allowed]
    return Registry([Plugin(point) for point in points], problems, ask)


def _unknown(
    what: str, name: str, known: Iterable[str], axis: str | None = None
) -> DifftoolError:
    """The error for an unknown name, with what it is in difftool if another tool has it."""
    if len(name) > 4 * LONGEST:
        return unknown(what, name, known)
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
