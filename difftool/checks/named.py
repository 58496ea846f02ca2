"""Checks of what a spec names, as `difftool check` runs them."""

from __future__ import annotations

from difftool.checks.finding import Finding
from difftool.checks.grid import check_grid
from difftool.checks.model import check_model
from difftool.checks.sampler import check_sampler
from difftool.checks.schedule import check_schedule
from difftool.errors import DifftoolError
from difftool.names.registry import registry
from difftool.names.specs import make, options_of, parse

CHECKS = {
    "schedules": check_schedule,
    "grids": check_grid,
    "models": check_model,
    "samplers": check_sampler,
}


def check_named(spec: str) -> list[Finding]:
    """The findings for everything that a spec names; `DifftoolError` if it does not fit."""
    name, options = parse(spec)
    entries = registry().find_all(name)
    entries = [entry for entry in entries if entry.axis in CHECKS] or entries
    if options and len(entries) > 1:  # keep those that have these options
        entries = [
            e for e in entries if set(options) <= {o.name for o in options_of(e.load())}
        ] or entries[:1]
    findings = []
    for entry in entries:
        if len(entries) > 1:
            kind = f"{entry.axis[:-1]}: "
        else:
            kind = ""
        if entry.axis not in CHECKS:
            raise DifftoolError(
                f"cannot check {name!r}: {entry.axis} have no contract; "
                f"{', '.join(CHECKS)} have one"
            )
        found = CHECKS[entry.axis](make(entry.axis, spec))  # type: ignore[operator]
        findings += [finding._replace(check=kind + finding.check) for finding in found]
    return findings
