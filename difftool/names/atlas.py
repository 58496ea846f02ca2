"""Names of samplers and grids in other tools: the table `tools.toml`, and lookups in it.

This module does not know what is registered; specs are text. The table is read at the first
lookup: by `difftool show --as`, or by the error for an unknown name (`hints`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from difftool.errors import DifftoolError, unknown
from difftool.names.text import parse, write

OPTION = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|'[^']*'|\[[^]]*\]|float\([^()]*\)|[^,()\s]+)")
ANY = ("...", "[...]")  # values in the table that stand for any value
FEW = 15  # from this many steps on, diffusers' lower_order_final has no effect
LESS = ("differs", "distilled", "later", "none")  # what a row can be instead of `same`


@dataclass(frozen=True)
class Row:
    """One name of another tool: a row of the table; parity: its key of `LESS`, or `same`."""

    name: str
    ours: str = ""
    also: tuple[str, ...] = ()
    few: str = ""
    grid: str = ""
    noise: str = ""
    last: str = ""
    upwards: bool = False
    endings: tuple[str, ...] = ()
    takes: Mapping[str, str] = field(default_factory=dict)
    step: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    like: str = ""
    flow: str = ""
    note: str = ""
    parity: str = "same"
    why: str = ""

    @property
    def head(self) -> str:
        """The class, function or menu entry; empty if the row is only an option."""
        if OPTION.match(self.name):
            return ""
        return self.name.partition("(")[0]

    @property
    def options(self) -> dict[str, str]:
        """The tool's options that define the row."""
        return given(self.name)

    @property
    def taken(self) -> dict[str, str]:
        """The tool's options that map to options of difftool."""
        return {**self.takes, **self.step}

    @property
    def looked_at(self) -> set[str]:
        """All of the tool's options that the row accounts for."""
        return {*self.options, *self.taken, *self.needs, *self.idle}

    def spec(self, options: Mapping[str, str], few: bool = False, flow: bool = False) -> str:
        """The spec, given the tool's options; few: below 15 steps; flow: on flow models."""
        if not self.ours:
            return ""
        name, own = parse(self.flow if flow and self.flow else self.ours)
        taken = {self.taken[key]: value for key, value in options.items() if key in self.taken}
        return write(name, {**own, **(given(self.few) if few else {}), **taken})

    @property
    def verdict(self) -> str:
        """Whether it is the same, and if not, why."""
        why = {
            "same": "same",
            "none": f"no counterpart: {self.why}",
            "distilled": f"distilled models only: {self.why}",
            "later": f"not yet: {self.why}",
        }
        return why.get(self.parity, f"{self.parity}: {self.why}")

    @property
    def notes(self) -> list[str]:
        """Further remarks."""
        out = []
        if self.noise:
            out.append(f"with {self.noise} noise")
        if self.few:
            out.append(f"below {FEW} steps add {self.few}")
        if self.last:
            out.append(f"its last step is the {self.last}: --last {self.last}")
        if self.upwards:
            out.append("it encodes: in difftool, on a grid that runs upwards")
        if self.endings:
            out.append("its steps are function evaluations, as in --nfe")
        if self.note:
            out.append(self.note)
        if self.flow:
            out.append(f"on flow models it is {self.flow}")
        return out


