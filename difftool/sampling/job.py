"""Jobs: everything about a run that is decided before the first number is drawn."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite, NotAffine, warn
from difftool.grids import Grid
from difftool.models.base import BoundModel, Model, slice_cond
from difftool.noise import Independent, Noise, Source
from difftool.plan import Execution, Plan, Row, Runner
from difftool.plan.trace import trace
from difftool.samplers.base import Last, Sampler, finish, grid_of, name_of, nfe_of
from difftool.sampling.condition import conditioning
from difftool.sampling.default import choose
from difftool.sampling.rule import as_grid, check_kind, make_path, shifts_nothing, steps_for_nfe
from difftool.sampling.watch import Callback, Step, Watch, not_finite
from difftool.schedules import Path, Point, Schedule


@dataclass
class Job:
    """A decided run: everything but the numbers. Made by `prepare`; `batch` draws samples."""

    model: Model
    sampler: Sampler | None  # None if only a plan was given
    path: Path | None
    plan: Plan | None  # None if the sampler only runs as the plain loop
    last: Last
    noise: Noise
    seed: int
    total: int
    shape: tuple[int, ...]
    cond: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    nfe: int | None  # network evaluations of a sample; None until the run for adaptive samplers
    _last_runner: Runner | None = field(default=None, repr=False)

    @property
    def origin(self) -> Point:
        """Where the run starts."""
        return self.plan.rows[0].point if self.path is None else self.path[0]  # type: ignore[union-attr]

    @property
    def end(self) -> Point:
        """Where it ends."""
        return self.plan.rows[-1].point if self.path is None else self.path[-1]  # type: ignore[union-attr]

    @property
    def steps(self) -> int:
        """Steps of the grid."""
        return self.plan.rows[-1].index if self.path is None else len(self.path) - 1  # type: ignore[union-attr]

    def start(self, first: int, count: int) -> tuple[BoundModel, Source]:
        """The model and the noise of the batch of samples first .. first + count."""
        schedule = None if self.path is None else self.path.schedule
        model = self.model.part(first, count, self.total)
        bound = model.bind(schedule, slice_cond(self.cond, first, count, self.total))
        source = self.noise.source(
            (count, *self.shape), seed=self.seed, first=first, device=self.device, dtype=self.dtype,
            origin=self.origin.level,
        )  # fmt: skip
        return bound, source

    def batch(
        self,
        first: int,
        count: int,
        x: Tensor | None = None,
        callback: Callback | None = None,
        grad: bool = False,
    ) -> Tensor:
        """The samples first .. first + count; from the states x if given. Raises `NonFinite` for NaN or infinity."""
        with self.model.evaluating():
            return self._batch(first, count, x, callback, grad)

    def _batch(
        self, first: int, count: int, x: Tensor | None, callback: Callback | None, grad: bool
    ) -> Tensor:
        bound, source = self.start(first, count)
        x = self._initial(source) if x is None else x.to(self.device, self.dtype)
        if self.plan is not None and not grad:
            report = None if callback is None else self._reporter(bound, first, callback)
            out = self._runner(bound)(x, source, callback=report)
        else:
            out = self._loop(bound, source, x, first, callback, grad)
        if not bool(torch.isfinite(out).all()):
            self._explain(first, count, x)
        return out

    def _initial(self, source: Source) -> Tensor:
        """x_T ~ N(0, sigma_T^2)."""
        if self.end.flow > self.origin.flow:
            raise DifftoolError(
                f"the run goes upwards (t={self.origin.t:g} to t={self.end.t:g}); let the grid fall, "
                f"or give the states x to encode"
            )
        return self.origin.sigma * source.initial()

    def _runner(self, bound: BoundModel) -> Runner:
        """The plan made ready for a batch; what the batches share is done once."""
        assert self.plan is not None
        before = self._last_runner
        if before is None or bound.cond or bound.model is not before.model.model:
            self._last_runner = Runner(self.plan, bound, before.compiled if before else None)
        return self._last_runner  # type: ignore[return-value]

    def _reporter(
        self, bound: BoundModel, first: int, callback: Callback
    ) -> Callable[[Row, Tensor, Tensor], None]:
        steps = self.steps
        return lambda row, x, answer: callback(
            Step(row.index, steps, row.point, x, first, answer, bound)
        )

    def _loop(
        self,
        bound: BoundModel,
        source: Source,
        x: Tensor,
        first: int,
        callback: Callback | None,
        grad: bool,
    ) -> Tensor:
        if self.sampler is None or self.path is None:
            raise DifftoolError("a plan keeps no graph; for grad=True give the sampler itself")
        rows = self.plan.rows if self.plan else ()
        told = [
            row.index if row.kind == "grid" else None for row in rows if row.channels
        ] or None
        watched = Watch(
            bound, self.path, first, callback, adaptive=self.sampler.adaptive, told=told
        )
        with torch.set_grad_enabled(grad):
            out = finish(
                self.sampler, watched, x.clone(), self.path, source, self.last
            )  # a loop may write into it
            watched.close()
        if source.correlated and source.pointless:
            warn(no_path(name_of(self.sampler)))
        self.nfe = watched.nfe * self.model.nfe
        return out

    def _explain(self, first: int, count: int, x: Tensor) -> None:
        """Runs the batch again with every answer looked at, and raises at the first one that is not finite."""
        if not bool(torch.isfinite(x).all()):
            raise NonFinite("the states x to start from are not finite")
        bound, source = self.start(first, count)
        with torch.no_grad():
            if self.plan is None:
                assert self.sampler is not None
                assert self.path is not None
                watched = Watch(bound, self.path, first, None, check=True)
                finish(self.sampler, watched, x, self.path, source, self.last)
            else:
                self._look(self.plan, bound, source, x, first)
        raise NonFinite(
            "the result is not finite, though all answers of the model were when it was asked again: the sampler or "
            "its start is at fault, or the model answers differently each time"
        )

    def _look(
        self, plan: Plan, bound: BoundModel, source: Source, x: Tensor, first: int
    ) -> None:
        """Runs the plan on raw answers, as `batch` does, and raises at the first one that is not finite."""
        call, told = bound.prepare([row.point for row in plan.rows if row.channels], x)
        execution = Execution(plan, noise=source, raw=bound)
        generator, i = execution.steps(x), 0
        y, p, row = next(generator)
        while row.channels:
            answer = call(y, told[i])
            if not bool(torch.isfinite(answer).all()):
                state = execution.state() if source.resumable else None
                raise NonFinite(
                    not_finite(answer, p, row.index, self.steps, first), y.clone(), state
                )
            y, p, row = generator.send(answer)
            i += 1


def prepare(
    model: Model,
    sampler: Sampler | Plan | None = None,
    *,
    stochastic: bool = False,
    shape: Sequence[int],
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    last: Last | None = None,
    seed: int = 0,
    noise: Noise | None = None,
    cond: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Job:
    """Everything that is decided before the first number is drawn; options and errors as `sample`."""
    check_kind("model", model, Model)
    if sampler is None:
        sampler, grid = choose(
            model, steps=steps, nfe=nfe, grid=grid, schedule=schedule, stochastic=stochastic
        )
    elif stochastic:
        raise DifftoolError(
            "stochastic picks the sampler where none is named; leave it out, or the sampler"
        )
    check_kind("sampler", sampler, (Sampler, Plan))
    noise = Independent() if noise is None else noise
    check_kind("noise", noise, Noise)
    if last not in (None, "step", "mean"):
        raise DifftoolError(f"last is step or mean, got {last!r}")
    if dtype not in (None, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise DifftoolError(
            f"dtype is torch.float16, bfloat16, float32 or float64, got {dtype!r}"
        )
    shape = _checked_shape(shape, model)
    place = _checked_device(model.device if device is None else device)
    model = model.to(place, dtype)
    path, plan = None, None
    if steps is not None and nfe is not None:
        raise DifftoolError(f"give steps or nfe, not both; got steps={steps}, nfe={nfe}")
    if isinstance(sampler, Plan):
        if not (steps is nfe is grid is schedule is last is None):
            raise DifftoolError(
                "a plan has its steps, grid, schedule and last step in it; leave those options out"
            )
        plan = sampler
        if not noise.correlated and any(key.interval is not None for key in plan.noises):
            raise DifftoolError(
                "this plan was traced for path noise; give it noise=BrownianPath()"
            )
        if (
            noise.correlated
            and plan.noises
            and all(key.interval is None for key in plan.noises)
        ):
            raise DifftoolError(
                "this plan was traced for independent noise; trace it with correlated=True for path noise"
            )
    else:
        if nfe is not None:
            steps = steps_for_nfe(model, sampler, nfe, last, grid=grid, schedule=schedule)
        path = make_path(model, sampler, steps=steps, grid=grid, schedule=schedule, last=last)
        if not sampler.adaptive:
            warn(
                shifts_nothing(
                    grid_of(sampler) if grid is None else as_grid(grid), schedule, steps
                )
            )
        last = last or sampler.last
        with suppress(NotAffine):
            plan = trace(sampler, path, last, correlated=noise.correlated, placed=noise.placed)
        nfe = nfe_of(sampler, path, last)
    nfe = nfe if plan is None else plan.nfe
    state = torch.float64 if (dtype or model.dtype) == torch.float64 else torch.float32
    loop = None if isinstance(sampler, Plan) else sampler
    given = conditioning(cond, shape[0], place)
    nfe = None if nfe is None else nfe * model.nfe
    return Job(
        model,
        loop,
        path,
        plan,
        last or "step",
        noise,
        seed,
        shape[0],
        shape[1:],
        given,
        place,
        state,
        nfe,
    )


def no_path(name: str) -> str:
    """The line about path noise that is none."""
    return f"{name} adds noise that belongs to no step: with path noise that part is independent, as without"


def batches(total: int, size: int | None) -> Iterator[tuple[int, int]]:
    """(first, count) of every batch; `DifftoolError` for a size below 1."""
    each = total
    if size is not None:
        each = (
            0
            if isinstance(size, bool) or not isinstance(size, SupportsIndex)
            else operator.index(size)
        )
    if each < 1:
        raise DifftoolError(f"batch_size must be a whole number of at least 1, got {size!r}")
    return ((first, min(each, total - first)) for first in range(0, total, each))


def _checked_device(device: torch.device | str) -> torch.device:
    """The device; `DifftoolError` if nothing can be computed there."""
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).tolist()
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DifftoolError(
            f"there is no device {str(device)!r} to compute on ({reason}); use cpu"
        ) from None
    return place


def _checked_shape(shape: Sequence[int], model: Model) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except (TypeError, ValueError):
        raise DifftoolError(f"shape is (number, ...), whole numbers, got {shape!r}") from None
    if not sizes or any(n < 1 for n in sizes):
        raise DifftoolError(f"shape is (number, ...), each at least 1, got {sizes}")
    if model.shape is not None and sizes[1:] != model.shape:
        raise DifftoolError(
            f"the shape asked for is {sizes}, the model takes ({', '.join(['...', *map(str, model.shape)])})"
        )
    return sizes
