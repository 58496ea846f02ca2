"""Translation of names to and from other tools: `difftool show --as`, and `docs/names.md`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from difftool.errors import LONGEST, DifftoolError, printable
from difftool.names.atlas import ANY, Answer, Row, Tool, plain, tool, tools
from difftool.names.hints import hint
from difftool.names.registry import registry
from difftool.names.specs import make
from difftool.names.text import parse
from difftool.outputs.markdown import markdown_table

AXES = ("samplers", "grids")
# options of grids that do not change the kind of grid
OF_THE_RUN = (
    "level_min",
    "length",
    "start",
    "end",
)


_cached_make = cache(make)


def translations(name: str, text: str) -> list[dict[str, str]]:
    """Translations of a sampler, a grid or both to or from that tool, exact ones first.

    Raises `DifftoolError` for an unknown tool, and for a name that neither tool has.
    """
    of = tool(name)
    found = [(answer, answer.specs()) for answer in of.lookup(text)]
    try:
        found = [*_from_ours(of, text), *found]
    except DifftoolError:  # the tool lacks that name of difftool's
        if not found:
            raise
    if not found:
        raise _unknown(of, text)
    asked = {plain(part.partition(":")[0]) for part in _parts(text)}
    seen: dict[str, dict[str, str]] = {}
    for answer, specs in sorted(found, key=lambda pair: _distance(pair[0], asked)):
        facts = _facts(answer, specs)
        seen.setdefault(facts["theirs"], facts)
    return sorted(seen.values(), key=lambda facts: not facts["parity"].startswith("same"))


def _parts(text: str) -> list[str]:
    """The parts of the text: the sampler, the grid, or both."""
    return [part for part in re.split(r"\s*@\s*|\s+", text) if part]


def _distance(answer: Answer, asked: set[str]) -> tuple[int, int]:
    """How many names differ from what was typed: the tool's, and difftool's."""
    theirs = sum(plain(row.name.partition("(")[0]) not in asked for row in answer.rows)
    return theirs, sum(plain(row.ours.partition(":")[0]) not in asked for row in answer.rows)


def _unknown(of: Tool, text: str) -> DifftoolError:
    known = {row.name for rows in of.rows.values() for row in rows}
    known |= {name for axis in AXES for name in registry().axis(axis)}
    near: list[str] = []
    if len(text) <= LONGEST:
        near = get_close_matches(text, sorted(known), n=2)
    elsewhere = hint(None, text) or (
        f"did you mean {' or '.join(near)}?" if near else "docs/names.md lists all"
    )
    return DifftoolError(
        f"no sampler or grid {printable(text)!r} in {of.title} or here; {elsewhere}"
    )


def _facts(answer: Answer, specs: dict[str, str]) -> dict[str, str]:
    refused = _refusal(specs)
    if refused:
        specs = {}
    return {
        "tool": answer.tool.name,
        "theirs": _written(answer),
        "sampler": specs.get("samplers", ""),
        "grid": specs.get("grids", ""),
        "ours": f"difftool sample {answer.command(specs)}" if specs else "",
        "parity": f"no counterpart: {refused}" if refused else "; ".join(answer.remarks()),
    }


def _refusal(specs: Mapping[str, str]) -> str:
    """The error for specs that are not valid in difftool; empty if they are."""
    try:
        for axis, spec in specs.items():
            make(axis, spec)
    except DifftoolError as error:
        return str(error)
    return ""


def _from_ours(of: Tool, text: str) -> list[tuple[Answer, dict[str, str]]]:
    """The tool's names for a sampler, grid or `sampler@grid`; `DifftoolError` if none."""
    parts = _parts(text)
    asked = {_axis(part): part for part in parts}
    if not parts or None in asked or len(asked) < len(parts):
        return []
    rows = {axis: _rows_of(of, axis, spec) for axis, spec in asked.items() if axis}
    out = []
    for sampler, options in rows.get("samplers", [(None, {})]):
        for grid, more in rows.get("grids", [(None, {})]):
            if sampler is None or grid is None or not grid.of or sampler.head in grid.of:
                answer = Answer(
                    of, sampler, grid, {**(sampler.needs if sampler else {}), **options, **more}
                )
                out.append(
                    (answer, {**answer.specs(), **{a: spec for a, spec in asked.items() if a}})
                )
    if not out:
        raise DifftoolError(
            f"{of.title} has {parts[0]} and {parts[-1]}, but cannot combine them"
        )
    return out


def _axis(spec: str) -> str | None:
    """The axis where that name is registered: samplers or grids."""
    name = parse(spec)[0]
    return next((axis for axis in AXES if registry().has(axis, name)), None)


def _rows_of(of: Tool, axis: str, spec: str) -> list[tuple[Row, dict[str, str]]]:
    """The rows that match that sampler or grid, with the options that they need."""
    wanted = _cached_make(axis, spec)
    found = [
        (row, options)
        for row in of.rows[axis]
        if (options := _same(row, axis, wanted)) is not None
    ]
    if not found:
        near = [
            f"{row.name} is {row.ours}"
            for row in of.rows[axis]
            if parse(row.ours or "-")[0] == parse(spec)[0]
        ]
        if near:
            way_out = f"closest: {', '.join(near)}"
        else:
            way_out = "docs/names.md lists what it has"
        raise DifftoolError(f"{of.title} has no {spec}; {way_out}")
    return found


