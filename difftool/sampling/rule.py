"""The points of a run: one rule for all samplers.

The sampling schedule is the one given, else the model's own, else vp-linear. A run starts at
the end of its domain, or at alpha = 1e-3 if the sampler, the grid or the model divides by
alpha, and never above the largest noise level that the model accepts. It ends where the grid
ends, by default at sigma = 0.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from difftool.errors import DifftoolError
from difftool.errors.validation import check_kind, check_whole
from difftool.grids import Explicit, Grid, check_steps
from difftool.models.base import Model
from difftool.samplers.base import (
    Last,
    Sampler,
    grid_of,
    name_of,
    nfe_of,
    refuse_upwards,
    undefined_at,
    way_off,
)
from difftool.schedules import Path, Schedule, Shifted, VPLinear

DEFAULT_STEPS = 50
MOST_NFE = 100_000
ADAPTIVE_LEVEL = (
    1e-3  # noise level at which an adaptive solver ends with the mean, unless a grid is given
)


def make_path(
    model: Model,
    sampler: Sampler,
    *,
    steps: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    last: Last | None = None,
) -> Path:
    """The points of a run, by the rule of this module for its start and end."""
    schedule = schedule or model.schedule or VPLinear()
    check_kind("schedule", schedule, Schedule)
    if steps is not None:
        check_steps(steps)
    start = start_of(model, sampler, schedule)
    if grid is None and sampler.adaptive:
        if steps is not None:
            raise DifftoolError(
                f"{name_of(sampler)} chooses its own steps; leave the number of steps out, or give a grid"
            )
        low = schedule.t_at_level(ADAPTIVE_LEVEL)
        return Path(schedule, (start, low, schedule.domain[0]))
    if grid is None:
        grid = grid_of(sampler)
    else:
        grid = as_grid(grid)
    if steps is None:
        if grid.own_steps is None:
            steps = DEFAULT_STEPS
        else:
            steps = grid.own_steps
    grid = grid.starting(min(start, schedule.t_start(grid.needs_level)))
    if model.schedule is not None and model.schedule.lowest:
        grid = grid.down_to(model.schedule.lowest)
    path = Path(schedule, grid(schedule, steps))
    check_fit(model, sampler, path, last or sampler.last)
    return path


def check_fit(model: Model, sampler: Sampler, path: Path, last: Last) -> None:
    """Raise `DifftoolError` if the sampler or the model cannot run along the path."""
    name, needs, mean = (
        name_of(sampler),
        sampler.needs_steps,
        last == "mean" and path[-1].sigma == 0,
    )
    steps = len(path) - 1 - mean
    if 1 < needs > steps and not sampler.adaptive:
        raise DifftoolError(
            f"{name} with order {needs} needs at least {needs} steps, got {steps}{' before the mean' * mean}; give "
            f"{f'an order from 1 to {steps}, or none' if steps else 'more steps'}"
        )
    refuse_upwards(sampler, path)
    for p in (path[0], path[-1]):
        if p.alpha > 0:
            continue
        if sampler.divides_by_alpha:
            raise undefined_at(name, path, p)
        if model.divides_by_alpha and p is path[0]:
            raise DifftoolError(
                f"the model predicts the noise, which does not determine x0 at zero terminal SNR (alpha = 0), "
                f"{way_off(path, p)}, or use a model that predicts v or x0"
            )


def shifts_nothing(grid: Grid, schedule: Schedule | None, steps: int | None) -> str | None:
    """The warning about a shifted schedule that hardly changes the grid's noise levels."""
    if not isinstance(schedule, Shifted) or grid.own_steps is not None:
        return None
    n = steps or DEFAULT_STEPS
    shifted, plain = (
        [s.level(t) for t in grid(s, n)[1:-1]] for s in (schedule, schedule.schedule)
    )
    moved = [abs(math.log(a / b)) for a, b in zip(shifted, plain, strict=True)]
    if not moved or median(moved) >= 0.1 * abs(math.log(schedule.shift)):
        return None
    return (
        f"the shift of {schedule.shift:g} has no effect on the grid {grid.name}, which is defined by noise levels; use "
        f"a grid in t: uniform, normal, simple, trailing"
    )


