"""What other tools call our samplers and grids: the table `atlas.toml`, and how a name is looked up in it.

Nothing here knows what is registered; specs are text. The table is read when the first name is asked for: by
`difftool show --as`, and by the error for an unknown name (`hints`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from difftool.errors import unknown
from difftool.spec_text import parse, write

OPTION = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|'[^']*'|\[[^]]*\]|[^,()\s]+)")
ANY = ("...", "[...]")  # values in the table that stand for any
LESS = ("differs", "distilled", "later", "none")  # what a row can be in place of the same


@dataclass(frozen=True)
class Row:
    """One name of another tool; the fields are those of the table, `parity` its key of `LESS`, else `same`."""

    name: str
    ours: str = ""
    also: tuple[str, ...] = ()
    grid: str = ""
    takes: Mapping[str, str] = field(default_factory=dict)
    step: Mapping[str, str] = field(default_factory=dict)
    of: tuple[str, ...] = ()
    like: str = ""
    flow: str = ""
    note: str = ""
    parity: str = "same"
    why: str = ""

    @property
    def head(self) -> str:
        """The class or function, or a name of a menu; empty if it is an option alone."""
        return "" if OPTION.match(self.name) else self.name.partition("(")[0]

    @property
    def options(self) -> dict[str, str]:
        """Their options that make the row what it is."""
        return given(self.name)

    @property
    def taken(self) -> dict[str, str]:
        """Their options that are ours."""
        return {**self.takes, **self.step}

    def spec(self, options: Mapping[str, str]) -> str:
        """Our spec, with those of their options that it takes."""
        if not self.ours:
            return ""
        name, own = parse(self.ours)
        return write(name, {**own, **{self.taken[key]: value for key, value in options.items() if key in self.taken}})

    def remarks(self) -> list[str]:
        """How far it is the same, and what there is to know."""
        why = {"same": "same", "none": f"nothing here: {self.why}", "distilled": f"distilled models only: {self.why}"}
        flow = f"on flow models it is {self.flow}" if self.flow else ""
        return [text for text in (why.get(self.parity, f"{self.parity}: {self.why}"), self.note, flow) if text]


@dataclass(frozen=True)
class Answer:
    """What a name of a tool is here: a sampler, a grid or both, with the options that were typed."""

    tool: Tool
    sampler: Row | None
    grid: Row | None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return [row for row in (self.sampler, self.grid) if row is not None]

    def specs(self) -> dict[str, str]:
        """Our specs by axis; the grid is the tool's own where none is named."""
        sampler = self.sampler.spec(self.options) if self.sampler else ""
        grid = self.grid.spec(self.options) if self.grid else self.sampler.grid if self.sampler and sampler else ""
        return {axis: spec for axis, spec in (("samplers", sampler), ("grids", grid)) if spec}

    def remarks(self) -> list[str]:
        """How far it is the same, and what there is to know of the rows and of the options that were typed."""
        found = [remark for row in self.rows for remark in row.remarks()]
        known = {key for row in self.rows for key in (*row.options, *row.taken)}
        rest = [key for key in self.options if key not in known]
        found += [f"{key}: {self._option(key)}" for key in rest]
        if any(row.parity != "same" for row in self.rows):
            found = [text for text in found if text != "same"]
        return list(dict.fromkeys(found))

    def _option(self, key: str) -> str:
        own = f"{self.rows[0].head}.{key}"
        return self.tool.options.get(own) or self.tool.options.get(key) or "an option that is not looked at"


@dataclass(frozen=True)
class Tool:
    """One tool: its rows by axis, and what its general options are here."""

    name: str
    title: str
    form: str  # menu: names to pick; call: classes or functions with options
    about: str
    rows: Mapping[str, tuple[Row, ...]]
    pair: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def lookup(self, text: str) -> list[Answer]:
        """What the name (of a sampler, a grid or both) is here."""
        return list(self._in_menu(text) if self.form == "menu" else self._call(text))

    def _in_menu(self, text: str) -> Iterator[Answer]:
        key = plain(re.sub(r"\s[+/,@]\s|[/,@]", " ", text))
        samplers, grids = self.rows["samplers"], self.rows["grids"]
        yield from (Answer(self, row, None) for row in samplers if plain(row.name) == key)
        yield from (Answer(self, None, row) for row in grids if plain(row.name) == key)
        both = ((row, grid) for row in samplers for grid in grids if plain(row.name + grid.name) == key)
        yield from (Answer(self, row, grid) for row, grid in both)

    def _call(self, text: str) -> Iterator[Answer]:
        words, options = {*re.findall(r"\w+", text.lower()), ""}, given(text)
        rows = {
            axis: [r for r in rows if r.head.lower() in words and fits(r, options)] for axis, rows in self.rows.items()
        }
        sampler = max(rows["samplers"], key=lambda row: len(row.options), default=None)
        grids = [row for row in rows["grids"] if not row.of or sampler is None or sampler.head in row.of]
        if sampler or grids:
            yield Answer(self, sampler, next(iter(grids), None), options)


def fits(row: Row, options: Mapping[str, str]) -> bool:
    """Whether these options make the row what it is."""
    return all(key in options and (v in ANY or _value(v) == _value(options[key])) for key, v in row.options.items())


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.lower()


def given(text: str) -> dict[str, str]:
    """The options in a call, without their quotes."""
    return {key: value.strip("\"'") for key, value in OPTION.findall(text)}


def plain(name: str) -> str:
    """A menu's name without what people write in different ways: DPM++ 2M is dpmpp_2m."""
    return re.sub(r"[\s_-]", "", name.lower().replace("+", "p"))


@cache
def tools() -> dict[str, Tool]:
    """The table, by the name of the tool."""
    text = Path(__file__).with_name("atlas.toml").read_text(encoding="utf-8")
    return {name: _tool(name, **values) for name, values in tomllib.loads(text).items()}


def _tool(name: str, about: str, lists: Mapping[str, Any] | None = None, **rest: Any) -> Tool:
    rows = {axis: tuple(_row(row, lists or {}) for row in rest.pop(axis)) for axis in ("samplers", "grids")}
    return Tool(name, about=" ".join(about.split()), rows=rows, **rest)


def _row(values: dict[str, Any], lists: Mapping[str, Any]) -> Row:
    parity = next((key for key in LESS if key in values), "same")
    rest = {key: value for key, value in values.items() if key != parity}
    rest |= {"also": tuple(rest.get("also", ())), "of": tuple(lists[rest["of"]] if "of" in rest else ())}
    return Row(**rest, parity=parity, why=values.get(parity, ""))


def tool(name: str) -> Tool:
    """The tool of that name; `DifftoolError` if there is none."""
    if name.lower() not in tools():
        raise unknown("tool", name, tools())
    return tools()[name.lower()]


def command(specs: Mapping[str, str]) -> str:
    """The options of our command line."""
    return " ".join(f"--{axis[:-1]} {spec}" for axis, spec in specs.items())
