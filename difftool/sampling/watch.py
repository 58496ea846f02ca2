"""What a run tells while it goes on: steps at grid points, evaluations counted, answers that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from difftool.errors import NonFinite
from difftool.models.base import Bound
from difftool.schedules import Path, Point


@dataclass(frozen=True)
class Step:
    """What a callback sees, before the step from `point` is taken; x is the live state: clone it to keep it,
    and do not write to it (`Plan.steps` is for that).

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


class Watch:
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
            raise NonFinite(not_finite(answer, p, self.index, self.steps, self.first), x.detach().clone())
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


def not_finite(answer: Tensor, p: Point, index: int, steps: int, first: int) -> str:
    """The line about an answer with NaN or infinity in it: which step, which sample."""
    bad = ~torch.isfinite(answer).reshape(len(answer), -1).all(dim=1)
    which = first + int(bad.nonzero()[0])
    return f"the model returned NaN or infinity at step {index + 1} of {steps} (t={p.t:.6g}), first in sample {which}"
