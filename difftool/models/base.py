"""Models: estimates of the clean data, x0 = E[x_0 | x_t]. Samplers work with x0 only.

A model may have its own schedule (a trained network does) or accept any point (an exact model
does). To sample along schedule S with a model trained on schedule M, the model is evaluated at
M's point q with the same noise level as S's point p,

    sigma_q / alpha_q = sigma_p / alpha_p,     x_q = x_p (alpha_q + sigma_q) / (alpha_p + sigma_p),

because the estimate depends on x / alpha and sigma / alpha only. `Model.bind` ties the model to
the sampling schedule in this way, and to its conditioning, and returns a `BoundModel`: all that
samplers and plans ever see.

Samplers with per-sample adaptive steps evaluate at points that hold tensors (B, 1, ...), one
entry per sample, all above sigma = 0. These are kept on the host in float64; a model gets them
on the device and in the dtype of its x.

`difftool.request` lists what else a sampler may request from a model. A conditioning value that
is a mapping is a named condition, {"source": {"label": ..}, "target": {..}}: an alternative
conditioning, for evaluations that request it by name.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.request import PLAIN, WITH_VARIANCE, Request, request_of
from difftool.schedules.base import Point, Schedule


class Affine(NamedTuple):
    """x0 = skip x + out F, with F = network(scale x, time): a parametrization at one point."""

    skip: float
    out: float
    scale: float = 1.0
    time: float = 0.0


Evaluations = tuple[Callable[[Tensor, Any], Tensor], Sequence[Any]]


class Model(ABC):
    """An estimate of x_0. A new model implements `x0`; everything else has a default.

    schedule: the schedule it was trained on; None if it accepts any point.
    shape: the shape of one sample; None if any shape works.
    divides_by_alpha: True if the estimate is undefined at alpha = 0 (networks that predict eps
        or the score).
    predicts: what the network predicts (see `parametrization`), which determines how its errors
        grow on the way to x0; None if unknown.
    guidance: the scale of classifier-free guidance; 1: none.
    nfe: network evaluations per call by a sampler: 2 with guidance, even as one doubled batch.
    classes: the number of classes, with labels 0 .. classes - 1; None if it has none, or if
        that is unknown.
    data_range: the smallest and the largest value in the data; None if unknown.
    device: where the model is; a run takes place there unless another device is specified.
    answers: the quantities that it can return.
    flow_map: True if `x0` also takes a target point, `x0(x, p, to=q, **cond)`.
    """

    schedule: Schedule | None = None
    shape: tuple[int, ...] | None = None
    divides_by_alpha: bool = False
    predicts: str | None = None
    guidance: float = 1.0
    nfe: int = 1
    classes: int | None = None
    data_range: tuple[float, float] | None = None
    device: torch.device | str = "cpu"
    flow_map: bool = False

    @abstractmethod
    def x0(self, x: Tensor, p: Point, **cond: Any) -> Tensor:
        """E[x_0 | x_t = x] at point p of the model's own schedule; same shape and dtype as x.

        p holds floats, or tensors (B, 1, ...) with a separate point for each sample.
        """

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """The model moved to that device, with its network in that dtype."""
        return self

    @property
    def answers(self) -> frozenset[str]:
        return frozenset({"x0"})

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the network computes in; the state of a run is never below float32."""
        return torch.float32

    def part(self, first: int, count: int, total: int) -> Self:
        """The model for samples first .. first + count of `total`: slices per-sample data."""
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Prepare the model for sampling within this context: eval mode, no dropout."""
        yield

    def bind(
        self, schedule: Schedule | None, cond: Mapping[str, Any] | None = None
    ) -> BoundModel:
        """Bind this model to the sampling schedule (None: bare points) and its conditioning."""
        own, named = self._split(cond or {})
        bound = self._bound(schedule, own)
        bound.conditions = {
            name: self._bound(schedule, self._one(name, value)) for name, value in named.items()
        }
        return bound

    def takes(self, name: str) -> bool:
        """Whether a mapping of that name is ordinary conditioning, not a named condition."""
        return False

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        """This model bound to one conditioning, without named conditions."""
        return BoundModel(self, schedule, cond)

    def _split(
        self, cond: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
        """The conditioning of the run, and its named conditions."""
        named = {
            name: value
            for name, value in cond.items()
            if isinstance(value, Mapping) and not self.takes(name)
        }
        return {name: value for name, value in cond.items() if name not in named}, named

    def _one(self, name: str, cond: Mapping[str, Any]) -> dict[str, Any]:
        """The conditioning of a named condition; `DifftoolError` if it contains another one."""
        own, named = self._split(cond)
        if named:
            raise DifftoolError(
                f"conditions cannot be nested: {name!r} contains {', '.join(named)}"
            )
        return own


class Wrapped(Model):
    """A wrapper around a model, `model`, to which it delegates what it does not override."""

    def __init__(self, model: Model):
        self.model = model
        self.schedule, self.shape, self.divides_by_alpha = (
            model.schedule,
            model.shape,
            model.divides_by_alpha,
        )
        self.predicts, self.guidance, self.data_range = (
            model.predicts,
            model.guidance,
            model.data_range,
        )
        self.nfe, self.classes = model.nfe, model.classes

    @property
    def device(self) -> torch.device | str:  # type: ignore[override]
        return self.model.device

    @property
    def answers(self) -> frozenset[str]:
        return self.model.answers

    @property
    def flow_map(self) -> bool:  # type: ignore[override]
        return self.model.flow_map

    def takes(self, name: str) -> bool:
        return self.model.takes(name)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        self.model = self.model.to(device, dtype)
        return self

    def part(self, first: int, count: int, total: int) -> Self:
        inner = self.model.part(first, count, total)
        if inner is self.model:
            return self
        cut = copy(self)
        cut.model = inner
        return cut

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with self.model.evaluating():
            yield


class BoundModel:
    """A model tied to a sampling schedule and a conditioning: `bound(x, p) -> x0`.

    At sigma = 0 the answer is x / alpha and costs no evaluation. Raises `DifftoolError` for a
    noise level above the model's own largest, for an answer of the wrong shape, dtype or
    device, and for a request that the model cannot answer.

    conditions: the same model, bound to each named condition of the run.
    """

    def __init__(self, model: Model, schedule: Schedule | None, cond: dict[str, Any]):
        self.model, self.schedule, self.cond = model, schedule, cond
        self.foreign = model.schedule is not None and model.schedule != schedule
        self.conditions: dict[str, BoundModel] = {}

    def __call__(self, x: Tensor, p: Point, **asked: Any) -> Any:
        return self.answer(x, p, request_of(asked))

    def answer(self, x: Tensor, p: Point, request: Request = PLAIN) -> Any:
        """The requested quantity at p, shaped like x; a tuple if several are requested."""
        if request is PLAIN:
            bound = self
        else:
            bound = self.asked(request)
        if not one_each(p) and p.sigma == 0:
            return request.at_clean(x / p.alpha)
        if request == PLAIN:
            return check_output(bound.evaluate(x, p), x, type(self.model).__name__)
        parts = bound.several(x, p, request)
        for part in parts:
            check_output(part, x, type(self.model).__name__)
        return request.unpacked(parts)

    def asked(self, request: Request) -> BoundModel:
        """The bound model for the requested condition; `DifftoolError` if it cannot answer."""
        bound: BoundModel | None = self
        if request.condition is not None:
            bound = self.conditions.get(request.condition)
        if bound is None:
            known = ", ".join(self.conditions) or "none"
            name = request.condition
            raise DifftoolError(
                f"the sampler asks for the condition {name!r}, but this run has: {known}; pass it as "
                f"cond={{{name!r}: {{'label': ...}}}}"
            )
        bound.check(request)
        return bound

    def check(self, request: Request) -> None:
        """Raise `DifftoolError` if the model cannot answer the request or takes no target."""
        kind = type(self.model).__name__
        unknown = [name for name in request.answers if name not in self.model.answers]
        if unknown:
            raise DifftoolError(_cannot_answer(kind, self.model.answers, request, unknown))
        if request.to is not None and not self.model.flow_map:
            raise DifftoolError(
                f"the sampler asks for a jump to a target point (t={request.to.t:g}), which only flow maps "
                f"support; {kind} is not a flow map"
            )

    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        """The requested quantities in order, unchecked; override it to return more than x0."""
        return (self.evaluate(x, p, request.to),)

    def evaluate(self, x: Tensor, p: Point, to: Point | None = None) -> Tensor:
        """x0 at the sampling point p, unchecked; to: the target point of a flow map."""
        x, q = self.seen(x, p)
        if to is None:
            return self.model.x0(x, q, **self.cond)
        return self.model.x0(x, q, to=self.own(to)[0], **self.cond)

    def seen(self, x: Tensor, p: Point) -> tuple[Tensor, Point]:
        """The state and the point, converted to the model's own schedule."""
        q, rescale = self.own(p)
        if one_each(p):
            q, rescale = Point(*(like(v, x) for v in q)), like(rescale, x)
        same = isinstance(rescale, float) and rescale == 1
        return x if same else x * rescale, q

    def rows(self, index: Tensor, total: int) -> BoundModel:
        """The model for the samples at `index` of a batch of `total`: indexes conditioning."""
        part = self._cut(index, total)
        part.conditions = {
            name: bound.rows(index, total) for name, bound in self.conditions.items()
        }
        return part

    def _cut(self, index: Tensor, total: int) -> BoundModel:
        part = copy(self)
        part.cond = {
            name: v[index.to(v.device, non_blocking=True)]
            if isinstance(v, Tensor) and v.ndim and len(v) == total
            else v
            for name, v in self.cond.items()
        }
        return part

    def own(self, p: Point) -> tuple[Point, Any]:
        """The model's own point at the noise level of p, and the factor to rescale x to it."""
        if not self.foreign or self.model.schedule is None:
            return p, 1.0
        return same_level(p, self.model.schedule)

    def affine(self, p: Point) -> Affine | None:
        """The affine map from the network's raw output to x0 at p; None if there is none."""
        return None

    def prepare(self, points: Sequence[Point], x: Tensor) -> Evaluations:
        """`call, inputs`: call(x, inputs[i]) evaluates at points[i] for states like x.

        Everything that does not depend on x is computed beforehand. The answer is the raw
        output where `affine` is not None, else x0; the caller checks its shape.
        """
        return self.evaluate, points


