"""Models: estimates of the clean data, x0 = E[x_0 | x_t]. All samplers speak of x0 and of nothing else.

A model may have a schedule of its own (a trained network has) or know any point (an exact model does). To be sampled
along schedule S, a model trained on schedule M is asked at M's point q of the same noise level as S's point p,

    sigma_q / alpha_q = sigma_p / alpha_p,     x_q = x_p (alpha_q + sigma_q) / (alpha_p + sigma_p),

because the estimate depends on x / alpha and sigma / alpha only. `Model.bind` returns the model tied in that way to
the sampling schedule and to its conditioning: a `BoundModel`, which is all that samplers and plans ever see.

Samplers that choose the steps of each sample ask at points of tensors (B, 1, ...), one for each, all above sigma = 0.
These are kept on the host in float64; a model gets them where its x is, in x's dtype.

What else a sampler may ask a model for has names (`difftool.request`). A value of the
conditioning that is a mapping is a named condition, {"source": {"label": ..}, "target": {..}}:
another conditioning, for evaluations that ask for it by that name.
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
    """An estimate of x_0. A new model implements `x0`; the rest has defaults.

    schedule: the schedule that it was trained on, None if it knows every point.
    shape: the shape of one sample, None if any goes.
    divides_by_alpha: True if the estimate is undefined at alpha = 0 (networks that predict eps or the score).
    predicts: what a network answers with (see `parametrization`), by which its errors grow on the way to x0; None if
        nothing is known of them.
    guidance: the scale of classifier-free guidance; 1: none.
    nfe: network evaluations of one answer to a sampler: with guidance 2, also where they are one doubled batch.
    classes: the number of classes that `label` may name, 0 .. classes - 1; None if it has none, or does not say.
    data_range: the smallest and the largest number in the data; None if that is not known.
    device: where it is; a run takes place there if nothing else is asked for.
    answers: what it can be asked for.
    flow_map: True if `x0` takes a target point as well, `x0(x, p, to=q, **cond)`.
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
        """E[x_0 | x_t = x] at the point p of the model's own schedule; same shape and dtype as x.

        p holds floats, or tensors (B, 1, ...) like x if each sample has a point of its own.
        """

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """The model on that device, with that dtype of its network."""
        return self

    @property
    def answers(self) -> frozenset[str]:
        return frozenset({"x0"})

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in; the state of a run is never below float32."""
        return torch.float32

    def part(self, first: int, count: int, total: int) -> Self:
        """The model of samples first .. first + count of `total`, if it holds anything with a row for each."""
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it the model is as it is to be when it is sampled: a network in eval mode, no dropout."""
        yield

    def bind(
        self, schedule: Schedule | None, cond: Mapping[str, Any] | None = None
    ) -> BoundModel:
        """This model as seen from the sampling schedule (None: from bare points), with its conditioning filled in."""
        own, named = self._split(cond or {})
        bound = self._bound(schedule, own)
        bound.conditions = {
            name: self._bound(schedule, self._one(name, value)) for name, value in named.items()
        }
        return bound

    def takes(self, name: str) -> bool:
        """Whether it takes a mapping as conditioning of that name, which is no named condition then."""
        return False

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        """This model tied to one conditioning, without named ones."""
        return BoundModel(self, schedule, cond)

    def _split(
        self, cond: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Mapping[str, Any]]]:
        """The conditioning of the run, and the named ones."""
        named = {
            name: value
            for name, value in cond.items()
            if isinstance(value, Mapping) and not self.takes(name)
        }
        return {name: value for name, value in cond.items() if name not in named}, named

    def _one(self, name: str, cond: Mapping[str, Any]) -> dict[str, Any]:
        """A named condition; `DifftoolError` if there are others in it."""
        own, named = self._split(cond)
        if named:
            raise DifftoolError(
                f"the condition {name!r} has another one in it, {', '.join(named)}"
            )
        return own


