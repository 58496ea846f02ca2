"""Models: estimates of the clean data, x0 = E[x_0 | x_t]. All samplers speak of x0 and of nothing else.

A model may have a schedule of its own (a trained network has) or know any point (an exact model does). To be sampled
along schedule S, a model trained on schedule M is asked at M's point q of the same noise level as S's point p,

    sigma_q / alpha_q = sigma_p / alpha_p,     x_q = x_p (alpha_q + sigma_q) / (alpha_p + sigma_p),

because the estimate depends on x / alpha and sigma / alpha only. `Model.bind` returns the model tied in that way to
the sampling schedule and to its conditioning: a `BoundModel`, which is all that samplers and plans ever see.

Samplers that choose the steps of each sample ask at points of tensors (B, 1, ...), one for each, all above sigma = 0.
These are kept on the host in float64; a model gets them where its x is, in x's dtype.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError
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
    data_range: the smallest and the largest number in the data; None if that is not known.
    device: where it is; a run takes place there if nothing else is asked for.
    """

    schedule: Schedule | None = None
    shape: tuple[int, ...] | None = None
    divides_by_alpha: bool = False
    predicts: str | None = None
    guidance: float = 1.0
    nfe: int = 1
    data_range: tuple[float, float] | None = None
    device: torch.device | str = "cpu"

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
        return BoundModel(self, schedule, dict(cond or {}))


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
        self.nfe = model.nfe

    @property
    def device(self) -> torch.device | str:  # type: ignore[override]
        return self.model.device

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
    model's own largest and for an answer of another shape, dtype or device.
    """

    def __init__(self, model: Model, schedule: Schedule | None, cond: dict[str, Any]):
        self.model, self.schedule, self.cond = model, schedule, cond
        self.foreign = model.schedule is not None and model.schedule != schedule

    def __call__(self, x: Tensor, p: Point, outputs: int = 1) -> Any:
        if not one_each(p) and p.sigma == 0:
            return x / p.alpha
        if outputs != 1:
            return self.more(x, p, outputs)
        return check_output(self.evaluate(x, p), x, type(self.model).__name__)

    def more(self, x: Tensor, p: Point, outputs: int) -> Any:
        """x0 and what else the model gives; `DifftoolError` if it gives x0 alone."""
        raise DifftoolError(
            f"{type(self.model).__name__} gives x0 alone, the sampler asks for {outputs} outputs; variance=learned "
            f"takes a network that was trained with a learned variance"
        )

    def evaluate(self, x: Tensor, p: Point) -> Tensor:
        """x0 at the sampling point p, unchecked."""
        q, rescale = self.own(p)
        if one_each(p):
            q, rescale = Point(*(like(v, x) for v in q)), like(rescale, x)
        same = isinstance(rescale, float) and rescale == 1
        return self.model.x0(x if same else x * rescale, q, **self.cond)

    def rows(self, index: Tensor, total: int) -> BoundModel:
        """The model of the samples number `index` of a batch of `total`: conditioning with a row for each is cut."""
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


def same_level(p: Point, schedule: Schedule) -> tuple[Point, Any]:
    """The point of `schedule` with the noise level of p, and the factor from x_p to x there."""
    level, top = p.level, schedule.level(schedule.domain[1])
    highest = float(level.max()) if one_each(p) else level
    if highest > top * (1 + 1e-9):
        raise DifftoolError(
            f"the run reaches noise level {highest:.6g}, the model was trained up to {top:.6g} ({schedule!r}); "
            f"start at or below that level"
        )
    q = schedule.at(
        schedule.t_at_level(level.clamp(max=top) if one_each(p) else min(level, top))
    )
    return q, (q.alpha + q.sigma) / (p.alpha + p.sigma)


def as_range(limits: Any) -> tuple[float, float]:
    """Two finite numbers, low < high; `DifftoolError` for anything else."""
    try:
        low, high = (math.nan if isinstance(v, (bool, str)) else float(v) for v in limits)
    except (TypeError, ValueError, RuntimeError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise DifftoolError(f"a range is two finite numbers, low < high, got {limits!r}")
    return low, high


def one_each(p: Point) -> bool:
    """Whether every sample has a point of its own: tensors (B, 1, ...)."""
    return isinstance(p.sigma, Tensor) and p.sigma.ndim > 0


def like(value: Any, x: Tensor) -> Any:
    """Tensors where x is, in x's dtype; numbers as they are."""
    return (
        value.to(x.dtype).to(x.device, non_blocking=True)
        if isinstance(value, Tensor)
        else value
    )


def check_output(out: Any, x: Tensor, who: str) -> Tensor:
    """The answer of a model to x; `DifftoolError` if its type, shape, dtype or device is not that of x."""
    if not isinstance(out, Tensor):
        way_out = (
            "; let it return its .sample"
            if isinstance(getattr(out, "sample", None), Tensor)
            else ""
        )
        kind = type(out).__name__
        raise DifftoolError(
            f"{who} returned a {kind}, expected a tensor of shape {tuple(x.shape)}{way_out}"
        )
    if out.shape == x.shape and out.dtype == x.dtype and out.device == x.device:
        return out
    for name in ("shape", "dtype", "device"):
        got, expected = getattr(out, name), getattr(x, name)
        if got != expected:
            got, expected = (
                (tuple(got), tuple(expected)) if name == "shape" else (got, expected)
            )
            twice = (
                name == "shape"
                and x.ndim > 1
                and got == (expected[0], 2 * expected[1], *expected[2:])
            )
            way_out = (
                "; if the rest is a variance: NetworkModel(..., learned_variance=True)"
                if twice
                else ""
            )
            raise DifftoolError(
                f"{who} returned {name} {got}, expected {expected} (that of the state){way_out}"
            )
    return out


def as_rows(cond: Mapping[str, Any]) -> dict[str, Any]:
    """The conditioning with tensors in place of arrays and of lists of numbers, which have a row for each sample."""

    def holds_rows(name: str, value: Any) -> bool:
        kinds = (
            (list, tuple) if name == "label" else list
        )  # another tuple may be a size, of all samples
        listed = isinstance(value, kinds) and all(isinstance(v, numbers.Real) for v in value)
        return listed or hasattr(value, "__array__")

    return {
        name: torch.as_tensor(value) if holds_rows(name, value) else value
        for name, value in cond.items()
    }


def slice_cond(cond: Mapping[str, Any], first: int, count: int, total: int) -> dict[str, Any]:
    """The conditioning of samples first .. first + count: tensors are cut along their first axis, the rest is kept."""
    out: dict[str, Any] = {}
    for name, value in cond.items():
        if isinstance(value, Tensor) and value.ndim:
            if len(value) != total:
                raise DifftoolError(
                    f"cond {name!r} has {len(value)} rows, expected {total}, one for each sample"
                )
            value = value[first : first + count]
        out[name] = value
    return out