def _cannot_answer(
    kind: str, known: frozenset[str], request: Request, missing: list[str]
) -> str:
    """The error message about quantities that a model of that kind does not return."""
    learned = "variance=learned needs a network trained with a learned variance"
    if request.answers == WITH_VARIANCE.answers and known == {"x0"}:
        return f"{kind} returns x0 only, but the sampler asks for 2 outputs; {learned}"
    ways = {"uncond": "uncond needs guidance: Guided(model, scale)", "variance": learned}
    way_out = "".join(f"; {ways[name]}" for name in missing if name in ways)
    returned, asked = ", ".join(sorted(known)), ", ".join(missing)
    return f"{kind} returns {returned}, but the sampler asks for {asked}{way_out}"


def same_level(p: Point, schedule: Schedule) -> tuple[Point, Any]:
    """The point of `schedule` at the noise level of p, and the factor that rescales x to it."""
    level, top = p.level, schedule.level(schedule.domain[1])
    if one_each(p):
        highest = float(level.max())
    else:
        highest = level
    if highest > top * (1 + 1e-9):
        raise DifftoolError(
            f"the run reaches noise level {highest:.6g}, the model was trained up to {top:.6g} ({schedule!r}); "
            f"start at or below that level"
        )
    q = schedule.at(
        schedule.t_at_level(level.clamp(max=top) if one_each(p) else min(level, top))
    )
    return q, (q.alpha + q.sigma) / (p.alpha + p.sigma)