def _same(row: Row, axis: str, wanted: Any) -> dict[str, str] | None:
    """The tool's options with which the row matches `wanted`; None if there are none."""
    if row.few:
        few = [row.spec({}, few=True)]
    else:
        few = []
    for spec in (row.ours, *few, *row.also) if row.ours else ():
        usual = base = _cached_make(axis, spec)
        if type(base) is not type(wanted):
            continue
        if spec in row.also:
            takes = {}
        else:
            takes = row.taken
        free = [key for key in OF_THE_RUN if axis == "grids" and hasattr(base, key)]
        for key in {*takes.values(), *free} & {f.name for f in fields(base)}:
            base = replace(base, **{key: getattr(wanted, key)})
        if base == wanted:
            values = {
                theirs: (_meant(wanted, key), _meant(usual, key))
                for theirs, key in takes.items()
            }
            changed = {
                k: v
                for k, (v, v0) in values.items()
                if v is not None and (v != v0 or row.options.get(k) in ANY)
            }
            return {key: str(value) for key, value in changed.items()}
    return None


def _meant(thing: Any, option: str) -> Any:
    """The value of an option; an order of None is the default of its family."""
    value = getattr(thing, option)
    if option == "order" and value is None:
        return getattr(thing, "full", None)
    return value


def _written(answer: Answer) -> str:
    """What is typed in that tool."""
    names = [_with_options(row, answer.options) for row in answer.rows]
    if len(names) == 1:
        return names[0]
    call, grid = names
    if answer.tool.form == "menu":
        return answer.tool.pair.format(sampler=call, grid=grid)
    if "sigmas" in call:  # as an argument
        return call.replace("sigmas", grid, 1)
    return _with(call, grid)


def _with(text: str, option: str) -> str:
    """The call with one more option, in the constructor if `.step(...)` follows."""
    call, dot, step = text.partition(".step(")
    return f"{call[:-1]}{'' if call.endswith('()') else ', '}{option}){dot}{step}"


def _with_options(row: Row, options: Mapping[str, str]) -> str:
    """The call with the options that the row needs and takes, as Python code."""
    text = row.name
    for key, value in {**options, **row.needs}.items():
        option, value = f"{key}={literal(value)}", literal(value)
        place = re.search(rf"\b{key}(?=[,)])", text)  # a positional argument
        if row.options.get(key) in ANY:
            if not value.startswith('"'):
                text = text.replace(f"{key}={row.options[key]}", option)
        elif key in row.takes and place:
            text = text[: place.start()] + value + text[place.end() :]
        elif key in row.step:
            if ".step(" in text:
                text = f"{text[:-1]}, {option})"
            else:
                text = f"{text}.step({option})"
        elif key in row.takes or key in row.needs:
            if row.head:
                text = _with(text, option)
            else:
                text = f"{text}, {option}"
    return text


def literal(text: str) -> str:
    """A value as Python code: infinities as float("inf"), words in quotes."""
    if text.lower() in ("true", "false", "none"):
        return text.capitalize()
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if text.lstrip("-") == "inf":
            return f'float("{text}")'
        return f'"{text}"'
    return text


def page() -> str:
    """The text of `docs/names.md`."""
    return "\n\n".join([INTRODUCTION, *map(_chapter, tools().values())]) + "\n"


def _chapter(of: Tool) -> str:
    parts = [f"## {of.title}\n\n{of.about}"]
    for axis in AXES:
        answers = [
            Answer(of, row) if axis == "samplers" else Answer(of, None, row)
            for row in of.rows[axis]
        ]
        lines = [_line(answer) for answer in answers]
        parts.append(_table((f"their {axis[:-1]}", "here", "with the grid", "parity"), lines))
    if of.schedules:
        lines = [(f"`{theirs}`", f"`{ours}`") for theirs, ours in of.schedules.items()]
        parts.append(_table(("their schedule", "here"), lines))
    general = {**of.options, **of.without}
    if general:
        parts.append(
            _table(
                ("their option", "here"), [(f"`{key}`", text) for key, text in general.items()]
            )
        )
    return "\n\n".join(parts)


def _line(answer: Answer) -> tuple[str, ...]:
    (row,) = answer.rows
    options = [
        f"`{theirs}`" + f" (here `{ours}`)" * (theirs != ours)
        for theirs, ours in row.taken.items()
    ]
    remarks = [*answer.remarks(), *([f"takes {', '.join(options)}"] if options else [])]
    return (
        f"`{row.name}`",
        row.ours and f"`{row.ours}`",
        row.grid and f"`{row.grid}`",
        "; ".join(remarks),
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table without its empty columns."""
    columns = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    shown = [[row[i] for i in columns] for row in rows]
    return markdown_table([heads[i] for i in columns], shown)


INTRODUCTION = """# Names

What other tools call difftool's samplers and grids. Generated by `python docs/generate.py` from
`difftool/names/tools.toml`; `difftool show --as TOOL NAME` translates names and combinations in both directions, and
`--sampler` and `--grid` answer another tool's name with difftool's.

A combination is a sampler and a grid. All of these are `--sampler dpmpp-2m-sde --grid karras`:

- ComfyUI: `dpmpp_2m_sde` + `karras`
- A1111: `DPM++ 2M SDE Karras`
- diffusers: `DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", use_karras_sigmas=True)`
- k-diffusion: `sample_dpmpp_2m_sde(model, x, get_sigmas_karras(n, sigma_min, sigma_max))`

*same*: with the same noise levels, noise and network, the results agree up to rounding. `tests/peers` checks
this for diffusers, azula and k-diffusion. The names of ComfyUI and A1111 are functions or classes of these, or
loops that difftool's tests spell out (`tests/test_atlas.py` says which). The grids are checked in
`tests/test_grid_formulas.py` and `tests/peers/test_peers_grids.py`."""
