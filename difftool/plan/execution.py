"""The executor of plans.

All coefficients are floats on the host before the first step: the loop scales and adds, in place, and never waits for
the device. `steps` is the generator that does it; `run` drives it with a model.
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
    "the network gave the memory of its output before, which this sampler still "
    "needs; let it return output.clone()"
)

Compiled = tuple[Formed, Program]


class Stopped(Protocol):
    """What the executor reads of a stopped run."""

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
    """Yields (x, point, row) for each evaluated row and takes the model's answer; last yields the result.

        run = plan.steps(x, noise=noise)
        x, p, row = next(run)
        while row.request is not None:
            x, p, row = run.send(model.answer(x, p, row.request))

    What a row asks for is its `request`; `model(x, p)` answers it where that is x0 alone. Several
    answers are sent as a tuple, in the order asked for.

    x: the input state (B, ...), at least float32; it is copied. What is yielded is the live
    register: clone it to keep it, or change it in place to steer the run. A change moves the run as
    a whole: where later rows are made of other values of the state as well (one that was
    corrected), these are changed alike, in units of alpha + sigma. noise: a source, needed if the
    plan has noise. raw: the bound model whose raw output is sent in place of x0, at rows that ask
    for x0 alone. state: where to go on, in place of x. Raises `DifftoolError` for a state below
    float32, missing noise, or an answer (the first or the last) of another shape, dtype or device.
    """
    # saved by a run that is not steered
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
    """How often it was written to; -1 where torch does not count (inference mode)."""
    if x.is_inference():
        return -1
    return x._version


class Execution:
    """One run of a plan: its program, its registers and the row where it stands."""

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
            raise DifftoolError("this plan draws noise; give it a noise source")
        self.plan, self.noise = plan, noise
        if noise is not None:
            noise.expect(plan.noises)
        self.formed, self.program = compiled or compile_plan(plan, raw)
        self.registers: list[Any] = [None] * self.program.registers
        self.carried = carried
        self.at: Instruction | None = None  # whose evaluation is awaited

    def steps(
        self, x: Tensor | None, state: Stopped | None = None
    ) -> Generator[tuple[Tensor, Point, Row], Any, None]:
        """The generator of `steps`."""
        if state is None:
            first = self._enter(x)
        else:
            first = self._restore(state)
        if first:
            code = self.program.begun(first)
        else:
            code = self.program.code
        registers, carried = self.registers, self.carried
        # of what an answer must not share
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
            answer = None  # the memory of a used answer is free for the next
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
                if address in memory and address:  # (what is empty has no address)
                    answer = self._apart(answer, address)
                    address = answer.data_ptr()
                if op.register != ANSWER:
                    registers[op.register], memory[op.register] = answer, address

    def _draw(self, draws: tuple[tuple[int, int], ...]) -> None:
        """The noises of a row, into their registers."""
        for j, slot in draws:
            self.registers[slot] = self.noise.draw(self.plan.noises[j], self.registers[slot])  # type: ignore[union-attr]

    def _move(self, r: int, change: Tensor) -> None:
        """Changes the other states that the run goes on in as that of row r was changed."""
        here, places = self.plan.rows[r].point, self.program.live[r]
        for k in self.carried[r]:
            p = self.plan.rows[k].point
            self.registers[places[Value("x", k)]].add_(
                change, alpha=(p.alpha + p.sigma) / (here.alpha + here.sigma)
            )

    def _apart(self, out: Tensor, address: int) -> Tensor:
        """A copy of an answer that shares a state's memory; `DifftoolError` if it was written over a kept answer."""
        outputs = self.program.outputs
        if any(
            value is not None and value.data_ptr() == address
            for value in map(self.registers.__getitem__, outputs)
        ):
            raise DifftoolError(OVERWRITTEN)
        return out.clone()

    def _convert(self, op: Instruction, x: Tensor, answer: Any) -> None:
        """Files an answer of several channels, or one that another quantity is made of."""
        slots, (a, b) = op.channels, op.conversion
        if len(slots) > 1:
            parts = answer
        else:
            parts = (answer,)
        if not isinstance(parts, tuple) or len(parts) != len(slots):
            raise DifftoolError(f"this plan takes {len(slots)} outputs per evaluation")
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
            raise DifftoolError("a run starts from a state x, or from a saved state")
        if not isinstance(x, Tensor) or not x.ndim:
            raise DifftoolError(f"the state of a run is a tensor (B, ...), got {x!r}")
        self._check_noise(x)
        if x.dtype not in (torch.float32, torch.float64):
            raise DifftoolError(
                f"the state of a run is float32 or float64, got {x.dtype}; only networks run lower"
            )
        self.registers[self.program.live[0][Value("x", 0)]] = x.detach().clone()
        return 0

    def _restore(self, state: Stopped) -> int:
        if state.plan != self.plan or state.form != self.formed.key:
            raise DifftoolError(
                "this state was saved from another plan or another kind of model"
            )
        places, x = self.program.live[state.position], state.x
        if set(places) != set(state.values) or any(
            v.dtype not in (torch.float32, torch.float64)
            or (v.shape, v.dtype) != (x.shape, x.dtype)
            for v in state.values.values()
        ):
            raise DifftoolError(
                "this state does not hold what its row needs; it was saved by another version, or changed"
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
                f"the noise is for states of shape {self.noise.shape}, the state has {tuple(x.shape)}"
            )

    def state(self) -> Any:
        """The run as it stands (at the row yielded last): enough to go on from there."""
        if self.noise is not None and not self.noise.resumable:
            raise DifftoolError(
                "a run with generator noise cannot be resumed; use independent or path noise"
            )
        if self.at is None:
            raise DifftoolError("the run has not begun: there is no state to keep")
        places = self.program.live[self.at.number]
        values = {s: self.registers[slot].clone() for s, slot in places.items()}
        return self.plan.stopped(self.at.number, self.formed.key, values)


def compile_plan(plan: Table, raw: BoundModel | None, form: Form | None = None) -> Compiled:
    """The cheapest form of the plan (or the one named) for what the model returns (None: x0), and its program.

    Raises `DifftoolError` if the model cannot answer what the plan asks.
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
    """(skip, out) of the model at every row that asks for x0 alone, None if its answers are x0 itself."""
    if raw is None:
        return None
    affine = {k: raw.affine(row.point) for k, row in enumerate(rows) if row.plain}
    if not any(affine.values()):
        return None
    return {k: (form.skip, form.out) if form else (0.0, 1.0) for k, form in affine.items()}


def _blame(shape: Any, *values: Any) -> None:
    """Raise `DifftoolError` if one of the values is an answer of another shape than the state."""
    for value in values:
        if isinstance(value, Tensor) and value.shape != shape:
            check_output(value, value.new_empty(shape), "the model")


def _shares(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
