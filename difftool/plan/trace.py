"""Tracing: running a sampler on symbols, and recording it as a plan."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from difftool.errors import DifftoolError, NotAffine
from difftool.noise import NoiseKey, Numbers
from difftool.plan.affine import Symbol, Value
from difftool.plan.derived import Stop, with_derived
from difftool.plan.plan import Plan
from difftool.plan.rows import Kind, Row
from difftool.request import request_of
from difftool.samplers.base import Last, Sampler, finish, name_of, undefined_at
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@contextmanager
def _uncollected() -> Iterator[None]:
    """Disable garbage collection: half the time of a trace, although symbols form no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_uncollected()
def trace(
    sampler: Sampler,
    path: Path,
    last: Last | None = None,
    correlated: bool = False,
    placed: bool = True,
) -> Plan:
    """The plan of a sampler on a path.

    last: how the run enters sigma = 0 (None: set by the sampler). correlated: True for path
    noise, whose overlapping intervals share numbers: they are split into elementary increments.
    placed: as for the noise. Raises `NotAffine` for samplers that a plan cannot represent.
    """
    if sampler.adaptive:
        raise NotAffine(
            f"{name_of(sampler)} chooses its steps by the state; it runs as a plain loop"
        )
    tracer = _Tracer(path, correlated, placed)
    out = finish(sampler, tracer.model, tracer.start, path, tracer.noise, last or sampler.last)
    if not isinstance(out, Symbol):
        raise NotAffine(f"the sampler returned a {type(out).__name__} instead of its state")
    stops = with_derived(tracer.stops, out)
    stops.append(Stop(path[-1], out * 1.0))
    if correlated:
        noises, combos = _split(tracer.noises)
    else:
        noises, combos = (tuple(tracer.noises), None)
    rows = tuple(
        _row(stop, kind, index, terms, combos)
        for stop, (kind, index), terms in zip(
            stops, _kinds(stops, path), _table(stops), strict=True
        )
    )
    try:
        return Plan(rows, noises, name=repr(sampler))
    except DifftoolError:
        for p in (path[0], path[-1]):
            if p.alpha == 0:
                raise undefined_at(name_of(sampler), path, p) from None
        raise


class _Tracer:
    """The symbolic model and noise, and a record of their calls."""

    def __init__(self, path: Path, correlated: bool, placed: bool):
        self.start = Symbol()
        self.correlated, self.numbers = correlated, Numbers(path[0].level, placed)
        self.stops = [Stop(path[0], self.start)]
        self.asked: set[Symbol] = set()
        self.noises: list[NoiseKey] = []

    def model(self, x: Any, p: Point, **asked: Any) -> Any:
        if not isinstance(x, Symbol):
            raise NotAffine(
                f"the sampler passed the model a {type(x).__name__} that does not come from the state"
            )
        request = request_of(asked)
        if p.sigma == 0:
            return request.at_clean(x / p.alpha)
        answers = tuple(Symbol() for _ in request.answers)
        first = self.stops[0]
        if x is self.start and not first.answers:
            first.point, first.answers, first.request = p, answers, request
        else:
            if x in self.asked or not x.parts:  # evaluating the same state again is a new row
                x = x * 1.0
            self.asked.add(x)
            self.stops.append(Stop(p, x, answers, request))
        return request.unpacked(answers)

    def noise(self, now: Point | None = None, nxt: Point | None = None) -> Symbol:
        if self.correlated and now is not None and nxt is not None:
            low, high = sorted((now.level, nxt.level))
            self.noises.append(NoiseKey(-1, (low, high)))
        else:
            self.noises.append(NoiseKey(self.numbers(now, nxt)))
        return Symbol(source=Value("z", len(self.noises) - 1))


def _table(stops: list[Stop]) -> list[dict[Value, float]]:
    """The terms of every row, in terms of the rows before it."""
    for r, stop in enumerate(stops):
        stop.x.source = Value("x", r)
        for c, answer in enumerate(stop.answers):
            answer.source = Value("m", r, c)
    terms: list[dict[Value, float]] = [{}]
    for r, stop in enumerate(stops[1:], 1):
        terms.append(stop.x.expand(lambda source, r=r: source.kind != "x" or source.number < r))  # type: ignore[misc]
    return terms


def _split(noises: list[NoiseKey]) -> tuple[tuple[NoiseKey, ...], list[dict[int, float]]]:
    """Keys of elementary increments of path noise, and each query as a combination of them.

    For a query over [a, b] cut at a = u_0 < u_1 < .. < u_n = b:

        z = sum_i sqrt((u_{i+1} - u_i) / (b - a)) z_i.

    A query up to an infinite level is independent of all finite ones.
    """
    cuts = sorted({u for n in noises if n.interval for u in n.interval if math.isfinite(u)})
    keys: dict[NoiseKey, int] = {}
    combos: list[dict[int, float]] = []
    for n in noises:
        if n.interval is None:
            parts = [(n, 1.0)]
        elif math.isinf(n.interval[1]):
            parts = [(NoiseKey(-1, n.interval), 1.0)]
        else:
            a, b = n.interval
            inner = [u for u in cuts if a <= u <= b]
            parts = [
                (NoiseKey(-1, (u, v)), math.sqrt((v - u) / (b - a))) for u, v in pairwise(inner)
            ]
        combos.append({keys.setdefault(key, len(keys)): weight for key, weight in parts})
    return tuple(keys), combos


def _kinds(stops: list[Stop], path: Path) -> list[tuple[Kind, int]]:
    """Kind and index of every row: the last evaluation at a point of the path is its grid row.

    Other evaluated rows are stages.
    """
    places = {p: i for i, p in enumerate(path)}
    grid = {
        places[stop.point]: r
        for r, stop in enumerate(stops)
        if stop.answers and stop.point in places
    }
    grid.setdefault(0, 0)
    grid[len(path) - 1] = len(stops) - 1
    at = {r: i for i, r in grid.items()}
    out: list[tuple[Kind, int]] = []
    index = 0
    for r, stop in enumerate(stops):
        index = at.get(r, index)
        out.append(("grid" if r in at else "stage" if stop.answers else "register", index))
    return out


def _row(
    stop: Stop,
    kind: Kind,
    index: int,
    terms: dict[Value, float],
    combos: list[dict[int, float]] | None,
) -> Row:
    x, m = [], []
    z: dict[int, float] = {}
    for source, c in terms.items():
        if c == 0.0:
            continue
        if source.kind == "x":
            x.append((source.number, c))
        elif source.kind == "m":
            m.append(((source.number, source.channel), c))
        else:
            for j, weight in (
                combos[source.number].items() if combos else ((source.number, 1.0),)
            ):
                z[j] = z.get(j, 0.0) + c * weight
    return Row(
        stop.point,
        kind,
        index,
        stop.request if stop.answers else None,
        tuple(sorted(x)),
        tuple(sorted(m)),
        tuple(sorted(z.items())),
    )