@dataclass(frozen=True)
class Answer:
    """What a tool's name stands for: a sampler, a grid or both, with non-default options."""

    tool: Tool
    sampler: Row | None = None
    grid: Row | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return [row for row in (self.sampler, self.grid) if row is not None]

    def specs(self, few: bool = False, flow: bool = False) -> dict[str, str]:
        """Specs by axis, see `Row.spec`; the tool's own grid if the name has none."""
        if self.sampler:
            sampler = self.sampler.spec(self.options, few, flow)
        else:
            sampler = ""
        if self.sampler and sampler:
            usual = self.sampler.grid
        else:
            usual = ""
        if self.grid:
            grid = self.grid.spec(self.options, flow=flow)
        else:
            grid = usual
        return {axis: spec for axis, spec in (("samplers", sampler), ("grids", grid)) if spec}

    def run(self, specs: Mapping[str, str]) -> dict[str, str]:
        """The options of difftool's command line, by name."""
        rest = [
            (name, value)
            for row in self.rows
            for name in ("noise", "last")
            if (value := getattr(row, name))
        ]
        return dict([*((axis[:-1], spec) for axis, spec in specs.items()), *rest])

    def command(self, specs: Mapping[str, str]) -> str:
        """The options of difftool's command line, as text."""
        return " ".join(f"--{name} {value}" for name, value in self.run(specs).items())

    @property
    def needs(self) -> list[str]:
        """Options that were not given, but without which it is not the same."""
        wanted = {key: value for row in self.rows for key, value in row.needs.items()}
        return [
            f"{key}={v}"
            for key, v in wanted.items()
            if _value(self.options.get(key, "")) != _value(v)
        ]

    @property
    def without(self) -> list[str]:
        """Given options that change the result and have no counterpart in the specs."""
        if self.specs():
            rest = self._rest()
        else:
            rest = []
        return [
            f"{key}={self.options[key]}" for key in rest if not self._of(self.tool.options, key)
        ]

    @property
    def elsewhere(self) -> list[str]:
        """Given options that belong to the schedule, model or run here, with explanations."""
        texts = {key: self._of(self.tool.options, key) for key in self._rest()}
        return [f"{key} is {text}" for key, text in texts.items() if text]

    def remarks(self) -> list[str]:
        """Whether it is the same, and remarks on the rows and on the given options."""
        found = [row.verdict for row in self.rows if row.parity != "same"]
        found += [f"differs: without {', '.join(self.without)}"] if self.without else []
        if self.needs:
            needs = f"with {', '.join(self.needs)}"
        else:
            needs = ""
        if found:
            found = [*found, needs]
        else:
            found = [f"same {needs}".strip()]
        found += [note for row in self.rows for note in row.notes]
        texts = {
            key: self._of({**self.tool.without, **self.tool.options}, key)
            for key in self._rest()
        }
        found += [f"{key}: {text}" for key, text in texts.items() if text]
        return [text for text in dict.fromkeys(found) if text]

    def _rest(self) -> list[str]:
        """Given options that no row accounts for."""
        known = set().union(*(row.looked_at for row in self.rows))
        return [key for key in self.options if key not in known]

    def _of(self, table: Mapping[str, str], key: str) -> str | None:
        return table.get(f"{self.rows[0].head}.{key}") or table.get(key)


