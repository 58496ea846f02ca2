"""The runner: a plan compiled for a model, to be run any number of times."""

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
    "a callback must not change the state, because its estimate is already computed; clone it (step.x.clone()), "
    "or steer the run with Plan.steps"
)

RowCallback = Callable[[Row, Tensor, Any], None]


class Runner:
    """A plan compiled for a model: work that does not depend on the state is done only once.

    compiled: the result of `compile_plan` for the same plan and another conditioning of the
    same model.
    """

    def __init__(self, plan: Plan, model: BoundModel, compiled: Compiled | None = None):
        self.plan, self.model = plan, model
        self.compiled = compiled or compile_plan(plan, model)
        self.copies = False  # whether copies of the state are passed to the model
        self._evaluations: dict[Any, Evaluations] = {}

    def __call__(
        self,
        x: Tensor | None,
        noise: Source | None = None,
        *,
        callback: RowCallback | None = None,
        state: RunState | None = None,
    ) -> Tensor:
        """Run the plan from the input state x (copied) or from a saved state.

        callback(row, x, answer) is called after the evaluation of every grid row. The model's
        answers are not checked: the caller must detect a result that is not finite (drive
        `Execution` step by step to find where it arises).
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
                # the network modifies its input in place: pass copies from now on
                self.copies = True
                return self(x, noise, callback=callback, state=state)
            if callback is not None:
                call = _with_callback(call, callback, self.plan.rows[first:], y, answer)
            send = steps.send
            y = send(answer)[0]
            del answer  # as of every one below: its memory is free for the next
            for time in times:
                y = send(call(y, time))[0]
            return y

    def _entered(
        self, x: Tensor | None, noise: Source | None, state: RunState | None
    ) -> tuple[Any, Tensor, Row]:
        """A new run, and the state and row of its first evaluation."""
        steps = Execution(self.plan, noise=noise, raw=self.model, compiled=self.compiled).steps(
            x, state
        )
        y, _, row = next(steps)
        return steps, y, row

    def _prepared(
        self, x: Tensor, first: int
    ) -> tuple[Callable[[Tensor, Any], Any], Iterator[Any]]:
        """The model for states like x, and the times of its evaluations from row `first` on."""
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
    """`call, times`: call(x, times[i]) is the answer to the i-th evaluation, for states like x.

    The same as `BoundModel.prepare` if no row asks for more than x0, so that such a run has no
    overhead.
    """
    evaluated = [row for row in rows if row.channels]
    plain = [row.point for row in evaluated if row.plain]
    if len(plain) == len(evaluated):
        return model.prepare(plain, x)
    ready: Evaluations = (model.evaluate, ())
    if plain:
        ready = model.prepare(plain, x)
    call, times = ready[0], iter(ready[1])

    def evaluate(x: Tensor, row_and_time: tuple[Row, Any]) -> Any:
        row, time = row_and_time
        if row.plain:
            return call(x, time)
        return model.answer(x, row.point, row.request)  # type: ignore[arg-type]

    return evaluate, [(row, next(times) if row.plain else None) for row in evaluated]


def _with_callback(
    call: Callable[[Tensor, Any], Any],
    callback: RowCallback,
    rows: Sequence[Row],
    x: Tensor,
    answer: Any,
) -> Callable[[Tensor, Any], Any]:
    """The model with a callback after each evaluation of a grid row; the first one is done."""
    evaluated = (row for row in rows if row.channels)
    first = next(evaluated)
    if first.kind == "grid":
        _call_back(callback, first, x, answer)

    def evaluate(x: Tensor, time: Any) -> Any:
        answer, row = call(x, time), next(evaluated)
        if row.kind == "grid":
            _call_back(callback, row, x, answer)
        return answer

    return evaluate


def _call_back(callback: RowCallback, row: Row, x: Tensor, answer: Any) -> None:
    """Call the callback; `DifftoolError` if it modifies the state in place."""
    version = version_of(x)
    callback(row, x, check_output(answer, x, "the model") if row.channels == 1 else answer)
    if version_of(x) != version:
        raise DifftoolError(WRITTEN)


def run(
    plan: Plan, model: BoundModel, x: Tensor | None, noise: Source | None = None, **options: Any
) -> Tensor:
    """Run a plan with a model once; options as for a call of `Runner`."""
    return Runner(plan, model)(x, noise, **options)
