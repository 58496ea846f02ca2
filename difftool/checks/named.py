"""Checks by name."""

from __future__ import annotations

from difftool.checks.finding import Finding
from difftool.checks.grid import check_grid
from difftool.checks.model import check_model
from difftool.checks.sampler import check_sampler
from difftool.checks.schedule import check_schedule
from difftool.plugins import registry
from difftool.specs import make, options_of, parse

CHECKS = {"schedules": check_schedule, "grids": check_grid, "models": check_model, "samplers": check_sampler}


def check_named(spec: str) -> list[Finding]:
    """The findings for all that a spec names; `DifftoolError` if it names nothing, or has options that do not fit."""
    name, options = parse(spec)
    entries = registry().find_all(name)
    if options and len(entries) > 1:  # those that the options are of
        entries = [e for e in entries if set(options) <= {o.name for o in options_of(e.load())}] or entries[:1]
    findings = []
    for entry in entries:
        kind = f"{entry.axis[:-1]}: " if len(entries) > 1 else ""
        found = CHECKS[entry.axis](make(entry.axis, spec))  # type: ignore[operator]
        findings += [finding._replace(check=kind + finding.check) for finding in found]
    return findings
