"""The decision about a run: which sampler runs along which points, and how the run ends.

Every run without a given plan goes through here: `sample`, recipes, `difftool plan`,
evaluations, trajectories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from difftool.errors import DifftoolError, warn
from difftool.grids import Grid
from difftool.models.base import Model
from difftool.noise import Noise
from difftool.plan import Plan, trace
from difftool.samplers.base import Last, Sampler, grid_of, nfe_of
from difftool.sampling.default import choose
from difftool.sampling.rule import as_grid, make_path, shifts_nothing, steps_for_nfe
from difftool.schedules import Path, Schedule

NAMED = "stochastic is for runs without a sampler; leave one of them out"


@dataclass(frozen=True)
class Decision:
    """A sampler, the points along which it runs, and its last step.

    grid: the grid that the points come from; None if the sampler chooses its own steps.
    """

    sampler: Sampler
    path: Path
    last: Last
    grid: Grid | None

    @property
    def nfe(self) -> int | None:
        """Number of model evaluations; None if it is known only after the run."""
        return nfe_of(self.sampler, self.path, self.last)

    def traced(self, noise: Noise) -> Plan:
        """The plan for the given kind of noise; `NotAffine` if the sampler has no plan."""
        return trace(
            self.sampler,
            self.path,
            self.last,
            correlated=noise.correlated,
            placed=noise.placed,
        )


def decide(
    model: Model,
    sampler: Sampler | None = None,
    *,
    stochastic: bool = False,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    last: Last | None = None,
) -> Decision:
    """Decide sampler, points and last step of a run; options and errors as in `sample`."""
    grid = None if grid is None else as_grid(grid)
    if sampler is None:
        sampler, grid = choose(
            model, steps=steps, nfe=nfe, grid=grid, schedule=schedule, stochastic=stochastic
        )
    elif stochastic:
        raise DifftoolError(NAMED)
    if last not in (None, "step", "mean"):
        raise DifftoolError(f"last must be step or mean, got {last!r}")
    if steps is not None and nfe is not None:
        raise DifftoolError(f"give steps or nfe, not both; got steps={steps}, nfe={nfe}")
    if nfe is not None:
        steps = steps_for_nfe(model, sampler, nfe, last, grid=grid, schedule=schedule)
    if grid is None and not sampler.adaptive:
        grid = grid_of(sampler)
    path = make_path(model, sampler, steps=steps, grid=grid, schedule=schedule, last=last)
    if grid is not None and not sampler.adaptive:
        warn(shifts_nothing(grid, schedule, len(path) - 1))
    return Decision(sampler, path, last or sampler.last, grid)
