"""Programs: a plan in one form, with every value assigned to a register.

Values are the states ("x", r), the kept answers ("m", k, c) and the noises ("z", j). A value is
live from the row that computes it to the last row that uses it; a state overwrites one that is
last used in the same row. Registers that hold raw network outputs are separate from those that
the executor writes to. The latest answer needs no register before the next evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from difftool.plan.affine import Value
from difftool.plan.form import Formed, Pair
from difftool.plan.rows import Row, last_uses
from difftool.schedules.base import Point

Term = tuple[int, float]  # register, coefficient
# a state with a smaller factor is not overwritten in place: the other terms are divided by it
TINY = 1e-6
ANSWER = -1  # instead of a register: the latest answer, unchanged
RESULT, DERIVED, PLAIN, GUARDED, CONVERTED = range(5)  # how the answer to a row is used


@dataclass(frozen=True, slots=True)
class Instruction:
    """The computation of one row, then its evaluation.

    In place (base = target):  y = registers[base];  y += gain answer + sum c registers[k];  y *= scale
    else:                      registers[target] = lead registers[base] + gain answer + sum c registers[k]

    with the latest answer as registers[ANSWER]. It is added first, so that an answer that
    shares memory with the state does no harm.

    use: how the answer is used. DERIVED: the row is not yielded. PLAIN: as is. GUARDED: as is,
    but it must not share memory with a register. CONVERTED: converted to another quantity, or
    it has several channels. RESULT: no answer, the run ends.
    """

    number: int  # index of the row
    row: Row
    point: Point
    target: int
    base: int
    lead: float = 1.0
    gain: float = 0.0
    terms: tuple[Term, ...] = ()
    scale: float = 1.0
    draws: tuple[tuple[int, int], ...] = ()  # (noise, register), before the row is computed
    drops: tuple[int, ...] = ()  # registers of network outputs that no later row needs
    use: int = DERIVED
    register: int = ANSWER  # for an answer that is needed after the next evaluation
    # whether shape, dtype, device and memory of the answer are checked: first and last of a run
    inspected: bool = False
    channels: tuple[int, ...] = ()  # registers of a converted answer
    conversion: Pair = (0.0, 1.0)  # (a, b) of y = a x + b answer


@dataclass
class Program:
    """The instructions of a run, their number of registers, and where live values are."""

    code: list[Instruction]
    registers: int  # arrays like the state at once, including the latest answer
    outputs: set[int]  # the registers that hold raw network outputs
    # at each row, before its evaluation
    live: list[dict[Value, int]] = field(default_factory=list)

    def begun(self, r: int) -> list[Instruction]:
        """The code from row r on, for a run whose state at row r is already in its register."""
        first = self.code[r]
        entered = replace(
            first, base=first.target, gain=0.0, terms=(), scale=1.0, draws=(), inspected=True
        )
        return [entered, *self.code[r + 1 :]]


def choose(candidates: Sequence[Formed]) -> tuple[Formed, Program]:
    """The form with the fewest array operations, then the fewest registers, and its program."""
    operations = [formed.operations for formed in candidates]
    fewest = [f for f, n in zip(candidates, operations, strict=True) if n == min(operations)]
    options = [(formed, assign(formed)) for formed in fewest]
    return min(options, key=lambda option: option[1].registers)


def assign(formed: Formed) -> Program:
    """Assign registers by liveness, in a linear scan over the rows."""
    return _Scan(formed).program()


class _Scan:
    def __init__(self, formed: Formed):
        self.formed = formed
        self.rows = formed.rows
        self.last_use = last_uses(self.rows)
        self.place: dict[Value, int] = {}
        # True: for network outputs
        self.free: dict[bool, list[int]] = {
            False: [],
            True: [],
        }
        self.outputs: set[int] = set()
        self.count = 0
        self.most = 0  # values at once, including an answer without a register
        self.drawn = 0  # noises are drawn in the order of their calls
        self.newest: Value | None = None  # the latest answer, if available without a register

    def program(self) -> Program:
        out = Program([], 0, self.outputs)
        evaluated = [r for r, row in enumerate(self.rows) if row.channels] or [0]
        inspected = {evaluated[0], evaluated[-1]}
        for r, row in enumerate(self.rows):
            if r:
                made = self._make_row(r, row)
            else:
                slot = self._new(Value("x", 0))
                made = {"target": slot, "base": slot}
            drops = self._release(r, spared=Value("x", r))
            out.live.append(dict(self.place))
            used: dict[str, Any] = {}
            if row.channels:
                used = self._evaluate(r, row)
            elif r == len(self.rows) - 1:
                used = {"use": RESULT}
            self._release(r)
            out.code.append(
                Instruction(
                    r, row, row.point, drops=drops, inspected=r in inspected, **made, **used
                )
            )
        out.registers = max(self.count, self.most)
        return out

    def _evaluate(self, r: int, row: Row) -> dict[str, Any]:
        """What an instruction says of its evaluation."""
        conversion = self.formed.make[r]
        plain = conversion == (0.0, 1.0)
        if not plain or row.channels > 1:
            self.newest = None
            channels = tuple(
                self._new(Value("m", r, c), plain or c > 0) for c in range(row.channels)
            )
            return {"use": CONVERTED, "channels": channels, "conversion": conversion}
        self.newest = Value("m", r, 0)
        following = next(
            (k for k in range(r + 1, len(self.rows)) if self.rows[k].channels), len(self.rows)
        )
        harmless = self.outputs.isdisjoint(self.place.values()) and self._harmless(r)
        kept = self.last_use.get(self.newest, r) > following
        if kept:
            register = self._new(self.newest, True)
        else:
            register = ANSWER
        self.most = max(self.most, len(self.place) + (not kept))
        return {"use": PLAIN if harmless else GUARDED, "register": register}

    def _make_row(self, r: int, row: Row) -> dict[str, Any]:
        """What an instruction says of its state."""
        draws = []
        for j in range(self.drawn, max((j for j, _ in row.z), default=-1) + 1):
            draws.append((j, self._new(Value("z", j))))
            self.drawn = j + 1
        terms = dict(row.terms())
        if self.newest:
            gain = terms.pop(self.newest, 0.0)
        else:
            gain = 0.0
        first, lead, scale = self._overwritten(r, row), 1.0, 1.0
        if first is not None:
            scale = terms.pop(first)
            base = target = self.place.pop(first)
            self.place[Value("x", r)] = target
            gain, terms = gain / scale, {source: c / scale for source, c in terms.items()}
        elif terms:
            first = next(iter(terms))
            lead = terms.pop(first)
            base, target = self.place[first], self._new(Value("x", r))
        else:
            lead, gain = gain, 0.0
            base, target = ANSWER, self._new(Value("x", r))
        rest = tuple((self.place[source], c) for source, c in terms.items())
        return {
            "target": target,
            "base": base,
            "lead": lead,
            "gain": gain,
            "terms": rest,
            "scale": scale,
            "draws": tuple(draws),
        }

    def _overwritten(self, r: int, row: Row) -> Value | None:
        """The state to overwrite: last used here, with a factor above `TINY`; None if none."""
        for k, c in row.x:
            if self.last_use[Value("x", k)] == r and abs(c) > TINY:
                return Value("x", k)
        return None

    def _harmless(self, r: int) -> bool:
        """Whether the answer at row r is used only in the next row, which overwrites x_r."""
        following = self.rows[r + 1]
        return self.last_use.get(Value("m", r, 0), r) <= r + 1 and self._overwritten(
            r + 1, following
        ) == Value("x", r)

    def _new(self, source: Value, outputs: bool = False) -> int:
        if self.free[outputs]:
            slot = self.free[outputs].pop()
        else:
            slot, self.count = self.count, self.count + 1
        if outputs:
            self.outputs.add(slot)
        self.place[source] = slot
        return slot

    def _release(self, r: int, spared: Value | None = None) -> tuple[int, ...]:
        """Free registers of values not used after row r; return those of network outputs."""
        dead = [s for s in self.place if self.last_use.get(s, -1) <= r and s != spared]
        slots = [self.place.pop(source) for source in dead]
        for slot in slots:
            self.free[slot in self.outputs].append(slot)
        return tuple(slot for slot in slots if slot in self.outputs)
