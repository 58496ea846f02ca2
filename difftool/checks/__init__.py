"""The contract that every schedule, grid, model and sampler must meet, built in or yours.

from difftool.checks import check_sampler

assert all(finding.ok for finding in check_sampler(MySampler()))
"""

from difftool.checks.finding import Finding
from difftool.checks.grid import check_grid
from difftool.checks.model import check_model
from difftool.checks.named import check_named
from difftool.checks.sampler import check_sampler
from difftool.checks.schedule import check_schedule

__all__ = [
    "Finding",
    "check_grid",
    "check_model",
    "check_named",
    "check_sampler",
    "check_schedule",
]
