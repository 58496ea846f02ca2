"""What makes a grid a grid."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from difftool.checks.finding import Finding, holds
from difftool.errors import DifftoolError
from difftool.grids import Grid
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, Schedule, VPLinear

SCHEDULES: tuple[Schedule, ...] = (VPLinear(), DDPMLinear(), Cosine(), VE(), Flow())


def check_grid(grid: Grid) -> list[Finding]:
    """The contract of a grid, on every built-in schedule.

    `steps + 1` times for 1, 2, 3, 10 and 1000 steps, strictly falling and in the domain, from the start to the end of
    the run exactly (`own_start`: from the start at the latest); the same twice. A grid with steps of its own
    (`own_steps`) is asked for those, and its ends may be its own. A grid that by nature has no 1000 steps may refuse
    them with a `DifftoolError` that says so.
    """
    return [
        holds(
            "steps + 1 times, strictly falling", "1 to 1000 steps", lambda: _all(grid, _falling)
        ),
        holds("from the start to the end exactly", "both", lambda: _all(grid, _ends)),
        holds("the same times twice", "equal", lambda: _all(grid, _same)),
    ]


def _all(grid: Grid, law: Callable[[Grid, Schedule, int], None]) -> str:
    if grid.own_steps is None:
        counts = [1, 2, 3, 10, 1000]
    else:
        counts = [grid.own_steps]
    for schedule in SCHEDULES:
        for steps in counts:
            try:
                law(grid.starting(schedule.t_start(grid.needs_level)), schedule, steps)
            except DifftoolError as error:
                if steps < 1000 or "1000" not in str(error):
                    raise
    return f"{len(SCHEDULES)} schedules"


def _falling(grid: Grid, schedule: Schedule, steps: int) -> None:
    times = grid(schedule, steps)
    where = f"{steps} steps on {schedule!r}"
    assert len(times) == steps + 1, f"{len(times)} times for {where}"
    low, high = schedule.domain
    if grid.own_steps is not None:
        low, high = min(times), max(times)
    assert all(low <= t <= high for t in times), f"outside the domain with {where}"
    rising = times[0] < times[-1]
    assert all((a < b) == rising and a != b for a, b in pairwise(times)), (
        f"not strictly falling with {where}"
    )


def _ends(grid: Grid, schedule: Schedule, steps: int) -> None:
    times = grid(schedule, steps)
    for name, given, default, t in (
        ("start", grid.start, schedule.t_start(grid.needs_level), times[0]),
        ("end", grid.end, schedule.domain[0], times[-1]),
    ):
        if given is None:
            wanted = default
        else:
            wanted = given
        own = name == "start" and grid.own_start and schedule.domain[0] < t <= wanted
        assert t == wanted or own or grid.own_steps is not None, (
            f"{name} at {t!r}, expected {wanted!r} on {schedule!r}"
        )


def _same(grid: Grid, schedule: Schedule, steps: int) -> None:
    assert grid(schedule, steps) == grid(schedule, steps)
