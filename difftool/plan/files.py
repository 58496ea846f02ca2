"""Plan files: JSON with bit-exact floats."""

from __future__ import annotations

import json
from pathlib import Path as File
from typing import Any

from difftool.errors import DifftoolError
from difftool.files.reading import parse_json, read_text
from difftool.files.writing import writing
from difftool.plan.plan import Plan


def save_plan(plan: Plan, file: str | File) -> None:
    """Write a plan as JSON, atomically by way of a temporary file."""
    with writing(file) as temporary:
        temporary.write_text(plan_to_json(plan) + "\n")


def load_plan(file: str | File) -> Plan:
    """Read a plan; `DifftoolError` for a missing, truncated, foreign or newer-version file."""
    text = read_text(file)
    return plan_from_json(text, file)


def plan_to_json(plan: Plan) -> str:
    """The plan as JSON text with bit-exact floats."""
    return json.dumps(plan.to_dict())


def plan_from_json(text: str, origin: Any = "the text") -> Plan:
    """The plan from JSON text; raises like `load_plan`."""
    try:
        data = parse_json(text)
    except ValueError as error:
        raise DifftoolError(
            f"{origin} is not a plan: not JSON, or truncated ({error})"
        ) from None
    return Plan.from_dict(data, origin)
