"""Which combinations cannot work, and why: decided here, where sampler, schedule, grid and model meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from difftool.errors import DifftoolError
from difftool.grids import FlowGrid, Grid
from difftool.samplers.base import Last, Sampler, name_of, refuse_upwards, undefined_at, way_off
from difftool.schedules import Path

if TYPE_CHECKING:  # torch
    from difftool.models.base import Model

NOISE = ("eta", "tau", "churn", "s_noise", "noise")  # options of stochastic samplers


def check_fit(model: Model, sampler: Sampler, path: Path, last: Last) -> None:
    """Raise `DifftoolError` with the reason if the sampler or the model cannot go along that path."""
    name, needs, mean = name_of(sampler), sampler.needs_steps, last == "mean" and path[-1].sigma == 0
    steps = len(path) - 1 - mean
    if 1 < needs > steps and not sampler.adaptive:
        raise DifftoolError(
            f"{name} with order {needs} takes at least {needs} steps, got {steps}{' before the mean' * mean}; give "
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
                f"the model predicts the noise, which says nothing of x0 at zero terminal SNR (alpha = 0), "
                f"{way_off(path, p)}, or use a model that predicts v or x0"
            )


def grid_of(sampler: Sampler) -> Grid:
    """The grid of a run where the user names none: the sampler's own, else uniform in the flow time."""
    return sampler.grid or FlowGrid()


def why_no_option(name: str, target: Any, option: str) -> str | None:
    """Why a sampler does not have an option that others have; None if there is no more to say."""
    try:
        sampler = target()
    except (TypeError, ValueError, DifftoolError):
        return None
    if option in NOISE and not sampler.stochastic and sampler.noise_option is None:
        return f"{name} is deterministic and takes no {option!r}"
    if option == "order" and isinstance(sampler.accuracy or sampler.weak_order, (int, float)):
        return f"{name} is of order {sampler.accuracy or sampler.weak_order:g} and takes no 'order'"
    return None
