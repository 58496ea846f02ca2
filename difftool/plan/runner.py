"""A plan run with a model, any number of times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import BoundModel, Evaluations, check_output
from difftool.noise import Source
from difftool.plan.execution import Compiled, Execution, compile_plan, version_of
from difftool.plan.plan import Plan, RunState
from difftool.plan.rows import Row

WRITTEN = (
    "a callback may look at the state and not change it, for its estimate is made already; clone it (step.x.clone()), "
    "or steer by the steps of a plan (Plan.steps)"
)

RowCallback = Callable[[Row, Tensor, Any], None]


class Runner:
    """A plan made ready for a model: all that does not depend on the state is done once, for any number of runs.

    compiled: what `compile_plan` made for the same plan and another conditioning of the same model.
    """

    def __init__(self, plan: Plan, model: BoundModel, compiled: Compiled | None = None):
        self.plan, self.model = plan, model
        self.compiled = compiled or compile_plan(plan, model)
        self.copies = False  # whether the model is given copies of the state
        self._evaluations: dict[Any, Evaluations] = {}

    def __call__(
        self,
        x: Tensor | None,
        noise: Source | None = None,
        *,
        callback: RowCallback | None = None,
        state: RunState | None = None,
    ) -> Tensor:
        """The result from the input state x (copied) or from a saved state.

        callback(row, x, answer) is called after the evaluation of every grid row. The model's answers are not looked
        at; a result that is not finite is the caller's to notice (drive `Execution` step by step to find where).
        """
        first = 0
        if state:
            first = state.position
        with torch.no_grad():
            steps, y, row = self._entered(x, noise, state)
            if row.request is None:
                return y
            call, times = self._prepared(y, first)
            version = version_of(y)
            answer = call(y, next(times))
            if version_of(y) != version:
                # the network writes into its input: from now on it gets copies
                self.copies = True
                return self(x, noise, callback=callback, state=state)
            if callback is not None:
                call = _telling(call, callback, self.plan.rows[first:], y, answer)
            send = steps.send
            y = send(answer)[0]
            del answer  # as of every one below: its memory is free for the next
            for time in times:
                y = send(call(y, time))[0]
            return y

    def _entered(
        self, x: Tensor | None, noise: Source | None, state: RunState | None
    ) -> tuple[Any, Tensor, Row]:
        """A run, and the state and row of its first evaluation."""
        steps = Execution(self.plan, noise=noise, raw=self.model, compiled=self.compiled).steps(
            x, state
        )
        y, _, row = next(steps)
        return steps, y, row

    def _prepared(
        self, x: Tensor, first: int
    ) -> tuple[Callable[[Tensor, Any], Any], Iterator[Any]]:
        """The model for states like x, and what it is told beside them at each evaluation from row `first` on."""
        key = x.shape[0], x.dtype, x.device
        if key not in self._evaluations:
            self._evaluations[key] = prepared(self.model, self.plan.rows, x)
        call, times = self._evaluations[key]
        done = _evaluations(self.plan.rows[:first])
        left = iter(times[done : _evaluations(self.plan.rows)])
        if self.copies:
            return lambda x, time: call(x.clone(), time), left
        return call, left


def _evaluations(rows: Sequence[Row]) -> int:
    """Number of rows at which the model is evaluated."""
    return sum(1 for row in rows if row.channels)


def prepared(model: BoundModel, rows: Sequence[Row], x: Tensor) -> Evaluations:
    """`call, told`: call(x, told[i]) answers the i-th evaluation of the rows for states like x.

    As `BoundModel.prepare` has it, and just that where no row asks for more than x0: such a run
    pays nothing for the others.
    """
    evaluated = [row for row in rows if row.channels]
    plain = [row.point for row in evaluated if row.plain]
    if len(plain) == len(evaluated):
        return model.prepare(plain, x)
    ready: Evaluations = (model.evaluate, ())
    if plain:
        ready = model.prepare(plain, x)
    call, told = ready[0], iter(ready[1])

    def ask(x: Tensor, what: tuple[Row, Any]) -> Any:
        row, time = what
        if row.plain:
            return call(x, time)
        return model.answer(x, row.point, row.request)  # type: ignore[arg-type]

    return ask, [(row, next(told) if row.plain else None) for row in evaluated]


def _telling(
    call: Callable[[Tensor, Any], Any],
    callback: RowCallback,
    rows: Sequence[Row],
    x: Tensor,
    answer: Any,
) -> Callable[[Tensor, Any], Any]:
    """The model with a callback after each evaluation at a grid row; the first has been made."""
    evaluated = (row for row in rows if row.channels)
    first = next(evaluated)
    if first.kind == "grid":
        _tell(callback, first, x, answer)

    def asked(x: Tensor, time: Any) -> Any:
        answer, row = call(x, time), next(evaluated)
        if row.kind == "grid":
            _tell(callback, row, x, answer)
        return answer

    return asked


def _tell(callback: RowCallback, row: Row, x: Tensor, answer: Any) -> None:
    """Calls it; `DifftoolError` if it writes into the state."""
    version = version_of(x)
    callback(row, x, check_output(answer, x, "the model") if row.channels == 1 else answer)
    if version_of(x) != version:
        raise DifftoolError(WRITTEN)


def run(
    plan: Plan, model: BoundModel, x: Tensor | None, noise: Source | None = None, **options: Any
) -> Tensor:
    """The result of a plan on a model, once; options as of `Runner`."""
    return Runner(plan, model)(x, noise, **options)
