"""The executor of plans.

All coefficients are floats on the CPU before the first step. The loop scales and adds in place
and never synchronizes with the device. `steps` is its generator; `run` drives it with a model.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import BoundModel, check_output
from difftool.noise import Source
from difftool.plan.affine import Value
from difftool.plan.form import Form, Formed, Pair, forms
from difftool.plan.program import (
    ANSWER,
    CONVERTED,
    DERIVED,
    GUARDED,
    RESULT,
    Instruction,
    Program,
    choose,
)
from difftool.plan.rows import Row, Table, carried_states
from difftool.schedules.base import Point

OVERWRITTEN = (
    "the network reused the memory of an earlier output, which this sampler still "
    "needs; return output.clone()"
)

Compiled = tuple[Formed, Program]


class Stopped(Protocol):
    """What the executor needs from a stopped run."""

    @property
    def plan(self) -> Table: ...
    @property
    def position(self) -> int: ...
    @property
    def form(self) -> str: ...
    @property
    def values(self) -> dict[Value, Tensor]: ...
    @property
    def x(self) -> Tensor: ...


def steps(
    plan: Table,
    x: Tensor | None = None,
    *,
    noise: Source | None = None,
    raw: BoundModel | None = None,
    state: Stopped | None = None,
) -> Generator[tuple[Tensor, Point, Row], Any, None]:
    """Run a plan step by step: a generator that takes the model's answers from the caller.

    Yields (x, point, row) for each evaluated row and takes the answer; last yields the result.

        run = plan.steps(x, noise=noise)
        x, p, row = next(run)
        while row.request is not None:
            x, p, row = run.send(model.answer(x, p, row.request))

    `row.request` says what to evaluate; `model(x, p)` is the answer if that is x0 alone.
    Several answers are sent as a tuple, in the order of the request.

    x: the input state (B, ...), at least float32; it is copied. The yielded state is the live
    register: clone it to keep it, or change it in place to steer the run. A change moves the
    run as a whole: if later rows also use other states (e.g. a corrected one), these change by
    the same amount in units of alpha + sigma. noise: a source, required if the plan has noise.
    raw: the bound model whose raw output is sent instead of x0, at rows that ask for x0 alone.
    state: a saved state to resume from, instead of x. Raises `DifftoolError` for a state below
    float32, missing noise, or a first or last answer of another shape, dtype or device.
    """
    # a state in another form than x0 was saved by a run that is not steered
    if state is None or state.form == "x0":
        carried = carried_states(plan.rows)
    else:
        carried = []
    if not any(carried):
        compiled = None
    else:
        compiled = compile_plan(plan, raw, "x0")
    if state is not None and compiled is None:
        compiled = compile_plan(plan, raw, state.form.partition("-")[0])  # type: ignore[arg-type]
    return Execution(plan, noise=noise, raw=raw, compiled=compiled, carried=carried).steps(
        x, state
    )


def version_of(x: Tensor) -> int:
    """The number of in-place changes of a tensor; -1 if not counted (inference mode)."""
    if x.is_inference():
        return -1
    return x._version


class Execution:
    """One run of a plan: its program, its registers and its current row."""

    def __init__(
        self,
        plan: Table,
        *,
        noise: Source | None = None,
        raw: BoundModel | None = None,
        compiled: Compiled | None = None,
        carried: Sequence[tuple[int, ...]] = (),
    ):
        if plan.noises and noise is None:
            raise DifftoolError("this plan draws noise; pass a noise source")
        self.plan, self.noise = plan, noise
        if noise is not None:
            noise.expect(plan.noises)
        self.formed, self.program = compiled or compile_plan(plan, raw)
        self.registers: list[Any] = [None] * self.program.registers
        self.carried = carried
        self.at: Instruction | None = None  # the one whose answer is awaited

    def steps(
        self, x: Tensor | None, state: Stopped | None = None
    ) -> Generator[tuple[Tensor, Point, Row], Any, None]:
        """The generator, see `steps`."""
        if state is None:
            first = self._enter(x)
        else:
            first = self._restore(state)
        if first:
            code = self.program.begun(first)
        else:
            code = self.program.code
        registers, carried = self.registers, self.carried
        # addresses that an answer must not share
        memory = [0 if value is None else value.data_ptr() for value in registers]
        size, shape = registers[code[0].target].nbytes, registers[code[0].target].shape
        answer: Any = None
        copy = False
        for op in code:
            target, gain, scale, use = op.target, op.gain, op.scale, op.use
            if op.draws:
                self._draw(op.draws)
            try:
                if op.base == target:
                    y = registers[target]
                else:
                    if op.base == ANSWER:
                        base = answer
                    else:
                        base = registers[op.base]
                    y = registers[target] = torch.mul(base, op.lead, out=registers[target])
                    memory[target] = y.data_ptr()
                if gain:
                    y.add_(answer, alpha=gain)
                for slot, c in op.terms:
                    y.add_(registers[slot], alpha=c)
                if scale != 1.0:
                    y.mul_(scale)
            except RuntimeError:
                _blame(shape, answer, *registers)
                raise
            for slot in op.drops:
                registers[slot], memory[slot] = None, 0
            if use == DERIVED:
                continue
            answer = None  # frees the memory of a used answer for the next one
            self.at = op
            if carried and carried[op.number]:
                before, version = y.clone(), version_of(y)
                answer = yield y, op.point, op.row
                if version < 0 or version_of(y) != version:
                    self._move(op.number, y - before)
            else:
                answer = yield y, op.point, op.row
            if use == RESULT:
                return
            if use == CONVERTED:
                self._convert(op, y, answer)
                continue
            if op.inspected or getattr(answer, "nbytes", -1) != size:
                check_output(answer, y, "the model")
                copy = copy or answer.requires_grad or _shares(answer, y)
            if copy:
                answer = answer.detach().clone()
            if use == GUARDED:
                address = answer.data_ptr()
                if address in memory and address:  # (empty tensors have no address)
                    answer = self._apart(answer, address)
                    address = answer.data_ptr()
                if op.register != ANSWER:
                    registers[op.register], memory[op.register] = answer, address

    def _draw(self, draws: tuple[tuple[int, int], ...]) -> None:
        """Draw the noise of a row into its registers."""
        for j, slot in draws:
            self.registers[slot] = self.noise.draw(self.plan.noises[j], self.registers[slot])  # type: ignore[union-attr]

    def _move(self, r: int, change: Tensor) -> None:
        """Apply a change of the state of row r to the other states that later rows use."""
        here, places = self.plan.rows[r].point, self.program.live[r]
        for k in self.carried[r]:
            p = self.plan.rows[k].point
            self.registers[places[Value("x", k)]].add_(
                change, alpha=(p.alpha + p.sigma) / (here.alpha + here.sigma)
            )

    def _apart(self, out: Tensor, address: int) -> Tensor:
        """Copy an answer that shares memory; `DifftoolError` if it overwrote a kept one."""
        outputs = self.program.outputs
        if any(
            value is not None and value.data_ptr() == address
            for value in map(self.registers.__getitem__, outputs)
        ):
            raise DifftoolError(OVERWRITTEN)
        return out.clone()

    def _convert(self, op: Instruction, x: Tensor, answer: Any) -> None:
        """Store an answer that has several channels or is converted to another quantity."""
        slots, (a, b) = op.channels, op.conversion
        if len(slots) > 1:
            parts = answer
        else:
            parts = (answer,)
        if not isinstance(parts, tuple) or len(parts) != len(slots):
            raise DifftoolError(f"this plan needs {len(slots)} outputs per evaluation")
        for part in parts:
            check_output(part, x, "the model")
        if len(parts) > 1:
            for slot, part in zip(slots, parts, strict=True):
                self.registers[slot] = part.detach().clone()
            return
        kept = self.registers[slots[0]] = torch.mul(
            answer.detach(), b, out=self.registers[slots[0]]
        )
        if a != 0.0:
            kept.add_(x, alpha=a)

    def _enter(self, x: Tensor | None) -> int:
        if x is None:
            raise DifftoolError("a run needs an initial state x or a saved state")
        if not isinstance(x, Tensor) or not x.ndim:
            raise DifftoolError(f"the state of a run must be a tensor (B, ...), got {x!r}")
        self._check_noise(x)
        if x.dtype not in (torch.float32, torch.float64):
            raise DifftoolError(
                f"the state of a run must be float32 or float64, got {x.dtype}; only networks may use less"
            )
        self.registers[self.program.live[0][Value("x", 0)]] = x.detach().clone()
        return 0

    def _restore(self, state: Stopped) -> int:
        if state.plan != self.plan or state.form != self.formed.key:
            raise DifftoolError(
                "this state was saved from another plan or for another kind of model"
            )
        places, x = self.program.live[state.position], state.x
        if set(places) != set(state.values) or any(
            v.dtype not in (torch.float32, torch.float64)
            or (v.shape, v.dtype) != (x.shape, x.dtype)
            for v in state.values.values()
        ):
            raise DifftoolError(
                "this state does not hold the values its row needs; it was saved by another version, or modified"
            )
        self._check_noise(x)
        for source, tensor in state.values.items():
            self.registers[places[source]] = tensor.clone()
        return state.position

    def _check_noise(self, x: Tensor) -> None:
        if (
            self.noise is not None
            and self.plan.noises
            and tuple(self.noise.shape) != tuple(x.shape)
        ):
            raise DifftoolError(
                f"the noise is for states of shape {self.noise.shape}, but the state has {tuple(x.shape)}"
            )

    def state(self) -> Any:
        """The state of the run at the row yielded last, sufficient to resume from there."""
        if self.noise is not None and not self.noise.resumable:
            raise DifftoolError(
                "a run with generator noise cannot be resumed; use independent or path noise"
            )
        if self.at is None:
            raise DifftoolError("the run has not started: there is no state to save")
        places = self.program.live[self.at.number]
        values = {s: self.registers[slot].clone() for s, slot in places.items()}
        return self.plan.stopped(self.at.number, self.formed.key, values)


def compile_plan(plan: Table, raw: BoundModel | None, form: Form | None = None) -> Compiled:
    """The cheapest form of the plan (or the one given) for a model, and its program.

    raw: the model whose raw output is used; None: the model returns x0. Raises `DifftoolError`
    if the model does not support a request of the plan.
    """
    if raw is not None:
        for request in dict.fromkeys(row.request for row in plan.rows):
            if request is not None:
                raw.asked(request)
    return choose(
        [
            formed
            for formed in forms(plan, _pairs(plan.rows, raw))
            if form in (None, formed.form)
        ]
    )


def _pairs(rows: Sequence[Row], raw: BoundModel | None) -> Mapping[int, Pair] | None:
    """(skip, out) of the model at every row that asks for x0 alone; None if it returns x0."""
    if raw is None:
        return None
    affine = {k: raw.affine(row.point) for k, row in enumerate(rows) if row.plain}
    if not any(affine.values()):
        return None
    return {k: (form.skip, form.out) if form else (0.0, 1.0) for k, form in affine.items()}


def _blame(shape: Any, *values: Any) -> None:
    """Raise `DifftoolError` if a value is an answer whose shape differs from the state's."""
    for value in values:
        if isinstance(value, Tensor) and value.shape != shape:
            check_output(value, value.new_empty(shape), "the model")


def _shares(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
