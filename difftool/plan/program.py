"""Programs: a plan in one form, with every value assigned to a register.

Values are the states ("x", r), the kept answers ("m", k, c) and the noises ("z", j). A value lives from the row that
makes it to the last row that uses it; a state is written in place over one that dies there. Registers that hold a
network's own output are kept apart from those that the executor writes to. The newest answer needs no register before
the next evaluation.
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
TINY = 1e-6  # a state with a smaller factor is not written over in place: its other terms would be divided by it
ANSWER = -1  # in place of a register: the newest answer, as it came
RESULT, DERIVED, PLAIN, GUARDED, CONVERTED = range(5)  # what is done with the answer to a row


@dataclass(frozen=True, slots=True)
class Instruction:
    """One row, then its evaluation.

    In place (base = target):  y = registers[base];  y += gain answer + sum c registers[k];  y *= scale
    else:                      registers[target] = lead registers[base] + gain answer + sum c registers[k]

    with the answer itself as registers[ANSWER].
    Adding the newest answer first keeps one that shares its memory with the state harmless.

    use: what is done with the answer. DERIVED, the row is not yielded; PLAIN, the answer is used as it comes; GUARDED,
    the same, but it must not share the memory of what is kept; CONVERTED, something else is made of it, or it has
    several channels; RESULT, there is none, the run ends.
    """

    number: int  # of the row
    row: Row
    point: Point
    target: int
    base: int
    lead: float = 1.0
    gain: float = 0.0
    terms: tuple[Term, ...] = ()
    scale: float = 1.0
    draws: tuple[tuple[int, int], ...] = ()  # (noise, register), before the row is made
    drops: tuple[int, ...] = ()  # registers of network outputs that no later row needs
    use: int = DERIVED
    register: int = ANSWER  # of an answer that is needed after the next evaluation
    inspected: bool = False  # whether its shape, dtype, device and memory are looked at: the first and last of a run
    channels: tuple[int, ...] = ()  # registers of a converted answer
    conversion: Pair = (0.0, 1.0)  # (a, b) of y = a x + b answer


@dataclass
class Program:
    """The instructions of a run, how many registers they need, and where each value lives at each row."""

    code: list[Instruction]
    registers: int  # arrays like the state at once, the newest answer included
    outputs: set[int]  # the registers that hold network outputs
    # at each row, before its evaluation
    live: list[dict[Value, int]] = field(default_factory=list)

    def begun(self, r: int) -> list[Instruction]:
        """The code from row r on, for a run whose state at r is there already."""
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
    """Registers by liveness: a linear scan over the rows."""
    return _Scan(formed).program()


class _Scan:
    def __init__(self, formed: Formed):
        self.formed = formed
        self.rows = formed.rows
        self.last_use = last_uses(self.rows)
        self.place: dict[Value, int] = {}
        # by whether the slot holds network outputs
        self.free: dict[bool, list[int]] = {
            False: [],
            True: [],
        }
        self.outputs: set[int] = set()
        self.count = 0
        self.most = 0  # values at once, an answer without a register included
        self.drawn = 0  # noises are drawn in the order of their calls
        self.newest: Value | None = None  # the answer that is at hand without a register

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
        """The state that dies in this row and is written over, if there is one with a factor worth dividing by."""
        for k, c in row.x:
            if self.last_use[Value("x", k)] == r and abs(c) > TINY:
                return Value("x", k)
        return None

    def _harmless(self, r: int) -> bool:
        """Whether the answer at row r is used in the next row only, and that row is written over its own state."""
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
        """Free the registers of what no row after r uses; those of network outputs are returned."""
        dead = [s for s in self.place if self.last_use.get(s, -1) <= r and s != spared]
        slots = [self.place.pop(source) for source in dead]
        for slot in slots:
            self.free[slot in self.outputs].append(slot)
        return tuple(slot for slot in slots if slot in self.outputs)
