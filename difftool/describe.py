"""What the registry knows of its names, as plain data: for `difftool list`, `difftool show` and the docs."""

from __future__ import annotations

import inspect
from typing import Any

from difftool.errors import DifftoolError, unknown
from difftool.plugins import AXES, Entry, registry
from difftool.specs import MISSING, options_of, spell

LISTED = (*(axis for axis in AXES if axis != "commands"), "plugins")


def listing(axis: str | None = None) -> dict[str, list[dict[str, str]]]:
    """Rows of every axis (or of one), by axis; `DifftoolError` for an unknown axis."""
    if axis is not None and axis not in LISTED:
        raise unknown("list", axis, LISTED)
    return {name: _plugins() if name == "plugins" else _rows(name) for name in LISTED if axis in (None, name)}


def descriptions(name: str) -> list[dict[str, Any]]:
    """All that goes by that name, one description each: text, facts, options."""
    return [_describe(entry) for entry in registry().find_all(name)]


def _rows(axis: str) -> list[dict[str, str]]:
    rows = []
    for name, entry in registry().axis(axis).items():
        try:
            summary = _text(entry.load()).split("\n\n")[0].replace("\n", " ")
        except DifftoolError as error:
            summary = f"broken: {error}"
        rows.append({"name": name, "what": summary, "from": entry.origin})
    return rows


def _plugins() -> list[dict[str, str]]:
    found = registry()
    rows = [{"name": name, "from": origin, "module": module} for name, origin, module in found.plugins]
    return rows + [{"name": "(skipped)", "from": problem, "module": ""} for problem in found.problems]


def _describe(entry: Entry) -> dict[str, Any]:
    target = entry.load()
    facts = {}
    if entry.axis == "samplers":
        facts.update(_claims(target))
    if getattr(target, "reference", ""):
        facts["reference"] = target.reference
    return {
        "name": entry.name,
        "kind": entry.axis[:-1],
        "origin": entry.origin,
        "text": _text(target),
        "facts": facts,
        "options": [
            {"name": o.name, "type": spell(o.type), "default": _default(o.default)} for o in options_of(target)
        ],
    }


def _claims(target: Any) -> dict[str, str]:
    """What a sampler claims, with its default options."""
    sampler = target()
    facts = {"NFE per step": "chosen in the run" if sampler.evaluations is None else f"{sampler.evaluations}"}
    if sampler.accuracy is not None:
        facts["accuracy"] = f"order {sampler.accuracy:g}" + (" at zero noise" if sampler.weak_order else "")
    if sampler.weak_order is not None:
        facts["weak order"] = f"{sampler.weak_order:g}"
    facts["noise"] = "stochastic" if sampler.stochastic else "deterministic"
    facts["last step"] = {"step": "a step of its own", "mean": "the mean E[x_0 | x]"}[sampler.last]
    facts["start"] = "alpha >= 1e-3" if sampler.divides_by_alpha else "pure noise is fine"
    if not sampler.batch_independent:
        facts["batch"] = "a sample depends on the others in its batch"
    return facts


def _text(target: Any) -> str:
    return inspect.cleandoc(target.__doc__ or "(no description)")


def _default(value: Any) -> str:
    if value is MISSING:
        return "(required)"
    return "none" if value is None else str(value)