def one_each(p: Point) -> bool:
    """Whether p holds a separate point for each sample: tensors (B, 1, ...)."""
    return isinstance(p.sigma, Tensor) and p.sigma.ndim > 0


def like(value: Any, x: Tensor) -> Any:
    """Tensors moved to x's device and dtype; numbers unchanged."""
    if isinstance(value, Tensor):
        return value.to(x.dtype).to(x.device, non_blocking=True)
    return value


def check_output(out: Any, x: Tensor, who: str) -> Tensor:
    """Return a model's output; `DifftoolError` unless its shape, dtype and device match x."""
    if not isinstance(out, Tensor):
        if isinstance(getattr(out, "sample", None), Tensor):
            way_out = "; return its .sample instead"
        else:
            way_out = ""
        kind = type(out).__name__
        raise DifftoolError(
            f"{who} returned a {kind}, expected a tensor of shape {tuple(x.shape)}{way_out}"
        )
    if out.shape == x.shape and out.dtype == x.dtype and out.device == x.device:
        return out
    for name in ("shape", "dtype", "device"):
        got, expected = getattr(out, name), getattr(x, name)
        if got != expected:
            if name == "shape":
                got, expected = (tuple(got), tuple(expected))
            else:
                got, expected = (got, expected)
            twice = (
                name == "shape"
                and x.ndim > 1
                and got == (expected[0], 2 * expected[1], *expected[2:])
            )
            if twice:
                way_out = "; for a learned variance, NetworkModel(..., learned_variance=True)"
            else:
                way_out = ""
            raise DifftoolError(
                f"{who} returned {name} {got}, expected {expected} as in the state{way_out}"
            )
    return out


def as_rows(cond: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arrays and lists of numbers in the conditioning to tensors, one row per sample.

    Named conditions are converted too.
    """

    def holds_rows(name: str, value: Any) -> bool:
        # any other tuple may be a size, shared by all samples
        listed = isinstance(value, list) or (name == "label" and isinstance(value, tuple))
        listed = listed and all(isinstance(v, numbers.Real) for v in value)
        return listed or hasattr(value, "__array__")

    out: dict[str, Any] = {}
    for name, value in cond.items():
        if isinstance(value, Mapping):
            value = as_rows(value)
        elif holds_rows(name, value):
            value = torch.as_tensor(value)
        out[name] = value
    return out


def slice_cond(cond: Mapping[str, Any], first: int, count: int, total: int) -> dict[str, Any]:
    """The conditioning of samples first .. first + count: tensors are sliced along dim 0.

    Named conditions are sliced too; everything else is kept.
    """
    out: dict[str, Any] = {}
    for name, value in cond.items():
        if isinstance(value, Mapping):
            value = slice_cond(value, first, count, total)
        if isinstance(value, Tensor) and value.ndim:
            if len(value) != total:
                raise DifftoolError(
                    f"cond {name!r} has {len(value)} rows, expected {total}, one for each sample"
                )
            value = value[first : first + count]
        out[name] = value
    return out
