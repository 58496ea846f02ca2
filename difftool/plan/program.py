"""Programs: a plan in one form, with every value assigned to a register.

Values are the states ("x", r), the kept answers ("m", k, c) and the noises ("z", j). A value lives from the row that
makes it to the last row that uses it; a state is written in place over one that dies there. Registers that hold a
network's own output are kept apart from those that the executor writes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from difftool.plan.affine import Source
from difftool.plan.form import Formed, Pair
from difftool.plan.plan import Row, last_uses
from difftool.schedules.base import Point

Term = tuple[int, float]  # register, coefficient
TINY = 1e-6  # a state with a smaller factor is not written over in place: its other terms would be divided by it


class Instruction(NamedTuple):
    """One row, then its evaluation.

    In place (base = target):  y = registers[base];  y += sum c registers[k];  y *= scale
    else:                      registers[target] = scale registers[base] + sum c registers[k]

    Adding first keeps an answer that shares its memory with the state harmless, if it is the first term and is used
    in this row only.
    """

    row: Row
    point: Point
    target: int
    base: int
    scale: float
    terms: tuple[Term, ...] = ()
    draws: tuple[tuple[int, int], ...] = ()  # (noise, register), before the row is made
    drops: tuple[int, ...] = ()  # registers of network outputs that no later row needs
    answer: int = -1  # register of an answer that is kept as it comes
    apart: tuple[int, ...] | None = None  # if it must not share the state's memory: kept outputs it must spare too
    made: tuple[tuple[int, ...], Pair] | None = None  # registers of the channels, and y = a x + b answer of a made one


@dataclass
class Program:
    """The instructions of a run, the number of registers, and where each value lives at each row."""

    instructions: list[Instruction]
    registers: int
    live: list[dict[Source, int]] = field(default_factory=list)  # at each row, before its evaluation


def choose(candidates: Sequence[Formed]) -> tuple[Formed, Program]:
    """The form with the fewest array operations, then the fewest registers, and its program."""
    options = [(formed, assign(formed)) for formed in candidates]
    return min(options, key=lambda option: (option[0].operations, option[1].registers))


def assign(formed: Formed) -> Program:
    """Registers by liveness: a linear scan over the rows."""
    return _Scan(formed).program()


class _Scan:
    def __init__(self, formed: Formed):
        self.formed = formed
        self.rows = formed.rows
        self.last_use = last_uses(self.rows)
        self.place: dict[Source, int] = {}
        self.free: dict[bool, list[int]] = {False: [], True: []}  # by whether the slot holds network outputs
        self.foreign: set[int] = set()
        self.count = 0
        self.drawn = 0  # noises are drawn in the order of their calls

    def program(self) -> Program:
        out = Program([], 0)
        for r, row in enumerate(self.rows):
            step = self._make_row(r, row) if r else Instruction(row, row.point, self._new(("x", 0)), 0, 1.0)
            drops = self._release(r, keep=("x", r))
            out.live.append(dict(self.place))
            held = tuple(slot for slot in self.place.values() if slot in self.foreign)
            if row.channels:
                make = self.formed.make[r]
                plain = make == (0.0, 1.0)
                answers = tuple(self._new(("m", r, c), plain or c > 0) for c in range(row.channels))
                if plain and row.channels == 1:
                    harmless = not held and self._harmless(r)
                    step = step._replace(answer=answers[0], apart=None if harmless else held)
                else:
                    step = step._replace(made=(answers, make))
            step = step._replace(drops=drops)
            self._release(r)
            out.instructions.append(step)
        out.registers = self.count
        return out

    def _make_row(self, r: int, row: Row) -> Instruction:
        draws = []
        for j in range(self.drawn, max((j for j, _ in row.z), default=-1) + 1):
            draws.append((j, self._new(("z", j))))
            self.drawn = j + 1
        terms = dict(sorted(row.terms(), key=lambda term: term[0] != ("m", r - 1, 0)))  # the newest answer first
        first = self._overwritten(r, row)
        if first is not None:
            scale = terms.pop(first)
            base = target = self.place.pop(first)
            self.place["x", r] = target
            terms = {source: c / scale for source, c in terms.items()}
        else:
            first = next(iter(terms))
            scale = terms.pop(first)
            base, target = self.place[first], self._new(("x", r))
        rest = tuple((self.place[source], c) for source, c in terms.items())
        return Instruction(row, row.point, target, base, scale, rest, tuple(draws))

    def _overwritten(self, r: int, row: Row) -> Source | None:
        """The state that dies in this row and is written over, if there is one with a factor worth dividing by."""
        for k, c in row.x:
            if self.last_use["x", k] == r and abs(c) > TINY:
                return ("x", k)
        return None

    def _harmless(self, r: int) -> bool:
        """Whether the answer at row r is used in the next row only, and that row is written over its own state."""
        following = self.rows[r + 1]
        return self.last_use.get(("m", r, 0), r) <= r + 1 and self._overwritten(r + 1, following) == ("x", r)

    def _new(self, source: Source, foreign: bool = False) -> int:
        if self.free[foreign]:
            slot = self.free[foreign].pop()
        else:
            slot, self.count = self.count, self.count + 1
        if foreign:
            self.foreign.add(slot)
        self.place[source] = slot
        return slot

    def _release(self, r: int, keep: Source | None = None) -> tuple[int, ...]:
        """Free the registers of what no row after r uses; those of network outputs are returned."""
        dead = [s for s in self.place if self.last_use.get(s, -1) <= r and s != keep]
        slots = [self.place.pop(source) for source in dead]
        for slot in slots:
            self.free[slot in self.foreign].append(slot)
        return tuple(slot for slot in slots if slot in self.foreign)
