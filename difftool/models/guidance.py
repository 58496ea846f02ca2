"""Classifier-free guidance: a model that asks another one twice, with its conditioning and without.

    x0 = x0(without) + w (x0(with) - x0(without))

w = 1 is the conditional model, 0 the unconditional one; Ho & Salimans' own w is one less. Raw network outputs are
guided in the same way, for x0 is the same affine function of both at a point: whatever the network returns, a sampler
keeps its plan. Source: Ho & Salimans 2022, Classifier-free diffusion guidance, arXiv 2207.12598.
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
    """A conditional model with guidance, to sample with any sampler; two evaluations of the model for each of its own.

    model: any model that takes conditioning and does without it.
    scale: w (a finite number; 1: no guidance, and no second evaluation but where `uncond` is asked for).
    without: the conditioning of the second evaluation, by name; default: none. A negative prompt, say. Tensors have a
        row for each sample and are cut with the batch.

    Raises `DifftoolError` for other values, and when sampling without conditioning.
    """

    def __init__(self, model: Model, scale: float, without: Mapping[str, Any] | None = None):
        if not isinstance(model, Model):
            raise DifftoolError(f"guidance takes a model, got {model!r}")
        if (
            isinstance(scale, bool)
            or not isinstance(scale, numbers.Real)
            or not math.isfinite(scale)
        ):
            raise DifftoolError(f"the guidance scale is a finite number, got {scale!r}")
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
        # one row is everybody's
        cut.without = {
            **self.without,
            **slice_cond(rows, first, count, total),
        }
        return cut

    @property
    def answers(self) -> frozenset[str]:
        return self.model.answers | {"uncond"}

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        given = self.model.bind(schedule, cond) if cond else None
        return BoundGuided(self, given, self.model.bind(schedule, self.without))


class BoundGuided(BoundModel):
    """Two bound models, asked in turn; given: None in a run that has named conditions alone."""

    def __init__(self, model: Guided, given: BoundModel | None, without: BoundModel):
        if given is None:
            own = {}
        else:
            own = given.cond
        super().__init__(model, without.schedule, {**own, **without.cond})
        self._given, self.plain, self.scale = given, without, model.scale

    @property
    def given(self) -> BoundModel:
        """The model with its condition; `DifftoolError` if there is none."""
        if self._given is None:
            raise DifftoolError(
                "guidance leads to a condition; give one (cond={'label': ...}), or sample without it"
            )
        return self._given

    def evaluate(self, x: Tensor, p: Point, to: Point | None = None) -> Tensor:
        if self.scale == 1:
            return self.given.evaluate(x, p, to)
        return torch.lerp(
            self.plain.evaluate(x, p, to), self.given.evaluate(x, p, to), self.scale
        )

    def check(self, request: Request) -> None:
        led = _led(request)
        if led is None:
            self.plain.check(replace(request, answers=("x0",)))
        else:
            self.given.check(led)

    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        """x0 with guidance, `uncond` without; what else there is as the condition has it."""
        led, known = _led(request), {}
        if led is not None:
            known = dict(zip(led.answers, self.given.several(x, p, led), strict=True))
        guided = "x0" in known and self.scale != 1
        if guided or "uncond" in request.answers:
            plain = known["uncond"] = self.plain.evaluate(x, p, request.to)
            if guided:
                known["x0"] = torch.lerp(plain, known["x0"], self.scale)
        return tuple(known[name] for name in request.answers)

    def affine(self, p: Point) -> Affine | None:
        return self.plain.affine(p)

    def prepare(self, points: Sequence[Point], x: Tensor) -> Evaluations:
        given, told = self.given.prepare(points, x)
        if self.scale == 1:
            return given, told
        plain, also = self.plain.prepare(points, x)

        def call(x: Tensor, told: tuple[Any, Any]) -> Tensor:
            first = plain(x, told[1])
            second = given(x, told[0])
            if second.data_ptr() == first.data_ptr():
                raise DifftoolError(
                    "the network writes its answers into one tensor; guidance takes two, return new ones"
                )
            return first + self.scale * (second - first)

        return call, list(zip(told, also, strict=True))

    def _cut(self, index: Tensor, total: int) -> BoundModel:
        assert isinstance(self.model, Guided)
        if self._given is None:
            given = None
        else:
            given = self._given.rows(index, total)
        return BoundGuided(self.model, given, self.plain.rows(index, total))


def _led(request: Request) -> Request | None:
    """What is asked of the model with its condition: all but `uncond`."""
    names = tuple(name for name in request.answers if name != "uncond")
    if names:
        return replace(request, answers=names)
    return None
