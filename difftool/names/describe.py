"""What the registry knows of its names, as plain data: for `difftool list`, `difftool show` and the docs."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from difftool.errors import DifftoolError, unknown
from difftool.names.registry import AXES, SAMPLING, Entry, registry
from difftool.names.specs import MISSING, options_of, parse, spell, spell_value

LISTED = (*(axis for axis in AXES if axis != "commands"), "plugins")


def listing(axis: str | None = None) -> dict[str, list[dict[str, str]]]:
    """Rows of one axis, or of those of sampling and the plugins, by axis; `DifftoolError` for an unknown axis."""
    if axis is not None and axis not in LISTED:
        raise unknown("axis", axis, LISTED)
    # those of training take a second: they load torch
    wanted: tuple[str, ...] = (*SAMPLING, "plugins")
    if axis is not None:
        wanted = (axis,)
    return {name: _plugins() if name == "plugins" else _rows(name) for name in wanted}


def columns(rows: list[dict[str, str]]) -> list[str]:
    """The columns of a listing that say something: where things are from only if a plugin brought some."""
    ours = registry().builtin("commands")["list"].origin
    plain = all(row.get("from") == ours for row in rows) and not any(
        "module" in row for row in rows
    )
    return [name for name in (rows[0] if rows else ()) if not (plain and name == "from")]


def descriptions(spec: str) -> list[dict[str, Any]]:
    """All that goes by that name, one description each: text, facts, options."""
    name, options = parse(spec)
    found = [_describe(entry) for entry in registry().find_all(name)]
    if options:
        raise DifftoolError(f"show takes a name without options: {name!r} in place of {spec!r}")
    return found


def _rows(axis: str) -> list[dict[str, str]]:
    rows = []
    for name, entry in registry().axis(axis).items():
        try:
            summary = first_sentence(_text(entry.load()))
        except DifftoolError as error:
            summary = f"broken: {error}"
        rows.append({"name": name, "what": summary, "from": entry.origin})
    return rows


def first_sentence(text: str) -> str:
    """What stands before the first period that ends a word (or before the first empty line), in one line."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    end = re.search(r"(?<!e\.g)(?<!i\.e)(?<!al)(?<!eq)\.(?= |$)", paragraph)
    if end:
        return paragraph[: end.end()]
    return paragraph


def _plugins() -> list[dict[str, str]]:
    found = registry()
    rows = [
        {"name": name, "from": origin, "module": module}
        for name, origin, module in found.plugins
    ]
    for problem in found.problems:
        rows.append({"name": "(problem)", "from": problem, "module": ""})
    for entry in found.clashes():
        rows.append({"name": "(clash)", "from": entry.clash, "module": ""})
    return rows


def _describe(entry: Entry) -> dict[str, Any]:
    target = entry.load()
    facts = {}
    if entry.axis in SAMPLING and (made := python_of(target)):
        facts["in Python"] = made
    if entry.axis == "samplers":
        facts.update(_claims(target))
    if entry.axis == "schedules":
        facts.update(_domain(target))
    if entry.axis == "grids":
        facts["start, end"] = (
            "times of the schedule; none: where the run can start, and sigma = 0"
        )
    if getattr(target, "reference", ""):
        facts["reference"] = target.reference
    return {
        "name": entry.name,
        "kind": entry.axis[:-1],
        "origin": entry.origin,
        "text": _text(target),
        "facts": facts,
        "options": [
            {"name": o.name, "type": spell(o.type), "default": _default(o.default)}
            for o in options_of(target)
        ],
    }


def python_of(target: Any) -> str:
    """How a thing with its default options is made in Python; empty if it has no such defaults."""
    if isinstance(target, type):
        return f"{target.__name__}()"
    try:
        made = target()
    except (TypeError, ValueError, DifftoolError):
        return ""
    if not dataclasses.is_dataclass(made):
        return f"{target.__name__}()"
    values = {o.name: (getattr(made, o.name), o.default) for o in options_of(type(made))}
    told = ", ".join(
        f"{name}={value!r}" for name, (value, default) in values.items() if value != default
    )
    return f"{type(made).__name__}({told})"


def _claims(target: Any) -> dict[str, str]:
    """What a sampler claims with its default options; nothing if it has no such defaults."""
    try:
        sampler = target()
    except (TypeError, ValueError, DifftoolError):
        return {}
    facts = {
        "NFE per step": "chosen in the run"
        if sampler.evaluations is None
        else f"{sampler.evaluations}"
    }
    if sampler.accuracy is not None:
        facts["accuracy"] = f"order {sampler.accuracy:g}" + (
            " at zero noise" if sampler.weak_order else ""
        )
    if sampler.global_order is not None:
        facts["over a run"] = f"order {sampler.global_order:g}"
    if sampler.weak_order is not None:
        facts["weak order"] = f"{sampler.weak_order:g}"
    if sampler.stochastic:
        facts["noise"] = "stochastic"
    else:
        facts["noise"] = "deterministic"
    facts["last step"] = {"step": "a step of its own", "mean": "the mean E[x_0 | x]"}[
        sampler.last
    ]
    if sampler.divides_by_alpha:
        facts["start"] = "alpha >= 1e-3"
    else:
        facts["start"] = "pure noise is fine"
    if not sampler.batch_independent:
        facts["batch"] = "a sample depends on the others in its batch"
    return facts


def _domain(target: Any) -> dict[str, str]:
    """Where a schedule is defined, with its default options; nothing if it has no such defaults."""
    try:
        low, high = target().domain
    except (TypeError, ValueError, DifftoolError):
        return {}
    return {"domain": f"{low:g} <= t <= {high:g}"}


def _text(target: Any) -> str:
    text = target.__doc__ or ""
    # what a dataclass writes
    automatic = text.startswith(f"{getattr(target, '__name__', '')}(")
    if automatic or not text:
        return "(no description)"
    return inspect.cleandoc(text)


def _default(value: Any) -> str:
    if value is MISSING:
        return "(required)"
    return spell_value(value)
