"""sample(): the one front door. Model, sampler, schedule and grid meet here and nowhere else.

A run is decided in this order: the sampling schedule (else the model's own, else vp-linear); where it starts (the end
of the schedule's domain, or alpha = 1e-3 if something divides by alpha, never above the model's largest noise level);
the grid's times; the plan, if the sampler has one, else the plain loop. x_T ~ N(0, sigma_T^2) unless x is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite, NotAffine
from difftool.grids import Explicit, FlowGrid, Grid
from difftool.models.base import Bound, Model, slice_cond
from difftool.noise import Independent, Noise, Source
from difftool.plan.plan import Plan, Row, trace
from difftool.plan.run import Execution, Runner
from difftool.samplers.base import Last, Sampler, finish, nfe_of
from difftool.schedules import Path, Point, Schedule, VPLinear

DEFAULT_STEPS = 50
ADAPTIVE_LEVEL = 1e-3  # where an adaptive solver hands over to the mean, unless the grid says otherwise


@dataclass(frozen=True)
class Step:
    """What a callback sees, before the step from `point` is taken; x is the live state (clone it to keep it).

    index: the grid point, 0 .. steps - 1 (None between grid points). first: global index of the batch's first sample.
    """

    index: int | None
    steps: int
    point: Point
    x: Tensor
    first: int
    _answer: Tensor = field(repr=False)
    _bound: Bound | None = field(repr=False, default=None)

    @property
    def x0(self) -> Tensor:
        """The model's estimate of x_0 here."""
        affine = self._bound.affine(self.point) if self._bound else None
        return self._answer if affine is None else affine.skip * self.x + affine.out * self._answer


Callback = Callable[[Step], None]


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
    nfe: int | None  # per batch; None until the run for adaptive samplers
    _last_runner: Runner | None = field(default=None, repr=False)

    @property
    def origin(self) -> Point:
        """Where the run starts."""
        return self.plan.rows[0].point if self.path is None else self.path[0]  # type: ignore[union-attr]

    @property
    def steps(self) -> int:
        """Steps of the grid."""
        return self.plan.rows[-1].index if self.path is None else len(self.path) - 1  # type: ignore[union-attr]

    def start(self, first: int, count: int) -> tuple[Bound, Source]:
        """The model and the noise of the batch of samples first .. first + count."""
        schedule = None if self.path is None else self.path.schedule
        bound = self.model.bind(schedule, slice_cond(self.cond, first, count, self.total))
        source = self.noise.source(
            (count, *self.shape), seed=self.seed, first=first, device=self.device, dtype=self.dtype
        )
        return bound, source

    def batch(
        self, first: int, count: int, x: Tensor | None = None, callback: Callback | None = None, grad: bool = False
    ) -> Tensor:
        """The samples first .. first + count; from the states x if given. Raises `NonFinite` for NaN or infinity."""
        bound, source = self.start(first, count)
        x = self.origin.sigma * source.initial() if x is None else x.to(self.device, self.dtype)
        if self.plan is not None and not grad:
            report = None if callback is None else self._reporter(bound, first, callback)
            out = self._runner(bound)(x, source, callback=report)
        else:
            out = self._loop(bound, source, x, first, callback, grad)
        if not bool(torch.isfinite(out).all()):
            self._explain(first, count, x)
        return out

    def _runner(self, bound: Bound) -> Runner:
        """The plan made ready for a batch; what the batches share is done once."""
        assert self.plan is not None
        before = self._last_runner
        if before is None or bound.cond:
            self._last_runner = Runner(self.plan, bound, before.compiled if before else None)
        return self._last_runner  # type: ignore[return-value]

    def _reporter(self, bound: Bound, first: int, callback: Callback) -> Callable[[Row, Tensor, Tensor], None]:
        steps = self.steps
        return lambda row, x, answer: callback(Step(row.index, steps, row.point, x, first, answer, bound))

    def _loop(
        self, bound: Bound, source: Source, x: Tensor, first: int, callback: Callback | None, grad: bool
    ) -> Tensor:
        assert self.sampler is not None and self.path is not None
        watched = _Watch(bound, self.path, first, callback, check=self.sampler.adaptive)
        with torch.set_grad_enabled(grad):
            out = finish(self.sampler, watched, x, self.path, source, self.last)
        self.nfe = watched.nfe
        return out

    def _explain(self, first: int, count: int, x: Tensor) -> None:
        """Runs the batch again with every answer looked at, and raises at the first one that is not finite."""
        bound, source = self.start(first, count)
        if self.plan is None:
            assert self.sampler is not None and self.path is not None
            with torch.no_grad():
                finish(self.sampler, _Watch(bound, self.path, first, None, check=True), x, self.path, source, self.last)
        else:
            execution = Execution(self.plan, noise=source)
            with torch.no_grad():
                generator = execution.steps(x)
                y, p, row = next(generator)
                while row.channels:
                    answer = bound(y, p)
                    if not bool(torch.isfinite(answer).all()):
                        state = execution.state() if source.resumable else None
                        raise NonFinite(_not_finite(answer, p, row.index, self.steps, first), state)
                    y, p, row = generator.send(answer)
        raise NonFinite("the result is not finite, though the model's answers are: the sampler or its start is at fault")


