"""sample(): the one front door. Model, sampler, schedule and grid meet here and nowhere else.

A run is decided in this order: the sampling schedule (else the model's own, else vp-linear); where it starts (the end
of the schedule's domain, or alpha = 1e-3 if something divides by alpha, never above the model's largest noise level);
the grid's times; the plan, if the sampler has one, else the plain loop. x_T ~ N(0, sigma_T^2) unless x is given.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite, NotAffine
from difftool.grids import Explicit, FlowGrid, Grid, check_steps
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

    index: the grid point, 0 .. steps - 1 (None for samplers that choose their own steps). first: global index of the
    batch's first sample.
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
        end = self.path[-1] if self.path is not None else self.plan.rows[-1].point  # type: ignore[union-attr]
        if end.flow > self.origin.flow:
            raise DifftoolError(
                f"the run goes upwards (t={self.origin.t:g} to t={end.t:g}); give the states x to start from"
            )
        return self.origin.sigma * source.initial()

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
        if self.sampler is None or self.path is None:
            raise DifftoolError("a plan keeps no graph; for grad=True give the sampler itself")
        watched = _Watch(bound, self.path, first, callback, adaptive=self.sampler.adaptive)
        with torch.set_grad_enabled(grad):
            out = finish(self.sampler, watched, x, self.path, source, self.last)
            watched.close()
        self.nfe = watched.nfe
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
                watched = _Watch(bound, self.path, first, None, check=True)
                finish(self.sampler, watched, x, self.path, source, self.last)
            else:
                self._look(self.plan, bound, source, x, first)
        raise NonFinite(
            "the result is not finite, though the model's answers are: the sampler or its start is at fault"
        )

    def _look(self, plan: Plan, bound: Bound, source: Source, x: Tensor, first: int) -> None:
        """Runs the plan on raw answers, as `batch` does, and raises at the first one that is not finite."""
        call = bound.prepare([row.point for row in plan.rows if row.channels], x)
        execution = Execution(plan, noise=source, raw=bound)
        generator, i = execution.steps(x), 0
        y, p, row = next(generator)
        while row.channels:
            answer = call(y, i)
            if not bool(torch.isfinite(answer).all()):
                state = execution.state() if source.resumable else None
                raise NonFinite(_not_finite(answer, p, row.index, self.steps, first), state)
            y, p, row = generator.send(answer)
            i += 1


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
    _check_kind("model", model, Model)
    _check_kind("sampler", sampler, (Sampler, Plan))
    noise = Independent() if noise is None else noise
    _check_kind("noise", noise, Noise)
    if last not in (None, "step", "mean"):
        raise DifftoolError(f"last is step or mean, got {last!r}")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise DifftoolError(f"dtype is a floating torch.dtype, got {dtype!r}")
    shape = _checked_shape(shape, model)
    place = _checked_device(model.device if device is None else device)
    model = model.to(place, dtype)
    path, plan, nfe = None, None, None
    if isinstance(sampler, Plan):
        if not (steps is grid is schedule is last is None):
            raise DifftoolError("a plan has its steps, grid, schedule and last step in it; leave those options out")
        plan = sampler
    else:
        path = make_path(model, sampler, steps=steps, grid=grid, schedule=schedule)
        last = last or sampler.last
        with suppress(NotAffine):
            plan = trace(sampler, path, last, correlated=noise.correlated)
        nfe = nfe_of(sampler, path, last)
    nfe = nfe if plan is None else plan.nfe
    state = torch.float64 if (dtype or model.dtype) == torch.float64 else torch.float32
    loop = None if isinstance(sampler, Plan) else sampler
    cond = {name: v.to(place) if isinstance(v, Tensor) else v for name, v in (cond or {}).items()}
    return Job(model, loop, path, plan, last or "step", noise, seed, shape[0], shape[1:], cond, place, state, nfe)


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
    """Samples of the model, (B, ...), float32 (float64 if the network or x is).

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
    device, dtype: of the network, which is moved there (default: where x is, else where the network is, and what it
        is); the state is at least float32.
    callback: called with a `Step` once for every grid point, in order; by adaptive samplers at every evaluation.
    grad: keep the graph for autograd; the sampler then runs as the plain loop.

    Raises `DifftoolError` for anything that does not fit, `NonFinite` if the model returns NaN or infinity.
    """
    if (shape is None) == (x is None):
        raise DifftoolError("sample takes either shape=(number, ...) or the states x to start from")
    if x is not None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise DifftoolError(f"x is a tensor of floating numbers, got {getattr(x, 'dtype', type(x).__name__)}")
        shape, device = tuple(x.shape), device or x.device
    assert shape is not None
    job = prepare(
        model, sampler, shape=shape, steps=steps, grid=grid, schedule=schedule, last=last, seed=seed, noise=noise,
        cond=cond, device=device, dtype=dtype,
    )  # fmt: skip
    if x is not None and x.dtype == torch.float64:
        job.dtype = torch.float64
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
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise DifftoolError(f"batch_size must be a whole number of at least 1, got {size!r}")
    each = size or total
    return ((first, min(each, total - first)) for first in range(0, total, each))


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
    _check_kind("schedule", schedule, Schedule)
    if steps is not None:
        check_steps(steps)
    start = start_of(model, sampler, schedule)
    if grid is None and sampler.adaptive:
        low = schedule.t_at_level(ADAPTIVE_LEVEL)
        return Path(schedule, (start, low, schedule.domain[0]))
    grid = FlowGrid() if grid is None else as_grid(grid)
    if steps is None:
        steps = len(grid.times) - 1 if isinstance(grid, Explicit) else DEFAULT_STEPS
    grid = grid.starting(min(start, schedule.t_start(grid.needs_level)))
    path = Path(schedule, grid(schedule, steps))
    for p in (path[0], path[-1]):
        if sampler.divides_by_alpha and p.alpha == 0:
            raise DifftoolError(
                f"{type(sampler).__name__} is not defined at alpha = 0, where the grid is at t={p.t:g}; "
                f"keep to t <= {schedule.t_start(True):.6g}"
            )
    return path


def as_grid(grid: Grid | Sequence[float]) -> Grid:
    """A grid as it is, or times as an explicit one; `DifftoolError` if they are no numbers."""
    if isinstance(grid, Grid):
        return grid
    try:
        times = tuple(float(t) for t in grid)
    except (TypeError, ValueError):
        raise DifftoolError(f"a grid is a Grid or a sequence of times (numbers), got {grid!r}") from None
    return Explicit(times=times)


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

    def cost(steps: int) -> int:
        path = make_path(model, sampler, steps=steps, **options)
        return nfe_of(sampler, path, last or sampler.last) or 0

    grid = None if options.get("grid") is None else as_grid(options["grid"])
    if isinstance(grid, Explicit):
        near = [len(grid.times) - 1]
    else:  # a step more never costs less, and only the first step of an upward grid is free
        above = bisect_left(range(1, nfe + 2), nfe, key=cost) + 1
        near = [above - 1, above] if above > 1 else [above]
    costs = {cost(steps): steps for steps in near}
    if nfe not in costs:
        listed = " or ".join(f"{c} (steps={steps})" for c, steps in costs.items())
        raise DifftoolError(f"{name} cannot use exactly {nfe} evaluations here; near it: {listed}")
    return costs[nfe]


class _Watch:
    """A bound model that counts its evaluations, reports those at grid points and can refuse what is not finite.

    As in a plan, the last evaluation at a grid point is the one that counts: it is reported when the sampler moves on
    (`close`: at the end). An adaptive sampler's are reported at once, all of them.
    """

    def __init__(
        self,
        bound: Bound,
        path: Path,
        first: int,
        callback: Callback | None,
        adaptive: bool = False,
        check: bool = False,
    ):
        self.bound, self.steps, self.first, self.callback = bound, len(path) - 1, first, callback
        self.adaptive, self.check = adaptive, check or adaptive
        self.places = {p: i for i, p in enumerate(path[:-1])}
        self.index = 0  # the grid point where the sampler is, or was last
        self.held: Step | None = None
        self.nfe = 0

    def __call__(self, x: Tensor, p: Point, outputs: int = 1) -> Tensor:
        answer = self.bound(x, p, outputs)
        if p.sigma == 0:
            return answer
        self.nfe += 1
        index = self.places.get(p)
        self.index = max(self.index, index or 0)
        if self.check and not bool(torch.isfinite(answer).all()):
            raise NonFinite(_not_finite(answer, p, self.index, self.steps, self.first))
        if self.callback is not None:
            self._report(Step(index, self.steps, p, x, self.first, answer), self.callback)
        return answer

    def _report(self, step: Step, callback: Callback) -> None:
        if self.adaptive:
            callback(replace(step, index=None))
        elif step.index == self.index:
            if self.held is not None and self.held.index != step.index:
                callback(self.held)
            self.held = step

    def close(self) -> None:
        """Reports what is still held."""
        if self.callback is not None and self.held is not None:
            self.callback(self.held)


def _check_kind(name: str, value: Any, kind: Any) -> None:
    if not isinstance(value, kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise DifftoolError(f"{name} is an object of the kind {names}, got {value!r}")


def _checked_device(device: torch.device | str) -> torch.device:
    """The device; `DifftoolError` if nothing can be computed there."""
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).tolist()
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DifftoolError(f"there is no device {str(device)!r} to compute on ({reason}); use cpu") from None
    return place


def _not_finite(answer: Tensor, p: Point, index: int, steps: int, first: int) -> str:
    bad = ~torch.isfinite(answer).reshape(len(answer), -1).all(dim=1)
    which = first + int(bad.nonzero()[0])
    return f"the model returned NaN or infinity at step {index + 1} of {steps} (t={p.t:.6g}), first in sample {which}"


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
