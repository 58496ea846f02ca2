"""Classifier-free guidance: a model that evaluates another one with and without conditioning.

    x0 = x0(without) + w (x0(with) - x0(without))

w = 1 is the conditional model, 0 the unconditional one; the w in Ho & Salimans is one less. Raw
network outputs are combined in the same way, because x0 is the same affine function of both at
a point: a sampler keeps its plan whatever the network predicts. Source: Ho & Salimans 2022,
Classifier-free diffusion guidance, arXiv 2207.12598.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import (
    Affine,
    BoundModel,
    Evaluations,
    Model,
    Wrapped,
    as_rows,
    slice_cond,
)
from difftool.request import Request
from difftool.schedules.base import Point, Schedule


class Guided(Wrapped):
    """A conditional model with guidance, for any sampler; an evaluation costs two of the model.

    model: any model that works with and without conditioning.
    scale: w (a finite number; 1: no guidance, and no second evaluation unless `uncond` is
        requested).
    without: the conditioning of the second evaluation, by name, e.g. a negative prompt
        (default: none). Tensors have one row per sample and are sliced with the batch.

    Raises `DifftoolError` for invalid values, and when sampled without conditioning.
    """

    def __init__(self, model: Model, scale: float, without: Mapping[str, Any] | None = None):
        if not isinstance(model, Model):
            raise DifftoolError(f"guidance takes a model, got {model!r}")
        if (
            isinstance(scale, bool)
            or not isinstance(scale, numbers.Real)
            or not math.isfinite(scale)
        ):
            raise DifftoolError(f"the guidance scale must be a finite number, got {scale!r}")
        super().__init__(model)
        self.scale: float = float(scale)
        self.without: dict[str, Any] = as_rows(without or {})
        self.guidance = self.scale
        self.nfe = model.nfe * (1 if self.scale == 1 else 2)

    def x0(self, x: Tensor, p: Point, **cond: Any) -> Tensor:
        plain = self.model.x0(x, p, **self.without)
        return plain + self.scale * (self.model.x0(x, p, **cond) - plain)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        super().to(device, dtype)
        self.without = {
            name: v.to(device) if isinstance(v, Tensor) else v
            for name, v in self.without.items()
        }
        return self

    def part(self, first: int, count: int, total: int) -> Self:
        cut = copy(super().part(first, count, total))
        rows = {
            name: v
            for name, v in self.without.items()
            if not (isinstance(v, Tensor) and v.ndim and len(v) == 1)
        }
        # a single row is shared by all samples
        cut.without = {
            **self.without,
            **slice_cond(rows, first, count, total),
        }
        return cut

    @property
    def answers(self) -> frozenset[str]:
        return self.model.answers | {"uncond"}

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        conditioned = self.model.bind(schedule, cond) if cond else None
        return BoundGuided(self, conditioned, self.model.bind(schedule, self.without))


class BoundGuided(BoundModel):
    """Two bound models, evaluated in turn; conditioned: None if all conditions are named."""

    def __init__(self, model: Guided, conditioned: BoundModel | None, without: BoundModel):
        if conditioned is None:
            own = {}
        else:
            own = conditioned.cond
        super().__init__(model, without.schedule, {**own, **without.cond})
        self._conditioned, self.plain, self.scale = conditioned, without, model.scale

    @property
    def conditioned(self) -> BoundModel:
        """The model with its conditioning; `DifftoolError` if there is none."""
        if self._conditioned is None:
            raise DifftoolError(
                "guidance needs conditioning; pass it (cond={'label': ...}), or sample without guidance"
            )
        return self._conditioned

    def evaluate(self, x: Tensor, p: Point, to: Point | None = None) -> Tensor:
        if self.scale == 1:
            return self.conditioned.evaluate(x, p, to)
        return torch.lerp(
            self.plain.evaluate(x, p, to), self.conditioned.evaluate(x, p, to), self.scale
        )

    def check(self, request: Request) -> None:
        rest = _without_uncond(request)
        if rest is None:
            self.plain.check(replace(request, answers=("x0",)))
        else:
            self.conditioned.check(rest)

    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        """x0 with guidance, `uncond` without; everything else from the conditioned model."""
        rest, known = _without_uncond(request), {}
        if rest is not None:
            known = dict(zip(rest.answers, self.conditioned.several(x, p, rest), strict=True))
        guided = "x0" in known and self.scale != 1
        if guided or "uncond" in request.answers:
            plain = known["uncond"] = self.plain.evaluate(x, p, request.to)
            if guided:
                known["x0"] = torch.lerp(plain, known["x0"], self.scale)
        return tuple(known[name] for name in request.answers)

    def affine(self, p: Point) -> Affine | None:
        return self.plain.affine(p)

    def prepare(self, points: Sequence[Point], x: Tensor) -> Evaluations:
        conditioned, inputs = self.conditioned.prepare(points, x)
        if self.scale == 1:
            return conditioned, inputs
        plain, plain_inputs = self.plain.prepare(points, x)

        def call(x: Tensor, inputs: tuple[Any, Any]) -> Tensor:
            first = plain(x, inputs[1])
            second = conditioned(x, inputs[0])
            if second.data_ptr() == first.data_ptr():
                raise DifftoolError(
                    "the network reuses its output tensor; guidance needs two outputs at once, return a new tensor"
                )
            return first + self.scale * (second - first)

        return call, list(zip(inputs, plain_inputs, strict=True))

    def _cut(self, index: Tensor, total: int) -> BoundModel:
        assert isinstance(self.model, Guided)
        if self._conditioned is None:
            conditioned = None
        else:
            conditioned = self._conditioned.rows(index, total)
        return BoundGuided(self.model, conditioned, self.plain.rows(index, total))


def _without_uncond(request: Request) -> Request | None:
    """The request to the conditioned model: all but `uncond`; None if nothing is left."""
    names = tuple(name for name in request.answers if name != "uncond")
    if names:
        return replace(request, answers=names)
    return None
