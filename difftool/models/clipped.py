"""Clipping: a model whose estimates of x0 are clamped to the range of the data.

    x0 = min(max(x0(model), low), high)

For pictures in [-1, 1]: the error of a network that predicts eps is multiplied by sigma /
alpha, and clipping keeps it from blowing up at high noise. The estimate is no longer an affine
function of the network's output, so a plan runs on x0 itself. The result is not a probability
flow: the ODE has a kink where an estimate is clipped, and orders above 1 are lost. Source: Ho
et al. 2020, Denoising diffusion probabilistic models, arXiv 2006.11239 (their code);
`clip_sample` in diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import as_range
from difftool.models.base import BoundModel, Evaluations, Model, Wrapped, check_output
from difftool.request import ESTIMATES, Request
from difftool.schedules.base import Point, Schedule


class Clipped(Wrapped):
    """A model with its estimates of x0 clamped to [low, high], for any sampler; no extra cost.

    model: any model, guided or not; low, high: the range (default: the model's own
    `data_range`). Raises `DifftoolError` for invalid values, and if no range is known.
    """

    def __init__(self, model: Model, low: float | None = None, high: float | None = None):
        if not isinstance(model, Model):
            raise DifftoolError(f"clipping takes a model, got {model!r}")
        if low is None and high is None:
            if model.data_range is None:
                raise DifftoolError(
                    "clipping needs the range of the data, which this model does not have; leave clipping out, or in "
                    "Python give the range: Clipped(model, -1, 1)"
                )
            low, high = model.data_range
        super().__init__(model)
        self.limits = self.data_range = as_range((low, high))

    def x0(self, x: Tensor, p: Point, **cond: Any) -> Tensor:
        return _clamp(self.model.x0(x, p, **cond), self.limits)

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        return BoundClipped(self, self.model.bind(schedule, cond))


class BoundClipped(BoundModel):
    """A bound model whose estimates are clipped."""

    model: Clipped

    def __init__(self, model: Clipped, free: BoundModel):
        super().__init__(model, free.schedule, free.cond)
        self.free, self.limits = free, model.limits

    def evaluate(self, x: Tensor, p: Point, to: Point | None = None) -> Tensor:
        return _clamp(self.free.evaluate(x, p, to), self.limits)

    def check(self, request: Request) -> None:
        self.free.check(request)

    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        """The requested quantities: estimates of x0 clipped, all others unchanged."""
        parts = zip(request.answers, self.free.several(x, p, request), strict=True)
        return tuple(
            _clamp(part, self.limits) if name in ESTIMATES else part for name, part in parts
        )

    def prepare(self, points: Sequence[Point], x: Tensor) -> Evaluations:
        call, inputs = self.free.prepare(points, x)
        forms = [self.free.affine(p) for p in points]

        def clipped(x: Tensor, inputs: tuple[Any, Any]) -> Tensor:
            answer, form = call(x, inputs[0]), inputs[1]
            check_output(answer, x, "the model")
            if form is None:
                x0 = answer
            else:
                x0 = torch.add(form.skip * x, answer, alpha=form.out)
            return _clamp(x0, self.limits)

        return clipped, list(zip(inputs, forms, strict=True))

    def _cut(self, index: Tensor, total: int) -> BoundModel:
        return BoundClipped(self.model, self.free.rows(index, total))


def of_pictures(model: Model) -> bool:
    """Whether the data are pictures in [-1, 1], for which clipping usually helps."""
    low, high = model.data_range or (-math.inf, math.inf)
    shape = model.shape or ()
    return len(shape) == 3 and shape[0] in (1, 3) and low >= -1 and high <= 1


def _clamp(x0: Tensor, limits: tuple[float, float]) -> Tensor:
    """x0 clamped to the limits; infinite values become NaN, so that they are not hidden."""
    return x0.clamp(*limits) + (x0 - x0)
