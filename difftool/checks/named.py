"""Checks by name."""

from __future__ import annotations

from difftool.checks.finding import Finding
from difftool.checks.model import check_model
from difftool.checks.sampler import check_sampler
from difftool.checks.schedule import check_schedule
from difftool.errors import DifftoolError
from difftool.plugins import registry
from difftool.specs import make, parse

CHECKS = {"schedules": check_schedule, "models": check_model, "samplers": check_sampler}


def check_named(spec: str) -> list[Finding]:
    """The findings for the schedule, model or sampler that a spec names; `DifftoolError` if it names none."""
    entries = [entry for entry in registry().find_all(parse(spec)[0]) if entry.axis in CHECKS]
    if not entries:
        raise DifftoolError(f"{spec!r} is a grid; there are checks for schedules, models and samplers")
    return [finding for entry in entries for finding in CHECKS[entry.axis](make(entry.axis, spec))]  # type: ignore[operator]
