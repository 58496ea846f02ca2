"""Our names in another tool's words and back: for `difftool show --as`, and the page `docs/names.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from difftool.atlas import ANY, Answer, Row, Tool, command, tool, tools
from difftool.errors import DifftoolError
from difftool.hints import hint
from difftool.plugins import registry
from difftool.spec_text import parse
from difftool.specs import make, spell_value

AXES = ("samplers", "grids")
OF_THE_RUN = ("level_min", "length", "start", "end")  # options of grids that are not the grid's kind


_made = cache(make)


def translations(name: str, text: str) -> list[dict[str, str]]:
    """What a name (of a sampler, a grid or both) is in that tool, or what the tool's name is here; the same ones first.

    Raises `DifftoolError` for an unknown tool, and where neither we nor the tool have that name.
    """
    of = tool(name)
    found = [_facts(answer, answer.specs()) for answer in of.lookup(text)]
    try:
        found = [*_from_ours(of, text), *found]
    except DifftoolError:  # the tool does not have that of ours
        if not found:
            raise
    if not found:
        raise _unknown(of, text)
    seen: dict[str, dict[str, str]] = {}
    for facts in sorted(found, key=lambda facts: not facts["parity"].startswith("same")):
        seen.setdefault(facts["theirs"], facts)
    return list(seen.values())


def _unknown(of: Tool, text: str) -> DifftoolError:
    known = {row.name for rows in of.rows.values() for row in rows}
    known |= {name for axis in AXES for name in registry().axis(axis)}
    near = get_close_matches(text, sorted(known), n=2)
    elsewhere = hint(None, text) or (f"did you mean {' or '.join(near)}?" if near else "docs/names.md lists them")
    return DifftoolError(f"no sampler or grid {text!r} in {of.title} or here; {elsewhere}")


def _facts(answer: Answer, specs: dict[str, str]) -> dict[str, str]:
    return {
        "tool": answer.tool.name,
        "theirs": _written(answer),
        "sampler": specs.get("samplers", ""),
        "grid": specs.get("grids", ""),
        "ours": f"difftool sample {command(specs)}" if specs else "",
        "parity": "; ".join(answer.remarks()),
    }


def _from_ours(of: Tool, text: str) -> list[dict[str, str]]:
    """The tool's names for a sampler, a grid, or `sampler@grid` of ours; `DifftoolError` if we have it and they not."""
    parts = [part for part in re.split(r"\s*@\s*|\s+", text) if part]
    asked = {_axis(part): part for part in parts}
    if None in asked or len(asked) < len(parts):
        return []
    rows = {axis: _rows_of(of, axis, spec) for axis, spec in asked.items() if axis}
    out = []
    for sampler, options in rows.get("samplers", [(None, {})]):
        for grid, more in rows.get("grids", [(None, {})]):
            if sampler is None or grid is None or not grid.of or sampler.head in grid.of:
                answer = Answer(of, sampler, grid, {**options, **more})
                out.append(_facts(answer, {**answer.specs(), **{a: spec for a, spec in asked.items() if a}}))
    if not out:
        raise DifftoolError(f"{of.title} has {parts[0]} and {parts[-1]}, but not together")
    return out


def _axis(spec: str) -> str | None:
    """Where that name is registered: samplers or grids."""
    name = parse(spec)[0]
    return next((axis for axis in AXES if name in registry().axis(axis)), None)


def _rows_of(of: Tool, axis: str, spec: str) -> list[tuple[Row, dict[str, str]]]:
    """The rows that are that sampler or grid, with the options that they need for it."""
    wanted = _made(axis, spec)
    found = [(row, options) for row in of.rows[axis] if (options := _same(row, axis, wanted)) is not None]
    if not found:
        near = [f"{row.name} is {row.ours}" for row in of.rows[axis] if parse(row.ours or "-")[0] == parse(spec)[0]]
        raise DifftoolError(f"{of.title} has no {spec}" + (f"; nearest: {', '.join(near)}" if near else ""))
    return found


