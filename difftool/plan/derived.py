"""Derived registers: which intermediate results of a sampler a plan keeps as rows.

Symbols at which the model is not evaluated are expanded where they are used, so a multistep
method needs only its history of answers. But a quantity that is carried from step to step (a
corrected state at which the model is never evaluated) would be expanded back to the input
state. Wherever the expansion would keep more sources across an evaluation than the loop itself
keeps values, the values with the longest expansions become rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.plan.affine import Symbol
from difftool.request import PLAIN, Request
from difftool.schedules.base import Point


@dataclass(eq=False)
class Stop:
    """A future row: its point, state, answers of the model (none: derived) and request."""

    point: Point
    x: Symbol
    answers: tuple[Symbol, ...] = ()
    request: Request = PLAIN

    @property
    def time(self) -> float:
        """When the model was evaluated, as a serial number of symbols."""
        if self.answers:
            return self.answers[0].serial
        return -1


def with_derived(stops: list[Stop], out: Symbol) -> list[Stop]:
    """The stops, with derived registers inserted before the evaluations that they outlive."""
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
    """The last use of each symbol: as an evaluated state, in another symbol, as the result."""
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
    """Whether a symbol is a source by then: an answer, a noise, an evaluated state, a row."""
    return not symbol.parts or time.get(symbol, float("inf")) <= now


def _sources(symbol: Symbol, time: dict[Symbol, float], now: float) -> set[Symbol]:
    """The sources in the symbol's expansion at that time."""
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
    """The number of registers for the sources; a state and its answer may share one."""
    return len({owner.get(source, source) for source in sources})
