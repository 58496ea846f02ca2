"""Descriptions of registered names as plain data: for `difftool list`, `show` and the docs."""

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
    """Rows by axis: of one axis, or of all sampling axes and the plugins.

    Raises `DifftoolError` for an unknown axis.
    """
    if axis is not None and axis not in LISTED:
        raise unknown("axis", axis, LISTED)
    # not those of training: they load torch, which takes a second
    wanted: tuple[str, ...] = (*SAMPLING, "plugins")
    if axis is not None:
        wanted = (axis,)
    return {name: _plugins() if name == "plugins" else _rows(name) for name in wanted}


def columns(rows: list[dict[str, str]]) -> list[str]:
    """The informative columns of a listing: `from` only if some rows come from a plugin."""
    ours = registry().builtin("commands")["list"].origin
    plain = all(row.get("from") == ours for row in rows) and not any(
        "module" in row for row in rows
    )
    return [name for name in (rows[0] if rows else ()) if not (plain and name == "from")]


def descriptions(spec: str) -> list[dict[str, Any]]:
    """A description of everything with that name: text, facts, options."""
    name, options = parse(spec)
    found = [_describe(entry) for entry in registry().find_all(name)]
    if options:
        raise DifftoolError(f"show takes a name without options, got {spec!r}; use {name!r}")
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
    """The text up to the first full stop (or the first empty line), on one line."""
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
    if entry.axis in SAMPLING and (call := python_of(target)):
        facts["in Python"] = call
    if entry.axis == "samplers":
        facts.update(_claims(target))
    if entry.axis == "schedules":
        facts.update(_domain(target))
    if entry.axis == "grids":
        facts["start, end"] = (
            "times of the schedule; default: where the run can start, and sigma = 0"
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
    """The Python call that creates it with default options; empty if an option is required."""
    if isinstance(target, type):
        return f"{target.__name__}()"
    try:
        instance = target()
    except (TypeError, ValueError, DifftoolError):
        return ""
    if not dataclasses.is_dataclass(instance):
        return f"{target.__name__}()"
    values = {
        o.name: (getattr(instance, o.name), o.default) for o in options_of(type(instance))
    }
    arguments = ", ".join(
        f"{name}={value!r}" for name, (value, default) in values.items() if value != default
    )
    return f"{type(instance).__name__}({arguments})"


def _claims(target: Any) -> dict[str, str]:
    """What a sampler claims with its default options; empty if an option is required."""
    try:
        sampler = target()
    except (TypeError, ValueError, DifftoolError):
        return {}
    facts = {
        "NFE per step": "chosen during the run"
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
    facts["last step"] = {"step": "a step of the sampler", "mean": "the mean E[x_0 | x]"}[
        sampler.last
    ]
    if sampler.divides_by_alpha:
        facts["start"] = "alpha >= 1e-3"
    else:
        facts["start"] = "pure noise is allowed"
    if not sampler.batch_independent:
        facts["batch"] = "a sample depends on the others in its batch"
    return facts


def _domain(target: Any) -> dict[str, str]:
    """The domain of a schedule with default options; empty if an option is required."""
    try:
        low, high = target().domain
    except (TypeError, ValueError, DifftoolError):
        return {}
    return {"domain": f"{low:g} <= t <= {high:g}"}


def _text(target: Any) -> str:
    text = target.__doc__ or ""
    # the docstring that dataclass generates
    automatic = text.startswith(f"{getattr(target, '__name__', '')}(")
    if automatic or not text:
        return "(no description)"
    return inspect.cleandoc(text)


def _default(value: Any) -> str:
    if value is MISSING:
        return "(required)"
    return spell_value(value)