def as_grid(grid: Grid | Sequence[float]) -> Grid:
    """A grid as it is, times as an explicit grid; `DifftoolError` if they are not numbers."""
    if isinstance(grid, str):
        check_kind("grid", grid, Grid)
    if isinstance(grid, Grid):
        return grid
    try:
        times = tuple(float(t) for t in grid)
    except (TypeError, ValueError):
        raise DifftoolError(
            f"grid must be a Grid or a sequence of times (numbers), got {grid!r}"
        ) from None
    return Explicit(times=times)


def start_of(model: Model, sampler: Sampler, schedule: Schedule) -> float:
    """The last time of `schedule` at which the sampler and the model are defined."""
    start = schedule.t_start(sampler.divides_by_alpha or model.divides_by_alpha)
    if model.schedule is None or model.schedule == schedule:
        return start
    own = model.schedule
    return min(start, schedule.t_at_level(own.level(own.t_start(model.divides_by_alpha))))


def steps_for_nfe(
    model: Model, sampler: Sampler, nfe: int, last: Last | None = None, **options: Any
) -> int:
    """The number of steps that costs exactly `nfe` network evaluations.

    A guided evaluation counts as two. Raises `DifftoolError` if there is no such number.
    """
    check_nfe(nfe)
    nfe = operator.index(nfe)
    name = name_of(sampler)
    if sampler.adaptive or sampler.evaluations is None:
        raise DifftoolError(
            f"{name} chooses its own number of evaluations; it cannot be set to nfe={nfe}"
        )

    def cost(steps: int) -> int:
        if steps < sampler.needs_steps:  # too few to run at all
            return 0
        return _cost(model, sampler, steps, last, **options) or 0

    fixed = _own_steps(options.get("grid"))
    if fixed is not None:
        near = [fixed]
    else:
        most = most_steps(cost, nfe)
        if most:
            near = [most, most + 1]
        else:
            near = [1]
    costs = {cost(steps): steps for steps in near}
    if nfe not in costs:
        listed = " or ".join(f"{c} (steps={steps})" for c, steps in costs.items())
        raise DifftoolError(
            f"{name} cannot use exactly {nfe} evaluations here; the closest: {listed}"
        )
    return costs[nfe]


def steps_within(
    model: Model,
    sampler: Sampler,
    nfe: int,
    *,
    grid: Grid | None = None,
    schedule: Schedule | None = None,
) -> int:
    """The largest number of steps that costs at most `nfe` network evaluations.

    0 if one step costs more, or if the cost depends on the state. Raises `DifftoolError` if
    sampler, grid or schedule reject that number of steps, e.g. as too few for the order.
    """

    def cost(steps: int) -> int:
        used = _cost(model, sampler, steps, grid=grid, schedule=schedule)
        if used is None:
            return nfe + 1
        return used

    def known(steps: int) -> int:
        try:
            return cost(steps)
        except DifftoolError:  # too few steps for the sampler: more may work
            return 0

    fixed = _own_steps(grid)
    if fixed is not None:
        if cost(fixed) <= nfe:
            return fixed
        return 0
    most = most_steps(known, nfe)
    if most and cost(most):
        return most
    return 0


def _cost(
    model: Model, sampler: Sampler, steps: int, last: Last | None = None, **options: Any
) -> int | None:
    """Network evaluations of a run with that many steps; None if known only after the run."""
    path = make_path(model, sampler, steps=steps, last=last, **options)
    answers = nfe_of(sampler, path, last or sampler.last)
    if answers is None:
        return None
    return answers * model.nfe


def most_steps(cost: Callable[[int], int], nfe: int) -> int:
    """The largest number of steps whose cost is at most `nfe`; 0 if one step costs more.

    An additional step never costs less, and only the first step of an upward grid is free.
    """
    return bisect_right(range(1, nfe + 2), nfe, key=cost)


def _own_steps(grid: Grid | Sequence[float] | None) -> int | None:
    """The fixed number of steps of a grid; None if it takes any number."""
    if grid is None:
        return None
    return as_grid(grid).own_steps


def check_nfe(nfe: object) -> None:
    """Raise `DifftoolError` unless nfe is a whole number of at least 1."""
    check_whole("nfe must be", nfe, 1, MOST_NFE)
