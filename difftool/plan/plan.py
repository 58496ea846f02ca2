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
from typing import Any, Literal, get_args

from difftool.errors import DifftoolError
from difftool.grids.base import MOST_STEPS
from difftool.noise import NoiseKey
from difftool.plan.affine import Value
from difftool.schedules.base import Point

MOST_CHANNELS = 8
HUGE = 1e100
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

    def terms(self) -> list[tuple[Value, float]]:
        """All terms by source: states, answers, noises."""
        return (
            [(("x", k), c) for k, c in self.x]
            + [(("m", k, channel), c) for (k, channel), c in self.m]
            + [(("z", j), c) for j, c in self.z]
        )


@dataclass(frozen=True)
class Plan:
    """A sampler on a path, as numbers. Made by `difftool.plan.trace`, run by `difftool.plan.run` or `steps`."""

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


def last_uses(rows: Sequence[Row]) -> dict[Value, int]:
    """The last row that uses each value; the result is used after the last row."""
    last = {source: r for r, row in enumerate(rows) for source, _ in row.terms()}
    last["x", len(rows) - 1] = len(rows)
    return last


def carried_states(rows: Sequence[Row]) -> list[tuple[int, ...]]:
    """For every row, the earlier ones whose states later rows are made of: the run goes on in these too."""
    last, out = last_uses(rows), []
    open_: list[int] = []
    for r in range(len(rows)):
        open_ = [k for k in open_ if last["x", k] > r]
        out.append(tuple(open_))
        open_ += [r] if ("x", r) in last else []
    return out


def validate(plan: Plan) -> None:
    """Raise `DifftoolError` unless every row refers to earlier rows, evaluated where asked, with finite numbers."""
    if not plan.rows or plan.rows[0].x or plan.rows[0].m or plan.rows[0].z:
        raise DifftoolError("a plan begins with the input state, a row without terms")
    if plan.rows[-1].channels:
        raise DifftoolError("a plan ends with its result, a row that is not evaluated")
    for r, row in enumerate(plan.rows):
        if r and not (row.x or row.m or row.z):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has no terms: it is made of nothing of this run; a sampler "
                f"keeps all state in local variables"
            )
        if type(row.channels) is not int or not 0 <= row.channels <= MOST_CHANNELS:
            raise DifftoolError(f"row {r} of the plan has {row.channels!r} outputs, expected 0 to {MOST_CHANNELS}")
        if row.kind not in get_args(Kind) or type(row.index) is not int or not 0 <= row.index <= MOST_STEPS:
            kinds = ", ".join(get_args(Kind))
            raise DifftoolError(f"row {r} of the plan is a {row.kind!r} row of {row.index!r}; kinds are {kinds}")
        t, alpha, sigma = row.point
        if not (math.isfinite(t) and alpha >= 0 and sigma >= 0 and 1 / HUGE < alpha + sigma < HUGE):
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
        terms = row.terms()
        if len({source for source, _ in terms}) < len(terms):
            raise DifftoolError(f"row {r} of the plan (t={row.point.t:g}) has two terms of the same value")
        if not all(abs(c) < HUGE for _, c in terms):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has a coefficient that is not finite and below {HUGE:g}"
            )
