"""Jobs: runs ready to start. `prepare` creates them, `batch` draws samples.

`Planned` runs a plan. `Loop` runs the sampler itself, if no plan can represent it or autograd
needs a graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite, warn
from difftool.errors.validation import check_whole
from difftool.grids import Grid
from difftool.models.base import BoundModel, Model, slice_cond
from difftool.noise import Noise, Source
from difftool.plan import Execution, Plan, Row, Runner
from difftool.plan.runner import RowCallback, prepared
from difftool.samplers.base import Last, Sampler, finish, name_of
from difftool.sampling.decide import Decision
from difftool.sampling.watch import Callback, Step, Watch, first_lost, not_finite
from difftool.schedules import Path, Point


@dataclass(frozen=True)
class _Start:
    """The start of a batch: the index of its first sample, its model, noise and states."""

    first: int
    bound: BoundModel
    source: Source
    x: Tensor


@dataclass(frozen=True, kw_only=True)
class Decided(ABC):
    """A run with everything decided and nothing drawn yet.

    decision: None if only a plan was given. shape: of one sample. dtype: of the state.
    """

    model: Model
    decision: Decision | None
    noise: Noise
    seed: int
    total: int
    shape: tuple[int, ...]
    cond: dict[str, Any]
    device: torch.device
    dtype: torch.dtype

    @property
    def sampler(self) -> Sampler | None:
        """None if only a plan was given."""
        if self.decision is None:
            return None
        return self.decision.sampler

    @property
    def path(self) -> Path | None:
        """None if only a plan was given."""
        if self.decision is None:
            return None
        return self.decision.path

    @property
    def grid(self) -> Grid | None:
        """None if only a plan was given, or the sampler chooses its own steps."""
        if self.decision is None:
            return None
        return self.decision.grid

    @property
    def last(self) -> Last:
        """How the run enters sigma = 0."""
        if self.decision is None:
            return "step"
        return self.decision.last

    @property
    @abstractmethod
    def nfe(self) -> int | None:
        """Network evaluations per sample; if adaptive, those of the last batch, or None."""

    @property
    @abstractmethod
    def origin(self) -> Point:
        """The point where the run starts."""

    @property
    @abstractmethod
    def end(self) -> Point:
        """The point where the run ends."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Number of steps of the grid."""

    @property
    def loop(self) -> Loop:
        """The same run as a plain loop of its sampler."""
        if self.decision is None:
            raise DifftoolError("a plan keeps no graph; for grad=True pass the sampler itself")
        return Loop(**{f.name: getattr(self, f.name) for f in fields(Decided)})

    def in_double(self) -> Self:
        """The same run with a float64 state, whatever the network's dtype."""
        return replace(self, dtype=torch.float64)

    def start(self, first: int, count: int) -> tuple[BoundModel, Source]:
        """The model and the noise for the batch of samples first .. first + count - 1."""
        if self.path is None:
            schedule = None
        else:
            schedule = self.path.schedule
        model = self.model.part(first, count, self.total)
        bound = model.bind(schedule, slice_cond(self.cond, first, count, self.total))
        source = self.noise.source(
            (count, *self.shape),
            seed=self.seed,
            first=first,
            device=self.device,
            dtype=self.dtype,
            origin=self.origin.level,
        )
        return bound, source

    def batch(
        self,
        first: int,
        count: int,
        x: Tensor | None = None,
        callback: Callback | None = None,
        grad: bool = False,
    ) -> Tensor:
        """Draw the samples first .. first + count - 1, from the states x if given.

        Raises `NonFinite` for NaN or infinity.
        """
        with self.model.evaluating():
            bound, source = self.start(first, count)
            if x is None:
                x = self._initial(source)
            else:
                x = x.to(self.device, self.dtype)
            out = self._run(_Start(first, bound, source, x), callback, grad)
            if not bool(torch.isfinite(out).all()):
                self._raise_non_finite(first, count, x)
            return out

    def _initial(self, source: Source) -> Tensor:
        """x_T ~ N(0, sigma_T^2)."""
        if self.end.flow > self.origin.flow:
            raise DifftoolError(
                f"the run goes from data to noise (t={self.origin.t:g} to t={self.end.t:g}); reverse the grid, "
                f"or pass x, the states to encode"
            )
        return self.origin.sigma * source.initial()

    @abstractmethod
    def _run(self, start: _Start, callback: Callback | None, grad: bool) -> Tensor:
        """The result of a run from the given start."""

    def _raise_non_finite(self, first: int, count: int, x: Tensor) -> None:
        """Rerun the batch with every answer checked; raise at the first one not finite."""
        if not bool(torch.isfinite(x).all()):
            raise NonFinite("the initial states x are not finite")
        start = _Start(first, *self.start(first, count), x)
        with torch.no_grad():
            self._run_checked(start)
        raise NonFinite(
            "the result is not finite, although all outputs of the model were finite when the run was repeated: the "
            "sampler or its start is at fault, or the model is not deterministic"
        )

    @abstractmethod
    def _run_checked(self, start: _Start) -> None:
        """Run with every answer checked; raise at the first one that is not finite."""