def _same(row: Row, axis: str, wanted: Any) -> dict[str, str] | None:
    """Their options with which the row is that thing of ours; None if it is not."""
    for spec in (row.ours, *row.also) if row.ours else ():
        base = _made(axis, spec)
        if type(base) is not type(wanted):
            continue
        takes = row.taken if spec == row.ours else {}
        free = [key for key in OF_THE_RUN if axis == "grids" and hasattr(base, key)]
        for key in {*takes.values(), *free} & {f.name for f in fields(base)}:
            base = replace(base, **{key: getattr(wanted, key)})
        if base == wanted:
            plain = _made(axis, spec)
            values = {theirs: (getattr(wanted, key), getattr(plain, key)) for theirs, key in takes.items()}
            return {k: spell_value(v) for k, (v, usual) in values.items() if v != usual or row.options.get(k) in ANY}
    return None


def _written(answer: Answer) -> str:
    """What is typed there."""
    names = [_with_options(row, answer.options) for row in answer.rows]
    if len(names) == 1:
        return names[0]
    call, grid = names
    if answer.tool.form == "menu":
        return answer.tool.pair.format(sampler=call, grid=grid)
    if "sigmas" in call:  # an argument
        return call.replace("sigmas", grid, 1)
    return call.replace("()", f"({grid})", 1) if "()" in call else call.replace(")", f", {grid})", 1)


def _with_options(row: Row, options: Mapping[str, str]) -> str:
    """The call with the options that the row takes."""
    text = row.name
    for key, value in options.items():
        place = re.search(rf"\b{key}(?=[,)])", text)  # an argument by position
        if row.options.get(key) in ANY:
            text = text.replace(f"{key}={row.options[key]}", f"{key}={value}")
        elif key in row.takes and place:
            text = text[: place.start()] + value + text[place.end() :]
        elif key in row.takes and not row.head:
            text += f", {key}={value}"
        elif key in row.takes:
            text = text[:-1] + ("" if text.endswith("()") else ", ") + f"{key}={value})"
        elif key in row.step:
            text = f"{text[:-1]}, {key}={value})" if ".step(" in text else f"{text}.step({key}={value})"
    return text


def page() -> str:
    """`docs/names.md`."""
    return "\n\n".join([INTRODUCTION, *map(_chapter, tools().values())]) + "\n"


def _chapter(of: Tool) -> str:
    parts = [f"## {of.title}\n\n{of.about}"]
    for axis in AXES:
        lines = [_line(row) for row in of.rows[axis]]
        parts.append(_table((f"their {axis[:-1]}", "here", "with the grid", "parity"), lines))
    if of.options:
        parts.append(_table(("their option", "here"), [(f"`{key}`", text) for key, text in of.options.items()]))
    return "\n\n".join(parts)


def _line(row: Row) -> tuple[str, ...]:
    options = [f"`{theirs}`" + f" is our `{ours}`" * (theirs != ours) for theirs, ours in row.taken.items()]
    remarks = [*row.remarks(), *([f"takes {', '.join(options)}"] if options else [])]
    return f"`{row.name}`", row.ours and f"`{row.ours}`", row.grid and f"`{row.grid}`", "; ".join(remarks)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of markdown, without the columns that are empty."""
    columns = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    lines = [[heads[i] for i in columns], ["---"] * len(columns), *([row[i] for i in columns] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


INTRODUCTION = """# Names

What other tools call our samplers and grids. Generated by `python docs/generate.py` from `difftool/atlas.toml`;
`difftool show --as TOOL NAME` looks names up in both directions, combinations too, and a name of another tool typed
after `--sampler` or `--grid` is answered with ours.

A combination is a sampler and a grid. All of these are `--sampler dpmpp-2m-sde --grid karras`:

- ComfyUI: `dpmpp_2m_sde` + `karras`
- A1111: `DPM++ 2M SDE Karras`
- diffusers: `DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", use_karras_sigmas=True)`
- k-diffusion: `sample_dpmpp_2m_sde(model, x, get_sigmas_karras(n, sigma_min, sigma_max))`

*same*: on the same noise levels, with the same noises and the same network, both end in the same place to rounding.
Tested in `tests/peers` for diffusers, azula and k-diffusion; the names of ComfyUI and A1111 are functions or classes of
these, or loops that tests of ours spell (`tests/test_atlas.py` says which); the grids in `tests/test_grid_formulas.py`
and `tests/peers/test_peers_grids.py`."""