@dataclass(frozen=True)
class Tool:
    """One tool: its rows by axis, and what its general options are in difftool."""

    name: str
    title: str
    form: str  # menu: a list of names; call: classes or functions with options
    about: str
    rows: Mapping[str, tuple[Row, ...]]
    pair: str = ""
    schedules: Mapping[str, str] = field(default_factory=dict)  # difftool's, by the tool's name
    # options of the schedule, the model or the run
    options: Mapping[str, str] = field(default_factory=dict)
    # options of the sampler or the grid that no row has
    without: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)  # by option, or CLASS.option

    def lookup(self, text: str) -> list[Answer]:
        """What a name stands for; `DifftoolError` for two samplers or two grids."""
        return list(self._in_menu(text) if self.form == "menu" else self._call(text))

    def _in_menu(self, text: str) -> Iterator[Answer]:
        key = plain(re.sub(r"\s[+/,@]\s|[/,@]", " ", text))
        samplers, grids = self.rows["samplers"], self.rows["grids"]
        yield from (Answer(self, row, None) for row in samplers if plain(row.name) == key)
        yield from (Answer(self, None, row) for row in grids if plain(row.name) == key)
        both = (
            (row, grid)
            for row in samplers
            for grid in grids
            if plain(row.name + grid.name) == key
        )
        yield from (Answer(self, row, grid) for row, grid in both)

    def _call(self, text: str) -> Iterator[Answer]:
        heads = {axis: self._head(axis, text) for axis in self.rows}
        usual = {
            key: self.default(key, *heads.values()) for key in {*map(_last, self.defaults)}
        }
        typed = {
            key: v
            for key, v in given(text).items()
            if _value(v) != _value(usual.get(key) or "")
        }
        self._spelled(typed)
        fit = {
            axis: [r for r in rows if fits(r, typed, usual)] for axis, rows in self.rows.items()
        }
        samplers = [row for row in fit["samplers"] if row.head == heads["samplers"]]
        sampler = max(samplers, key=lambda row: len(row.options), default=None)
        grids = [
            row
            for row in fit["grids"]
            if row.head == heads["grids"] and (row.head or row.looked_at & {*typed})
        ]
        grids = [
            row for row in grids if not row.of or sampler is None or sampler.head in row.of
        ]
        if sampler or grids:
            yield Answer(self, sampler, next(iter(grids), None), typed)

    def _head(self, axis: str, text: str) -> str:
        """The class or function of that axis in the text; empty if there is none."""
        words = {*re.findall(r"\w+", text.lower())}
        heads = [
            head
            for head in dict.fromkeys(row.head for row in self.rows[axis])
            if head.lower() in words
        ]
        if len(heads) > 1:
            raise DifftoolError(
                f"{' and '.join(heads)} are {len(heads)} {axis} of {self.title}; look up one at a time"
            )
        if heads:
            return heads[0]
        return ""

    def _spelled(self, options: Mapping[str, str]) -> None:
        """Raise `DifftoolError` for an option that looks like a misspelled one of the table."""
        rows = (row for rows in self.rows.values() for row in rows)
        known = {*map(_last, (*self.options, *self.without, *self.defaults))}.union(
            *(row.looked_at for row in rows)
        )
        for key in options.keys() - known:
            if get_close_matches(key, known, n=1, cutoff=0.95):
                raise unknown(f"option of {self.title} named", key, known)

    def default(self, key: str, *heads: str) -> str | None:
        """The default of an option of a class or function; None if the table has none."""
        named = [head for head in heads if head]
        own = (self.defaults.get(f"{head}.{key}") for head in named)
        return next(filter(None, own), self.defaults.get(key) if named else None)


def fits(row: Row, options: Mapping[str, str], usual: Mapping[str, str | None]) -> bool:
    """Whether these options, and the defaults of the others, match the row."""
    return all(
        key in options
        if v in ANY
        else _value(v) == _value(options.get(key) or usual.get(key) or "")
        for key, v in row.options.items()
    )


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.lower()


def given(text: str) -> dict[str, str]:
    """The options in a call, with quotes removed."""
    return {
        key: re.sub(r"^float\((.*)\)$", r"\1", value).strip("\"'")
        for key, value in OPTION.findall(text)
    }


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def plain(name: str) -> str:
    """A menu entry in a normalized spelling: DPM++ 2M is dpmpp_2m."""
    return re.sub(r"[\s_-]", "", name.lower().replace("+", "p"))


@cache
def tools() -> dict[str, Tool]:
    """The table, by name of the tool."""
    text = Path(__file__).with_name("tools.toml").read_text(encoding="utf-8")
    return {name: _tool(name, **values) for name, values in tomllib.loads(text).items()}


def _tool(name: str, about: str, lists: Mapping[str, Any] | None = None, **rest: Any) -> Tool:
    rows = {
        axis: tuple(_row(row, lists or {}) for row in rest.pop(axis))
        for axis in ("samplers", "grids")
    }
    defaults = {key: str(value) for key, value in rest.pop("defaults", {}).items()}
    return Tool(name, about=" ".join(about.split()), rows=rows, defaults=defaults, **rest)


def _row(values: dict[str, Any], lists: Mapping[str, Any]) -> Row:
    parity = next((key for key in LESS if key in values), "same")
    rest = {key: value for key, value in values.items() if key != parity}
    rest |= {key: tuple(rest.get(key, ())) for key in ("also", "idle", "endings")}
    rest |= {"of": tuple(lists[rest["of"]] if "of" in rest else ())}
    return Row(**rest, parity=parity, why=values.get(parity, ""))


def tool(name: str) -> Tool:
    """The tool of that name; `DifftoolError` if there is none."""
    if name.lower() not in tools():
        raise unknown("tool", name, tools())
    return tools()[name.lower()]