class Wrapped(Model):
    """A model around another one, `model`: what is not its own it has from that."""

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

    At sigma = 0 the answer is x / alpha and costs no evaluation. Raises `DifftoolError` for a noise level above the
    model's own largest, for an answer of another shape, dtype or device, and for a request that it cannot answer.

    conditions: the same model, bound to the named conditions of the run.
    """

    def __init__(self, model: Model, schedule: Schedule | None, cond: dict[str, Any]):
        self.model, self.schedule, self.cond = model, schedule, cond
        self.foreign = model.schedule is not None and model.schedule != schedule
        self.conditions: dict[str, BoundModel] = {}

    def __call__(self, x: Tensor, p: Point, **asked: Any) -> Any:
        return self.answer(x, p, request_of(asked))

    def answer(self, x: Tensor, p: Point, request: Request = PLAIN) -> Any:
        """What is asked for at p: like x, or a tuple of such for several answers."""
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
        """The bound model of the condition asked for; `DifftoolError`, with the reason, if it cannot answer."""
        bound: BoundModel | None = self
        if request.condition is not None:
            bound = self.conditions.get(request.condition)
        if bound is None:
            known = ", ".join(self.conditions) or "none"
            name = request.condition
            raise DifftoolError(
                f"the sampler asks for the condition {name!r}, this run has: {known}; give it by name: "
                f"cond={{{name!r}: {{'label': ...}}}}"
            )
        bound.check(request)
        return bound

    def check(self, request: Request) -> None:
        """Raise `DifftoolError`, with the reason, if the model does not know the answers, or no target."""
        kind = type(self.model).__name__
        unknown = [name for name in request.answers if name not in self.model.answers]
        if unknown:
            raise DifftoolError(_cannot_answer(kind, self.model.answers, request, unknown))
        if request.to is not None and not self.model.flow_map:
            raise DifftoolError(
                f"the sampler asks for the way to a target point (t={request.to.t:g}), which flow maps know; "
                f"{kind} is none"
            )

    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        """The answers under this condition, in the order asked, unchecked; for models that know more than x0."""
        return (self.evaluate(x, p, request.to),)

    def evaluate(self, x: Tensor, p: Point, to: Point | None = None) -> Tensor:
        """x0 at the sampling point p, unchecked; to: the target, for a flow map."""
        x, q = self.seen(x, p)
        if to is None:
            return self.model.x0(x, q, **self.cond)
        return self.model.x0(x, q, to=self.own(to)[0], **self.cond)

    def seen(self, x: Tensor, p: Point) -> tuple[Tensor, Point]:
        """The state and the point as the model has them on its own schedule."""
        q, rescale = self.own(p)
        if one_each(p):
            q, rescale = Point(*(like(v, x) for v in q)), like(rescale, x)
        same = isinstance(rescale, float) and rescale == 1
        return x if same else x * rescale, q

    def rows(self, index: Tensor, total: int) -> BoundModel:
        """The model of the samples number `index` of a batch of `total`: conditioning with a row for each is cut."""
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
        """The model's own point at the noise level of p, and the factor from x there to x here."""
        if not self.foreign or self.model.schedule is None:
            return p, 1.0
        return same_level(p, self.model.schedule)

    def affine(self, p: Point) -> Affine | None:
        """How x0 follows from the network's raw output at p; None if it does not in an affine way."""
        return None

    def prepare(self, points: Sequence[Point], x: Tensor) -> Evaluations:
        """`call, told`: call(x, told[i]) is the evaluation at points[i] for states like x.

        All that does not depend on x is computed beforehand. The answer is the raw output where `affine` is not None,
        else x0; the caller checks its shape.
        """
        return self.evaluate, points


def _cannot_answer(
    kind: str, known: frozenset[str], request: Request, missing: list[str]
) -> str:
    """The line about answers that a model of that kind does not give."""
    learned = "variance=learned takes a network that was trained with a learned variance"
    if request.answers == WITH_VARIANCE.answers and known == {"x0"}:
        return f"{kind} gives x0 alone, the sampler asks for 2 outputs; {learned}"
    ways = {"uncond": "guidance gives uncond: Guided(model, scale)", "variance": learned}
    way_out = "".join(f"; {ways[name]}" for name in missing if name in ways)
    return f"{kind} gives {', '.join(sorted(known))}, the sampler asks for {', '.join(missing)}{way_out}"


def same_level(p: Point, schedule: Schedule) -> tuple[Point, Any]:
    """The point of `schedule` with the noise level of p, and the factor from x_p to x there."""
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
    """Whether every sample has a point of its own: tensors (B, 1, ...)."""
    return isinstance(p.sigma, Tensor) and p.sigma.ndim > 0


def like(value: Any, x: Tensor) -> Any:
    """Tensors where x is, in x's dtype; numbers as they are."""
    if isinstance(value, Tensor):
        return value.to(x.dtype).to(x.device, non_blocking=True)
    return value


def check_output(out: Any, x: Tensor, who: str) -> Tensor:
    """The answer of a model to x; `DifftoolError` if its type, shape, dtype or device is not that of x."""
    if not isinstance(out, Tensor):
        if isinstance(getattr(out, "sample", None), Tensor):
            way_out = "; let it return its .sample"
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
                way_out = (
                    "; if the rest is a variance: NetworkModel(..., learned_variance=True)"
                )
            else:
                way_out = ""
            raise DifftoolError(
                f"{who} returned {name} {got}, expected {expected} (that of the state){way_out}"
            )
    return out


def as_rows(cond: Mapping[str, Any]) -> dict[str, Any]:
    """The conditioning with tensors in place of arrays and of lists of numbers, which have a row for each sample.

    In named conditions too.
    """

    def holds_rows(name: str, value: Any) -> bool:
        # another tuple may be a size, of all samples
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
    """The conditioning of samples first .. first + count: tensors are cut along their first axis, the rest is kept.

    In named conditions too.
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
