"""What runs where no sampler is named."""

from __future__ import annotations

from collections.abc import Sequence

from difftool.grids import Explicit, FlowGrid, Grid, check_steps
from difftool.models.base import Model
from difftool.samplers import FlowABM, FlowSDE
from difftool.samplers.base import Sampler
from difftool.sampling.rule import DEFAULT_STEPS, as_grid


def choose(
    model: Model,
    *,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    stochastic: bool = False,
) -> tuple[Sampler, Grid]:
    """The sampler and the grid of a run in which no sampler is named."""
    named = None if grid is None else as_grid(grid)
    if isinstance(named, Explicit):
        steps = len(named.times) - 1
    n = DEFAULT_STEPS if steps is None and nfe is None else (nfe if steps is None else steps)
    check_steps(n)
    if stochastic:
        return FlowSDE(), FlowGrid(b=2.0)
    return FlowABM(order=2), FlowGrid(a=4 / 3, b=5 / 3)