@dataclass(frozen=True, kw_only=True)
class Planned(Decided):
    """The run of a plan."""

    plan: Plan
    # at most one: that of the last batch
    _runners: list[Runner] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def nfe(self) -> int:
        return self.plan.nfe * self.model.nfe

    @property
    def origin(self) -> Point:
        if self.path is None:
            return self.plan.rows[0].point
        return self.path[0]

    @property
    def end(self) -> Point:
        return self.plan.rows[-1].point

    @property
    def steps(self) -> int:
        return self.plan.rows[-1].index

    def _run(self, start: _Start, callback: Callback | None, grad: bool) -> Tensor:
        if grad:
            rows = [row for row in self.plan.rows if row.channels]
            grid_index = [row.index if row.kind == "grid" else None for row in rows]
            return self.loop._run(start, callback, grad, grid_index)
        report = None
        if callback is not None:
            report = self._reporter(start, callback)
        return self._runner(start.bound)(start.x, start.source, callback=report)

    def _runner(self, bound: BoundModel) -> Runner:
        """The runner of the plan for a batch; work that batches share is done once."""
        before = self._runners[-1] if self._runners else None
        shared = not bound.cond and not bound.conditions
        if before is not None and shared and bound.model is before.model.model:
            return before
        runner = Runner(self.plan, bound, before.compiled if before else None)
        self._runners[:] = [runner]
        return runner

    def _reporter(self, start: _Start, callback: Callback) -> RowCallback:
        steps = self.steps

        def report(row: Row, x: Tensor, answer: Any) -> None:
            raw = start.bound if row.plain else None
            estimate = row.request.estimate(answer)  # type: ignore[union-attr]
            callback(Step(row.index, steps, row.point, x, start.first, estimate, raw))

        return report

    def _run_checked(self, start: _Start) -> None:
        """Run on raw answers, as `batch` does, and check them."""
        call, times = prepared(start.bound, self.plan.rows, start.x)
        execution = Execution(self.plan, noise=start.source, raw=start.bound)
        steps = execution.steps(start.x)
        y, p, row = next(steps)
        for time in times:
            answer = call(y, time)
            lost = first_lost(row.request.parts(answer))  # type: ignore[union-attr]
            if lost is not None:
                if start.source.resumable:
                    state = execution.state()
                else:
                    state = None
                reason = not_finite(lost, p, row.index, self.steps, start.first)
                raise NonFinite(reason, y.clone(), state)
            y, p, row = steps.send(answer)


@dataclass(frozen=True, kw_only=True)
class Loop(Decided):
    """The run of a sampler as a plain loop."""

    decision: Decision
    plan: ClassVar[None] = None
    # network evaluations of the last batch
    _spent: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def nfe(self) -> int | None:
        if self._spent:
            return self._spent[-1]
        declared = self.decision.nfe
        if declared is None:
            return None
        return declared * self.model.nfe

    @property
    def origin(self) -> Point:
        return self.decision.path[0]

    @property
    def end(self) -> Point:
        return self.decision.path[-1]

    @property
    def steps(self) -> int:
        return len(self.decision.path) - 1

    @property
    def loop(self) -> Loop:
        return self

    def _run(
        self,
        start: _Start,
        callback: Callback | None,
        grad: bool,
        grid_index: Sequence[int | None] | None = None,
    ) -> Tensor:
        """The result of a run from the given start; grid_index: as for `Watch`."""
        sampler, path, source = self.decision.sampler, self.decision.path, start.source
        watched = Watch(
            start.bound,
            path,
            start.first,
            callback,
            adaptive=sampler.adaptive,
            grid_index=grid_index,
        )
        with torch.set_grad_enabled(grad):
            x = start.x.clone()  # a loop may modify it in place
            out = finish(sampler, watched, x, path, source, self.last)
            watched.close()
        if source.correlated and source.pointless:
            warn(no_path(name_of(sampler)))
        self._spent[:] = [watched.nfe * self.model.nfe]
        return out

    def _run_checked(self, start: _Start) -> None:
        sampler, path = self.decision.sampler, self.decision.path
        watched = Watch(start.bound, path, start.first, None, check=True)
        finish(sampler, watched, start.x, path, start.source, self.last)


Job = Planned | Loop


def no_path(name: str) -> str:
    """The warning about path noise of which a part is independent."""
    return f"{name} adds noise that belongs to no step: even with path noise, this part is independent"


def batches(total: int, size: int | None) -> Iterator[tuple[int, int]]:
    """(first, count) of every batch; `DifftoolError` for a size below 1."""
    each = total
    if size is not None:
        each = check_whole("batch_size must be", size, 1)
    return ((first, min(each, total - first)) for first in range(0, total, each))
