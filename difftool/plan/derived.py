"""Which intermediate results a plan keeps as registers of their own.

Symbols that are not states of an evaluation are expanded where they are used, so a method that holds a history of
answers needs no more than those. A method that carries a quantity of its own from step to step (a corrected state that
the model is never asked at) would be expanded back to the input state. Wherever more sources would have to be held
across an evaluation than the loop itself holds values, the values with the longest expansions become rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.plan.affine import Symbol
from difftool.request import PLAIN, Request
from difftool.schedules.base import Point


@dataclass(eq=False)
class Stop:
    """A row to be: its point, its state, the model's answers to it (none: a derived register), what they were to."""

    point: Point
    x: Symbol
    answers: tuple[Symbol, ...] = ()
    request: Request = PLAIN

    @property
    def time(self) -> float:
        """When the model was asked, in serial numbers of symbols."""
        if self.answers:
            return self.answers[0].serial
        return -1


def with_derived(stops: list[Stop], out: Symbol) -> list[Stop]:
    """The stops, with derived registers put before those whose evaluation they outlive."""
    time = {stop.x: stop.time for stop in stops}
    owner = {symbol: stop for stop in stops for symbol in (stop.x, *stop.answers)}
    waiting = sorted(_last_uses(stops, out).items(), key=lambda item: -item[0].serial)
    active: dict[Symbol, float] = {}
    kept: list[Stop] = []
    for stop in stops:
        now = stop.time
        while waiting and waiting[-1][0].serial < now:
            symbol, end = waiting.pop()
            active[symbol] = end
        active = {symbol: end for symbol, end in active.items() if end > now}
        known = {s for s in active if _known(s, time, now)}
        values = {s: _sources(s, time, now) for s in active if s not in known}
        chosen: list[Symbol] = []
        while values and _size(known.union(*values.values()), owner) > _size(
            known, owner
        ) + len(values):
            longest = max(values, key=lambda s: (len(values[s]), -s.serial))
            chosen.append(longest)
            time[longest] = -1
            known.add(longest)
            values = {s: _sources(s, time, now) for s in values if s is not longest}
        kept += [*(Stop(stop.point, s) for s in sorted(chosen, key=lambda s: s.serial)), stop]
    return kept


def _last_uses(stops: list[Stop], out: Symbol) -> dict[Symbol, float]:
    """When the loop uses each symbol last: as the state of an evaluation, in another symbol, or as the result."""
    ends: dict[Symbol, float] = {stop.x: stop.time for stop in stops}
    ends[out] = float("inf")
    seen: set[Symbol] = set()
    open_ = list(ends)
    while open_:
        symbol = open_.pop()
        if symbol in seen:
            continue
        seen.add(symbol)
        for part, _ in symbol.parts:
            ends[part] = max(ends.get(part, -1), symbol.serial)
            open_.append(part)
    return ends


def _known(symbol: Symbol, time: dict[Symbol, float], now: float) -> bool:
    """Whether it is a source at that time: an answer, a noise, a state that the model was asked at, a register."""
    return not symbol.parts or time.get(symbol, float("inf")) <= now


def _sources(symbol: Symbol, time: dict[Symbol, float], now: float) -> set[Symbol]:
    """What its expansion holds at that time."""
    found: set[Symbol] = set()
    seen: set[Symbol] = set()
    open_ = [part for part, _ in symbol.parts]
    while open_:
        node = open_.pop()
        if _known(node, time, now):
            found.add(node)
        elif node not in seen:
            seen.add(node)
            open_ += [part for part, _ in node.parts]
    return found


def _size(sources: set[Symbol], owner: dict[Symbol, Stop]) -> int:
    """Registers for these sources; a state and its answer count as one, for a form may keep one in place of both."""
    return len({owner.get(source, source) for source in sources})
