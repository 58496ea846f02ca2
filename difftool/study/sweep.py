"""Work-precision: the errors of samplers at given numbers of function evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite
from difftool.grids import Grid
from difftool.models.base import Model
from difftool.samplers.base import Sampler
from difftool.sampling import choose, prepare, steps_within
from difftool.schedules import Path, Schedule
from difftool.study.errors import Errors, errors
from difftool.study.reference import Reference, reference

Method = tuple[Sampler | None, Grid | None]


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of method `name`: budget and use of evaluations, steps, and errors.

    A run without a finite result has infinite errors; a run that was refused has no errors, and
    the reason in `note`.
    """

    name: str
    budget: int
    nfe: int | None = None
    steps: int = 0
    errors: Errors | None = None
    note: str = ""


class References:
    """References of one model for one set of unit noise z, (B, ...), cached by start and end.

    A run starts at x = sqrt(alpha^2 + sigma^2) z. Options are those of `reference`.
    """

    def __init__(self, model: Model, z: Tensor, **options: Any):
        self.model, self.z, self.options = model, z.double(), options
        self._known: dict[Any, Reference] = {}

    def start(self, path: Path) -> Tensor:
        """The initial states of a run along `path`."""
        return math.hypot(path[0].alpha, path[0].sigma) * self.z

    def __call__(self, path: Path) -> Reference:
        """The reference of a run along `path`, computed once."""
        key = path.schedule, path.times[0], path.times[-1]
        if key not in self._known:
            self._known[key] = reference(self.model, self.start(path), path, **self.options)
        return self._known[key]


def sweep(
    references: References,
    methods: Mapping[str, Method],
    nfes: Iterable[int],
    *,
    schedule: Schedule | None = None,
) -> Iterator[Cell]:
    """Run every method at every budget of evaluations, with the most steps that fit into it.

    methods: by name, a deterministic sampler (None: as `choose` does) and its grid (None: the
    default). Adaptive samplers determine their own cost: they run once and count for every
    budget that covers it. Budgets too small for a single step are left out. Raises
    `DifftoolError` for stochastic samplers, and if there is no reference.
    """
    for name, (sampler, grid) in methods.items():
        if sampler is not None and sampler.stochastic:
            raise DifftoolError(
                f"{name} draws noise; a sweep compares end points, study.SampleLaw compares distributions"
            )
        options = {"grid": grid, "schedule": schedule}
        adaptive = sampler is not None and sampler.adaptive
        if adaptive:
            own = _run(references, Cell(name, 0), sampler, options)
        else:
            own = None
        for budget in nfes:
            if own is None:
                cell = _run(references, Cell(name, budget), sampler, options)
            else:
                cell = replace(own, budget=budget)
            if cell.note or (cell.nfe or 0) in range(1, budget + 1):
                yield cell


def _run(
    references: References, cell: Cell, sampler: Sampler | None, options: dict[str, Any]
) -> Cell:
    model, z = references.model, references.z
    try:
        if sampler is None:
            sampler, grid = choose(model, nfe=cell.budget, **options)
            options = {**options, "grid": grid}
        if sampler.adaptive:
            steps = None
        else:
            steps = steps_within(model, sampler, cell.budget, **options)
        if steps == 0:
            return cell
        job = prepare(model, sampler, shape=tuple(z.shape), steps=steps, **options)
    except DifftoolError as error:
        return replace(cell, note=str(error))
    job, path = job.in_double(), job.path
    assert path is not None
    truth = references(path).x
    try:
        out = job.batch(0, len(z), references.start(path))
    except NonFinite:
        out = torch.full_like(truth, math.nan)
    return replace(cell, nfe=job.nfe, steps=job.steps, errors=errors(out, truth))
