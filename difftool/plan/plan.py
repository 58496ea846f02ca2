"""Plans: what a sampler does on a path, as a frozen table of float64 rows.

    x_r = sum_k A[r,k] x_k + sum_{k,c} B[r,k,c] m_{k,c} + sum_j C[r,j] z_j,      m_k = model(x_k, point of row k)

with k < r throughout. Row 0 is the input state, a register that the caller fills; the last row is the result. Most
rows are evaluated (their m_k exists); a row that is not is a derived register. The z_j are independent unit normals,
one z may enter several rows, and each carries the key under which its numbers are drawn.

Kinds of rows: `grid` (the state at a point of the path, one for each), `stage` (a point or a try within a step),
`corrector` (the state of a grid point after its model was asked), `register` (anything else that is kept). `index` is
the grid point that the row stands at, or came from if it is not a grid row.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

from difftool.errors import DifftoolError, NotAffine
from difftool.noise import NoiseKey
from difftool.plan.affine import Source, Symbol
from difftool.samplers.base import Last, Sampler, finish
from difftool.schedules.base import Point
from difftool.schedules.path import Path

MOST_CHANNELS = 8
Kind = Literal["grid", "stage", "corrector", "register"]


@dataclass(frozen=True)
class Row:
    """One row of a plan. `x`, `m`, `z` hold (k, coefficient), ((k, channel), coefficient), (j, coefficient)."""

    point: Point
    kind: Kind
    index: int
    channels: int  # of the model's answer here; 0 if the row is not evaluated
    x: tuple[tuple[int, float], ...] = ()
    m: tuple[tuple[tuple[int, int], float], ...] = ()
    z: tuple[tuple[int, float], ...] = ()

    def terms(self) -> list[tuple[Source, float]]:
        """All terms by source: states, answers, noises."""
        return (
            [(("x", k), c) for k, c in self.x]
            + [(("m", k, channel), c) for (k, channel), c in self.m]
            + [(("z", j), c) for j, c in self.z]
        )


@dataclass(frozen=True)
class Plan:
    """A sampler on a path, as numbers. Make one with `trace`; run it with `difftool.plan.run` or `steps`."""

    rows: tuple[Row, ...]
    noises: tuple[NoiseKey, ...] = ()
    name: str = ""  # what it was traced from, for people

    def __post_init__(self) -> None:
        validate(self)

    @property
    def nfe(self) -> int:
        """Network evaluations."""
        return sum(row.channels > 0 for row in self.rows)

    @property
    def points(self) -> tuple[Point, ...]:
        """The point of every row."""
        return tuple(row.point for row in self.rows)

    def steps(self, x: Any, **options: Any) -> Generator[tuple[Any, Point, Row], Any, Any]:
        """Yields (x, point, row) and takes the model's answer: see `difftool.plan.run.steps`."""
        from difftool.plan.run import steps

        return steps(self, x, **options)


def last_uses(rows: Sequence[Row]) -> dict[Source, int]:
    """The last row that uses each value; the result is used after the last row."""
    last = {source: r for r, row in enumerate(rows) for source, _ in row.terms()}
    last["x", len(rows) - 1] = len(rows)
    return last


def validate(plan: Plan) -> None:
    """Raise `DifftoolError` unless every row refers to earlier rows, evaluated where asked, with finite numbers."""
    if not plan.rows or plan.rows[0].x or plan.rows[0].m or plan.rows[0].z:
        raise DifftoolError("a plan begins with the input state, a row without terms")
    if plan.rows[-1].channels:
        raise DifftoolError("a plan ends with its result, a row that is not evaluated")
    for r, row in enumerate(plan.rows):
        if r and not (row.x or row.m or row.z):
            raise DifftoolError(f"row {r} of the plan (t={row.point.t:g}) has no terms")
        if type(row.channels) is not int or not 0 <= row.channels <= MOST_CHANNELS:
            raise DifftoolError(f"row {r} of the plan has {row.channels!r} outputs, expected 0 to {MOST_CHANNELS}")
        if row.kind not in get_args(Kind) or type(row.index) is not int or row.index < 0:
            kinds = ", ".join(get_args(Kind))
            raise DifftoolError(f"row {r} of the plan is a {row.kind!r} row of {row.index!r}; kinds are {kinds}")
        t, alpha, sigma = row.point
        if not (all(map(math.isfinite, row.point)) and alpha >= 0 and sigma >= 0 and alpha + sigma > 0):
            raise DifftoolError(f"row {r} of the plan stands at no point: t={t}, alpha={alpha}, sigma={sigma}")
        if row.channels and sigma == 0:
            raise DifftoolError(f"row {r} of the plan is evaluated at sigma = 0, where there is nothing to estimate")
        for k, _ in row.x:
            if not 0 <= k < r:
                raise DifftoolError(f"row {r} of the plan refers to the state of row {k}; only earlier rows exist")
        for (k, c), _ in row.m:
            if not (0 <= k < r and 0 <= c < plan.rows[k].channels):
                raise DifftoolError(f"row {r} of the plan refers to output {c} of row {k}, which is not evaluated so")
        for j, _ in row.z:
            if not 0 <= j < len(plan.noises):
                raise DifftoolError(f"row {r} of the plan refers to noise {j}; there are {len(plan.noises)}")
        if not all(math.isfinite(c) for _, c in (*row.x, *row.m, *row.z)):
            raise DifftoolError(f"row {r} of the plan (t={row.point.t:g}) has a coefficient that is not finite")


