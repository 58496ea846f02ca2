"""Monitoring of a run: steps at grid points, evaluation counts, NaN and infinity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite
from difftool.models.base import BoundModel, one_each
from difftool.plan.execution import version_of
from difftool.plan.runner import WRITTEN
from difftool.request import request_of
from difftool.schedules import Path, Point


@dataclass(frozen=True)
class Step:
    """The argument of a callback, before the step from `point` is taken.

    x is the live state: clone it to keep it, and do not modify it (use `Plan.steps` for that).
    There is no callback for grid points at which the model is not evaluated (`churn` evaluates
    it at raised noise levels).

    index: the grid point, 0 .. steps - 1 (None for samplers that choose their own steps).
    first: global index of the batch's first sample. rows: which samples of the batch x holds
    (None: all). With per-sample step sizes, `point` holds tensors (number, 1, ...) on the CPU.
    """

    index: int | None
    steps: int
    point: Point
    x: Tensor
    first: int
    _answer: Tensor = field(repr=False)
    _bound: BoundModel | None = field(repr=False, default=None)
    rows: list[int] | None = None

    @property
    def x0(self) -> Tensor:
        """The model's estimate of x_0 at this point."""
        if self._bound:
            affine = self._bound.affine(self.point)
        else:
            affine = None
        if affine is None:
            return self._answer
        return affine.skip * self.x + affine.out * self._answer


Callback = Callable[[Step], None]


class Watch:
    """A bound model that counts evaluations, reports grid points and can detect NaN.

    Only the last evaluation at a grid point is reported. If the sampler has a plan,
    `grid_index` gives the grid point of every evaluation (None: not one of the grid). Otherwise
    a grid point is reported when the sampler moves on (the last one by `close`). With an
    adaptive sampler, every evaluation is reported at once.
    """

    def __init__(
        self,
        bound: BoundModel,
        path: Path,
        first: int,
        callback: Callback | None,
        adaptive: bool = False,
        check: bool = False,
        grid_index: Sequence[int | None] | None = None,
    ):
        self.bound, self.steps, self.first, self.callback = (
            bound,
            len(path) - 1,
            first,
            callback,
        )
        self.adaptive, self.check, self.grid_index = adaptive, check, grid_index
        self.places = {p: i for i, p in enumerate(path[:-1])}
        self.index = 0  # the current grid point, or the latest one
        self.held: Step | None = None
        self.nfe = 0

    def __call__(self, x: Tensor, p: Point, **asked: Any) -> Any:
        return self._ask(self.bound, None, x, p, **asked)

    def rows(self, index: Tensor, total: int) -> Callable[..., Tensor]:
        """The model for the samples `index` of a batch of `total`; evaluations count here."""
        return partial(self._ask, self.bound.rows(index, total), index.tolist())

    def _ask(
        self, bound: BoundModel, rows: list[int] | None, x: Tensor, p: Point, **asked: Any
    ) -> Any:
        request, per_sample = request_of(asked), one_each(p)
        answers = bound.answer(x, p, request)
        if not per_sample and p.sigma == 0:
            return answers
        self.nfe += 1
        index = None if per_sample else self.places.get(p)
        self.index = max(self.index, index or 0)
        # samplers with per-sample points detect it without synchronizing and continue with NaN
        lost = None
        if self.check or (self.adaptive and not per_sample):
            lost = first_lost(request.parts(answers))
        if lost is not None and (self.check or bool(torch.isfinite(x).all())):
            text = not_finite(lost, p, self.index, self.steps, self.first, rows)
            raise NonFinite(text, x.detach().clone())
        if self.callback is not None:
            step = Step(
                index, self.steps, p, x, self.first, request.estimate(answers), rows=rows
            )
            self._report(step, self.callback)
        return answers

    def _report(self, step: Step, callback: Callback) -> None:
        if self.adaptive:
            _call(callback, replace(step, index=None))
        elif self.grid_index is not None:
            index = self.grid_index[self.nfe - 1]
            if index is not None:
                _call(callback, replace(step, index=index))
        elif step.index == self.index:
            if self.held is not None and self.held.index != step.index:
                _call(callback, self.held)
            self.held = step

    def close(self) -> None:
        """Report the step that is still pending."""
        if self.callback is not None and self.held is not None:
            _call(self.callback, self.held)


def _call(callback: Callback, step: Step) -> None:
    """Call the callback; `DifftoolError` if it modifies the state in place."""
    version = version_of(step.x)
    callback(step)
    if version_of(step.x) != version:
        raise DifftoolError(WRITTEN)


def first_lost(answers: tuple[Tensor, ...]) -> Tensor | None:
    """The first answer of an evaluation that is not finite; None if all are finite."""
    return next((answer for answer in answers if not bool(torch.isfinite(answer).all())), None)


def not_finite(
    answer: Tensor, p: Point, index: int, steps: int, first: int, rows: list[int] | None = None
) -> str:
    """The message about an answer with NaN or infinity: at which step, in which sample."""
    bad = ~torch.isfinite(answer).reshape(len(answer), -1).all(dim=1)
    row = int(bad.nonzero()[0])
    which = first + (row if rows is None else rows[row])
    if one_each(p):
        step, t = "", float(p.t.flatten()[row])
    else:
        step, t = f"at step {index + 1} of {steps} ", p.t
    return f"the model returned NaN or infinity {step}(t={t:.6g}), first in sample {which}"
