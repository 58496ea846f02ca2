"""What a run tells while it goes on: steps at grid points, evaluations counted, answers that are not finite."""

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
    """What a callback sees, before the step from `point` is taken; x is the live state: clone it to keep it,
    and do not write to it (`Plan.steps` is for that). A grid point where the model is never asked (`churn` asks at
    raised levels) has none.

    index: the grid point, 0 .. steps - 1 (None for samplers that choose their own steps). first: global index of the
    batch's first sample. rows: which samples of the batch x holds (None: all); where each chooses its own steps,
    `point` holds tensors (number, 1, ...) on the host.
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
        """The model's estimate of x_0 here."""
        if self._bound:
            affine = self._bound.affine(self.point)
        else:
            affine = None
        if affine is None:
            return self._answer
        return affine.skip * self.x + affine.out * self._answer


Callback = Callable[[Step], None]


class Watch:
    """A bound model that counts its evaluations, reports those at grid points and can refuse what is not finite.

    The last evaluation at a grid point is the one that counts. Where the sampler has a plan, `grid_index` says of every
    evaluation which grid point's it is (None: none's); else it is reported when the sampler moves on (`close`: at the
    end). An adaptive sampler's are reported at once, all of them.
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
        self.index = 0  # the grid point where the sampler is, or was last
        self.held: Step | None = None
        self.nfe = 0

    def __call__(self, x: Tensor, p: Point, **asked: Any) -> Any:
        return self._ask(self.bound, None, x, p, **asked)

    def rows(self, index: Tensor, total: int) -> Callable[..., Tensor]:
        """The model of the samples number `index` of a batch of `total`; all are counted and reported here."""
        return partial(self._ask, self.bound.rows(index, total), index.tolist())

    def _ask(
        self, bound: BoundModel, rows: list[int] | None, x: Tensor, p: Point, **asked: Any
    ) -> Any:
        request, own = request_of(asked), one_each(p)
        answers = bound.answer(x, p, request)
        if not own and p.sigma == 0:
            return answers
        self.nfe += 1
        index = None if own else self.places.get(p)
        self.index = max(self.index, index or 0)
        # samplers with a point for each sample notice by themselves, without waiting for the device, and go on as NaN
        lost = None
        if self.check or (self.adaptive and not own):
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
            _tell(callback, replace(step, index=None))
        elif self.grid_index is not None:
            index = self.grid_index[self.nfe - 1]
            if index is not None:
                _tell(callback, replace(step, index=index))
        elif step.index == self.index:
            if self.held is not None and self.held.index != step.index:
                _tell(callback, self.held)
            self.held = step

    def close(self) -> None:
        """Reports what is still held."""
        if self.callback is not None and self.held is not None:
            _tell(self.callback, self.held)


def _tell(callback: Callback, step: Step) -> None:
    """Calls it; `DifftoolError` if it writes into the state."""
    version = version_of(step.x)
    callback(step)
    if version_of(step.x) != version:
        raise DifftoolError(WRITTEN)


def first_lost(answers: tuple[Tensor, ...]) -> Tensor | None:
    """The first of the answers to an evaluation that is not finite; None if all are."""
    return next((answer for answer in answers if not bool(torch.isfinite(answer).all())), None)


def not_finite(
    answer: Tensor, p: Point, index: int, steps: int, first: int, rows: list[int] | None = None
) -> str:
    """The line about an answer with NaN or infinity in it: which step, which sample."""
    bad = ~torch.isfinite(answer).reshape(len(answer), -1).all(dim=1)
    row = int(bad.nonzero()[0])
    which = first + (row if rows is None else rows[row])
    if one_each(p):
        step, t = "", float(p.t.flatten()[row])
    else:
        step, t = f"at step {index + 1} of {steps} ", p.t
    return f"the model returned NaN or infinity {step}(t={t:.6g}), first in sample {which}"