class _Tracer:
    """The model, the noise and the record of one trace: (point, channels, symbol) of every row."""

    def __init__(self, path: Path):
        self.start = Symbol(source=("x", 0))
        self.rows: list[tuple[Point, int, Symbol]] = [(path[0], 0, self.start)]
        self.noises: list[NoiseKey] = []

    def model(self, x: Any, p: Point, outputs: int = 1) -> Any:
        if not isinstance(x, Symbol):
            raise NotAffine(f"the model was given a {type(x).__name__} that does not come from the state")
        if p.sigma == 0:
            return x / p.alpha
        if x is self.start and not self.rows[0][1]:
            k = 0
            self.rows[0] = (p, outputs, x)
        else:
            k = len(self.rows)
            if x.source is not None:  # asked again: the same state is another row
                x = x * 1.0
            self.rows.append((p, outputs, x))
            x.source = ("x", k)
        out = tuple(Symbol(source=("m", k, c)) for c in range(outputs))
        return out if outputs > 1 else out[0]

    def table(self, out: Symbol) -> list[dict[Source, float]]:
        """The terms of every row and, last, of the result; a row refers to the rows before it."""
        symbols = [x for _, _, x in self.rows] + [out if out.source is None else out * 1.0]
        terms: list[dict[Source, float]] = [{}]
        for r, x in enumerate(symbols[1:], 1):
            terms.append(x.expand(lambda source, r=r: source[0] != "x" or source[1] < r))  # type: ignore[misc]
        return terms

    def noise(self, now: Point | None = None, nxt: Point | None = None) -> Symbol:
        call = len(self.noises)
        if now is None or nxt is None:
            self.noises.append(NoiseKey(call))
        else:
            low, high = sorted((now.level, nxt.level))
            self.noises.append(NoiseKey(call, (low, high)))
        return Symbol(source=("z", call))


def trace(sampler: Sampler, path: Path, last: Last | None = None, correlated: bool = False) -> Plan:
    """The plan of a sampler on a path.

    last: how the run enters sigma = 0 (None: as the sampler says). correlated: True if the noise is path noise, whose
    overlapping intervals share numbers: they are split into elementary increments. Raises `NotAffine` for samplers
    that no plan can hold.
    """
    if sampler.adaptive:
        raise NotAffine(f"{type(sampler).__name__} chooses its steps by the state; it runs as the plain loop")
    tracer = _Tracer(path)
    out = finish(sampler, tracer.model, tracer.start, path, tracer.noise, last or sampler.last)
    if not isinstance(out, Symbol):
        raise NotAffine(f"the sampler returned a {type(out).__name__}, not its state")
    terms = tracer.table(out)
    stops = [(point, channels) for point, channels, _ in tracer.rows] + [(path[-1], 0)]
    noises, combos = _split(tracer.noises) if correlated else (_calls(tracer.noises), None)
    rows = tuple(
        _row(point, kind, index, channels, row_terms, combos)
        for (point, channels), (kind, index), row_terms in zip(stops, _kinds(stops, path), terms, strict=True)
    )
    return Plan(rows, noises, name=repr(sampler))


def _calls(noises: list[NoiseKey]) -> tuple[NoiseKey, ...]:
    """Keys of independent noise: the number of the call is all that matters."""
    return tuple(NoiseKey(n.call) for n in noises)


def _split(noises: list[NoiseKey]) -> tuple[tuple[NoiseKey, ...], list[dict[int, float]]]:
    """Keys of path noise: elementary increments, and each query as a combination of them.

    For a query over [a, b] cut at a = u_0 < u_1 < .. < u_n = b:  z = sum_i sqrt((u_{i+1} - u_i) / (b - a)) z_i.
    A query up to an infinite level is independent of all finite ones.
    """
    cuts = sorted({u for n in noises if n.interval for u in n.interval if math.isfinite(u)})
    keys: dict[NoiseKey, int] = {}
    combos: list[dict[int, float]] = []
    calls = 0
    for n in noises:
        if n.interval is None:
            parts = [(NoiseKey(calls), 1.0)]
            calls += 1
        elif math.isinf(n.interval[1]):
            parts = [(NoiseKey(-1, n.interval), 1.0)]
        else:
            a, b = n.interval
            inner = [u for u in cuts if a <= u <= b]
            parts = [(NoiseKey(-1, (u, v)), math.sqrt((v - u) / (b - a))) for u, v in pairwise(inner)]
        combos.append({keys.setdefault(key, len(keys)): weight for key, weight in parts})
    return tuple(keys), combos


def _kinds(stops: list[tuple[Point, int]], path: Path) -> list[tuple[Kind, int]]:
    """The last evaluated row at a point of the path is its grid row; what lies between two of them is a stage."""
    places = {p: i for i, p in enumerate(path)}
    grid = {places[p]: r for r, (p, channels) in enumerate(stops) if channels and p in places}
    grid.setdefault(0, 0)
    grid[len(path) - 1] = len(stops) - 1
    at = {r: i for i, r in grid.items()}
    out: list[tuple[Kind, int]] = []
    index = 0
    for r, (_, channels) in enumerate(stops):
        index = at.get(r, index)
        out.append(("grid" if r in at else "stage" if channels else "register", index))
    return out


def _row(
    point: Point,
    kind: Kind,
    index: int,
    channels: int,
    terms: dict[Source, float],
    combos: list[dict[int, float]] | None,
) -> Row:
    x, m = [], []
    z: dict[int, float] = {}
    for source, c in terms.items():
        if c == 0.0:
            continue
        if source[0] == "x":
            x.append((source[1], c))
        elif source[0] == "m":
            m.append(((source[1], source[2]), c))
        else:
            for j, weight in combos[source[1]].items() if combos else ((source[1], 1.0),):
                z[j] = z.get(j, 0.0) + c * weight
    return Row(point, kind, index, channels, tuple(sorted(x)), tuple(sorted(m)), tuple(sorted(z.items())))
