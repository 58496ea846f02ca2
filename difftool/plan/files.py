"""Plans on disk: JSON, in which floats keep every bit."""

from __future__ import annotations

import json
from pathlib import Path as File
from typing import Any

from difftool.errors import DifftoolError
from difftool.files.writing import writing
from difftool.plan.plan import Plan


def save_plan(plan: Plan, file: str | File) -> None:
    """Writes a plan as JSON, to a temporary name first."""
    with writing(file) as temporary:
        temporary.write_text(plan_to_json(plan) + "\n")


def load_plan(file: str | File) -> Plan:
    """Reads a plan; `DifftoolError` for a file that is missing, truncated, foreign or of a newer version."""
    try:
        text = File(file).read_text()
    except OSError as error:
        raise DifftoolError(f"cannot read the plan {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DifftoolError(f"{file} is not a plan: no text") from None
    except ValueError as error:
        raise DifftoolError(f"{str(file)!r} is no name of a file: {error}") from None
    return plan_from_json(text, file)


def plan_to_json(plan: Plan) -> str:
    """The plan as JSON text; floats keep every bit."""
    return json.dumps(plan.to_dict())


def plan_from_json(text: str, origin: Any = "the text") -> Plan:
    """The plan in JSON text; raises as `load_plan`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DifftoolError(
            f"{origin} is not a plan: not JSON, or truncated ({error})"
        ) from None
    return Plan.from_dict(data, origin)
