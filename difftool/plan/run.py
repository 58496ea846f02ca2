"""The executor of plans.

All coefficients are floats on the host before the first step: the loop scales and adds, in place, and never waits for
the device. `steps` is the generator that does it; `run` drives it with a model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import Bound, check_output
from difftool.noise import Source
from difftool.plan.form import Formed, Pair, forms
from difftool.plan.plan import Plan, Row
from difftool.plan.program import Instruction, Program, choose
from difftool.plan.state import RunState
from difftool.schedules.base import Point

Callback = Callable[[Row, Tensor, Tensor], None]


def steps(
    plan: Plan,
    x: Tensor | None = None,
    *,
    noise: Source | None = None,
    raw: Bound | None = None,
    state: RunState | None = None,
) -> Generator[tuple[Tensor, Point, Row], Any, None]:
    """Yields (x, point, row) for each evaluated row and takes the model's answer; last yields the result.

        run = plan.steps(x, noise=noise)
        x, p, row = next(run)
        while row.channels:
            x, p, row = run.send(model(x, p))

    x: the input state (B, ...), at least float32; it is copied. What is yielded is the live register: change it in
    place to steer the run, clone it to keep it. noise: a source, needed if the plan has noise. raw: the bound model
    whose raw output is sent in place of x0. state: where to go on, in place of x. Raises `DifftoolError` for a state
    below float32, missing noise, or an answer of another shape, dtype or device.
    """
    return Execution(plan, noise=noise, raw=raw).steps(x, state)


class Execution:
    """One run of a plan: its program, its registers and the row where it stands."""

    def __init__(self, plan: Plan, *, noise: Source | None = None, raw: Bound | None = None):
        if plan.noises and noise is None:
            raise DifftoolError("this plan draws noise; give it a noise source")
        self.plan, self.noise = plan, noise
        self.formed, self.program = program_of(plan, raw)
        self.registers: list[Any] = [None] * self.program.registers
        self.position = 0

    def steps(self, x: Tensor | None, state: RunState | None = None) -> Generator[tuple[Tensor, Point, Row], Any, None]:
        """The generator of `steps`."""
        first = self._restore(state) if state is not None else self._enter(x)
        registers, draw = self.registers, self.noise.draw if self.noise else None
        keys = self.plan.noises
        for r in range(first, len(self.program.instructions)):
            step: Instruction = self.program.instructions[r]
            self.position = r
            if r != first or (r and state is None):
                for j, slot in step.draws:
                    registers[slot] = draw(keys[j], registers[slot])  # type: ignore[misc]
                y = registers[step.base]
                if step.base != step.target:
                    y = registers[step.target] = _scaled(y, step.scale, registers[step.target])
                elif step.scale != 1.0:
                    y.mul_(step.scale)
                for slot, c in step.terms:
                    y.add_(registers[slot], alpha=c)
            else:
                y = registers[step.target]
            row = step.row
            answer = yield y, row.point, row
            if row.channels:
                self._keep(step, y, answer)

    def _keep(self, step: Instruction, x: Tensor, answer: Any) -> None:
        """Files the model's answer; one that shares its memory with the state is copied first."""
        if len(step.answers) > 1:
            if not isinstance(answer, tuple) or len(answer) != len(step.answers):
                raise DifftoolError(f"this plan takes {len(step.answers)} outputs per evaluation")
            for slot, part in zip(step.answers, answer, strict=True):
                self.registers[slot] = check_output(part, x, "the model").clone()
            return
        a, b = step.make
        slot = step.answers[0]
        if answer.shape != x.shape or answer.dtype is not x.dtype:
            check_output(answer, x, "the model")
        if a == 0.0 and b == 1.0:
            shared = answer.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
            self.registers[slot] = answer.clone() if shared else answer
        else:
            self.registers[slot] = _scaled(answer, b, self.registers[slot])
            if a != 0.0:
                self.registers[slot].add_(x, alpha=a)

    def _enter(self, x: Tensor | None) -> int:
        if x is None:
            raise DifftoolError("a run starts from a state x, or from a saved state")
        if x.dtype not in (torch.float32, torch.float64):
            raise DifftoolError(f"the state of a run is float32 or float64, got {x.dtype}; only networks run lower")
        self.registers[self.program.instructions[0].target] = x.detach().clone()
        return 0

    def _restore(self, state: RunState) -> int:
        if state.plan != self.plan or state.form != self.formed.form:
            raise DifftoolError("this state was saved from another plan or another kind of model")
        places = self.program.live[state.position]
        for source, tensor in state.values.items():
            self.registers[places[source]] = tensor.clone()
        return state.position

    def state(self) -> RunState:
        """The run as it stands (at the row yielded last): enough to go on from there."""
        if self.noise is not None and not self.noise.resumable:
            raise DifftoolError("a run with generator noise cannot be resumed; use independent or path noise")
        places = self.program.live[self.position]
        values = {s: self.registers[slot].clone() for s, slot in places.items()}
        return RunState(self.plan, self.position, self.formed.form, values)


def run(
    plan: Plan,
    model: Bound,
    x: Tensor,
    noise: Source | None = None,
    callback: Callback | None = None,
    state: RunState | None = None,
) -> Tensor:
    """The result of the plan on a model, from the input state x (copied) or from a saved state.

    callback(row, x, answer) is called after the evaluation of every grid row. The model's answers are not looked at;
    a result that is not finite is the caller's to notice (`Execution` can be driven step by step to find where).
    """
    with torch.no_grad():
        execution = Execution(plan, noise=noise, raw=model)
        generator = execution.steps(x, state)
        y, _, row = next(generator)
        evaluated = [k for k, row in enumerate(plan.rows) if row.channels]
        skipped = sum(k < execution.position for k in evaluated)
        call = model.prepare([plan.rows[k].point for k in evaluated], y)
        send = generator.send
        for i in range(skipped, len(evaluated)):
            answer = call(y, i)
            if callback is not None and row.kind == "grid":
                callback(row, y, answer)
            y, _, row = send(answer)
        return y


def program_of(plan: Plan, raw: Bound | None) -> tuple[Formed, Program]:
    """The cheapest form of the plan for what the model returns, and its program."""
    return choose(forms(plan, _pairs(plan, raw)))


def _pairs(plan: Plan, raw: Bound | None) -> Mapping[int, Pair] | None:
    """(skip, out) of the model at every evaluated row, None if its answer is x0 itself."""
    if raw is None:
        return None
    pairs = {}
    for k, row in enumerate(plan.rows):
        if row.channels:
            affine = raw.affine(row.point)
            if affine is None or row.channels > 1:
                return None
            pairs[k] = (affine.skip, affine.out)
    return pairs


def _scaled(source: Tensor, scale: float, out: Tensor | None) -> Tensor:
    return torch.mul(source, scale, out=out)