def prepare(
    model: Model,
    sampler: Sampler | Plan,
    *,
    shape: Sequence[int],
    steps: int | None = None,
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
    shape = _checked_shape(shape, model)
    place = torch.device(device or "cpu")
    model = model.to(place, dtype)
    noise = noise or Independent()
    path, plan = None, None
    if isinstance(sampler, Plan):
        if not (steps is grid is schedule is last is None):
            raise DifftoolError("a plan has its steps, grid, schedule and last step in it; leave those options out")
        plan, nfe = sampler, sampler.nfe
    else:
        path = make_path(model, sampler, steps=steps, grid=grid, schedule=schedule)
        last = last or sampler.last
        with suppress(NotAffine):
            plan = trace(sampler, path, last, correlated=noise.correlated)
        nfe = nfe_of(sampler, path, last) if plan is None else plan.nfe
    state = torch.float64 if (dtype or model.dtype) == torch.float64 else torch.float32
    loop = None if isinstance(sampler, Plan) else sampler
    return Job(
        model, loop, path, plan, last or "step", noise, seed, shape[0], shape[1:], dict(cond or {}), place, state, nfe
    )


def sample(
    model: Model,
    sampler: Sampler | Plan,
    *,
    shape: Sequence[int] | None = None,
    steps: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    x: Tensor | None = None,
    last: Last | None = None,
    seed: int = 0,
    noise: Noise | None = None,
    cond: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    callback: Callback | None = None,
    grad: bool = False,
) -> Tensor:
    """Samples of the model, (B, ...), float32 (float64 if the network is).

    sampler: a sampler, or a plan (which has steps, grid, schedule and last step in it).
    shape: (B, ...), the number of samples and the shape of one. Left out if x is given.
    steps: steps of the grid (default 50, or what an explicit grid has); adaptive samplers choose their own.
    grid: a grid, or the times themselves; default: uniform in the flow time.
    schedule: the sampling schedule; default: the model's own, else vp-linear.
    x: the state to start from, (B, ...), at the first point of the grid; default: N(0, sigma^2) there.
    last: how the run enters sigma = 0, a `step` of the sampler or the `mean` E[x_0 | x]; default: as the sampler says.
    seed, noise: which numbers are drawn and how; sample i gets the same noise in every batch (independent, path noise).
    cond: conditioning by name; tensors have one row for each sample and are cut with the batch.
    batch_size: samples that run together; default: all.
    device, dtype: of the network, which is moved there; the state is at least float32.
    callback: called with a `Step` at every grid point.
    grad: keep the graph for autograd; the sampler then runs as the plain loop.

    Raises `DifftoolError` for anything that does not fit, `NonFinite` if the model returns NaN or infinity.
    """
    if (shape is None) == (x is None):
        raise DifftoolError("sample takes either shape=(number, ...) or the states x to start from")
    if x is not None:
        shape, device = tuple(x.shape), device or x.device
        dtype = dtype or (torch.float64 if x.dtype == torch.float64 else None)
    assert shape is not None
    job = prepare(
        model, sampler, shape=shape, steps=steps, grid=grid, schedule=schedule, last=last, seed=seed, noise=noise,
        cond=cond, device=device, dtype=dtype,
    )  # fmt: skip
    parts: list[Tensor] = []
    for first, count in batches(job.total, batch_size):
        start = None if x is None else x[first : first + count]
        try:
            parts.append(job.batch(first, count, start, callback, grad))
        except NonFinite as error:
            error.done = torch.cat(parts) if parts else None
            raise
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def batches(total: int, size: int | None) -> Iterator[tuple[int, int]]:
    """(first, count) of every batch; `DifftoolError` for a size below 1."""
    if size is not None and size < 1:
        raise DifftoolError(f"batch_size must be at least 1, got {size}")
    size = size or total
    return ((first, min(size, total - first)) for first in range(0, total, size))


def make_path(
    model: Model,
    sampler: Sampler,
    *,
    steps: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
) -> Path:
    """The points of a run: the start and end rule, one for all samplers (see the module)."""
    schedule = schedule or model.schedule or VPLinear()
    start = start_of(model, sampler, schedule)
    if grid is None and sampler.adaptive:
        low = schedule.t_at_level(ADAPTIVE_LEVEL)
        return Path(schedule, (start, low, schedule.domain[0]))
    if grid is not None and not isinstance(grid, Grid):
        grid = Explicit(times=tuple(grid))
    grid = FlowGrid() if grid is None else grid
    if steps is None:
        steps = len(grid.times) - 1 if isinstance(grid, Explicit) else DEFAULT_STEPS
    grid = grid.starting(min(start, schedule.t_start(grid.needs_level)))
    return Path(schedule, grid(schedule, steps))


def start_of(model: Model, sampler: Sampler, schedule: Schedule) -> float:
    """The last time of `schedule` at which the sampler and the model are defined."""
    start = schedule.t_start(sampler.divides_by_alpha or model.divides_by_alpha)
    if model.schedule is None or model.schedule == schedule:
        return start
    own = model.schedule
    return min(start, schedule.t_at_level(own.level(own.t_start(model.divides_by_alpha))))


def steps_for_nfe(model: Model, sampler: Sampler, nfe: int, last: Last | None = None, **options: Any) -> int:
    """The number of steps that costs exactly `nfe` network evaluations; `DifftoolError` if none does."""
    if isinstance(nfe, bool) or not isinstance(nfe, int) or nfe < 1:
        raise DifftoolError(f"nfe must be a whole number of at least 1, got {nfe!r}")
    name = type(sampler).__name__
    if sampler.adaptive or sampler.evaluations is None:
        raise DifftoolError(f"{name} chooses its evaluations itself; it cannot be held to nfe={nfe}")
    near: dict[int, int] = {}
    for steps in range(max(1, nfe // max(sampler.evaluations, 1) - 3), nfe + 1):
        cost = nfe_of(sampler, make_path(model, sampler, steps=steps, **options), last or sampler.last)
        assert cost is not None
        near[cost] = steps
        if cost >= nfe:
            break
    if nfe not in near:
        costs = " or ".join(f"{c} (steps={s})" for c, s in sorted(near.items(), key=lambda i: abs(i[0] - nfe))[:2])
        raise DifftoolError(f"{name} cannot use exactly {nfe} evaluations here; near it: {costs}")
    return near[nfe]


class _Watch:
    """A bound model that counts its evaluations, reports those at grid points and can refuse what is not finite."""

    def __init__(self, bound: Bound, path: Path, first: int, callback: Callback | None, check: bool):
        self.bound, self.steps, self.first, self.callback, self.check = bound, len(path) - 1, first, callback, check
        self.places = {p: i for i, p in enumerate(path)}
        self.seen = -1
        self.nfe = 0

    def __call__(self, x: Tensor, p: Point, outputs: int = 1) -> Tensor:
        answer = self.bound(x, p, outputs)
        if p.sigma == 0:
            return answer
        self.nfe += 1
        index = self.places.get(p)
        if self.check and not bool(torch.isfinite(answer).all()):
            raise NonFinite(_not_finite(answer, p, max(self.seen, index or 0), self.steps, self.first))
        if index is None or index > self.seen:
            self.seen = self.seen if index is None else index
            if self.callback is not None:
                self.callback(Step(index, self.steps, p, x, self.first, answer))
        return answer


def _not_finite(answer: Tensor, p: Point, index: int, steps: int, first: int) -> str:
    bad = ~torch.isfinite(answer).flatten(1).all(dim=1)
    which = first + int(bad.nonzero()[0])
    return f"the model returned NaN or infinity at step {index + 1} of {steps} (t={p.t:.6g}), first in sample {which}"


def _checked_shape(shape: Sequence[int], model: Model) -> tuple[int, ...]:
    try:
        sizes = tuple(int(n) for n in shape)
    except (TypeError, ValueError):
        raise DifftoolError(f"shape is (number, ...), whole numbers, got {shape!r}") from None
    if not sizes or any(n < 1 for n in sizes):
        raise DifftoolError(f"shape is (number, ...), each at least 1, got {sizes}")
    if model.shape is not None and sizes[1:] != model.shape:
        raise DifftoolError(
            f"the shape asked for is {sizes}, the model takes ({', '.join(['...', *map(str, model.shape)])})"
        )
    return sizes
