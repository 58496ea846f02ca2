"""The contract of time grids."""

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

    For 1, 2, 3, 10 and 1000 steps: `steps + 1` times, strictly decreasing, within the domain,
    from exactly the start to exactly the end of the run, and the same when called again. With
    `own_start` the first time may be later than the start. A grid with a fixed number of steps
    (`own_steps`) is checked for that number only, and may choose its own ends. A grid that
    cannot have 1000 steps may refuse them with a `DifftoolError` that says so.
    """
    return [
        holds(
            "steps + 1 times, strictly decreasing",
            "1 to 1000 steps",
            lambda: _all(grid, _falling),
        ),
        holds("exact start and end of the run", "both", lambda: _all(grid, _ends)),
        holds("reproducible: the same times twice", "equal", lambda: _all(grid, _same)),
    ]


def _all(grid: Grid, check: Callable[[Grid, Schedule, int], None]) -> str:
    if grid.own_steps is None:
        counts = [1, 2, 3, 10, 1000]
    else:
        counts = [grid.own_steps]
    for schedule in SCHEDULES:
        for steps in counts:
            try:
                check(grid.starting(schedule.t_start(grid.needs_level)), schedule, steps)
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
    assert all(low <= t <= high for t in times), f"a time outside the domain for {where}"
    rising = times[0] < times[-1]
    assert all((a < b) == rising and a != b for a, b in pairwise(times)), (
        f"not strictly decreasing for {where}"
    )


def _ends(grid: Grid, schedule: Schedule, steps: int) -> None:
    times = grid(schedule, steps)
    for name, chosen, default, t in (
        ("start", grid.start, schedule.t_start(grid.needs_level), times[0]),
        ("end", grid.end, schedule.domain[0], times[-1]),
    ):
        if chosen is None:
            wanted = default
        else:
            wanted = chosen
        own = name == "start" and grid.own_start and schedule.domain[0] < t <= wanted
        assert t == wanted or own or grid.own_steps is not None, (
            f"{name} is {t!r}, expected {wanted!r} on {schedule!r}"
        )


def _same(grid: Grid, schedule: Schedule, steps: int) -> None:
    assert grid(schedule, steps) == grid(schedule, steps)
