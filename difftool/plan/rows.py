"""The rows of a plan: what a sampler does on a path, as a frozen table of float64 numbers.

    x_r = sum_k A[r,k] x_k + sum_{k,c} B[r,k,c] m_{k,c} + sum_j C[r,j] z_j,      m_k = model(x_k, point of row k)

with k < r throughout. Row 0 is the input state, a register that the caller fills; the last row is the result. Most
rows are evaluated (their m_k exists) and say what they ask for (`difftool.request`: x0 alone, or more answers, a named
condition, a target); a row that is not is a derived register. The z_j are independent unit normals,
one z may enter several rows, and each carries the key under which its numbers are drawn.

Kinds of rows: `grid` (the state at a point of the path, one for each), `stage` (a point or a try within a step),
`corrector` (the state of a grid point after its model was asked), `register` (anything else that is kept). `index` is
the grid point that the row stands at, or came from if it is not a grid row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from difftool.errors import DifftoolError
from difftool.grids.base import MOST_STEPS
from difftool.noise import NoiseKey
from difftool.plan.affine import Value
from difftool.request import PLAIN, Request
from difftool.schedules.base import Point

HUGE = 1e100
Kind = Literal["grid", "stage", "corrector", "register"]


@dataclass(frozen=True)
class Row:
    """One row of a plan. `x`, `m`, `z` hold (k, coefficient), ((k, channel), coefficient), (j, coefficient)."""

    point: Point
    kind: Kind
    index: int
    request: Request | None  # what the model is asked here; None if the row is not evaluated
    x: tuple[tuple[int, float], ...] = ()
    m: tuple[tuple[tuple[int, int], float], ...] = ()
    z: tuple[tuple[int, float], ...] = ()

    @property
    def channels(self) -> int:
        """How many answers the model gives here; 0 if the row is not evaluated."""
        if self.request is None:
            return 0
        return len(self.request.answers)

    @property
    def plain(self) -> bool:
        """Whether it is evaluated, and for x0 alone."""
        return self.request == PLAIN

    def terms(self) -> list[tuple[Value, float]]:
        """All terms by source: states, answers, noises."""
        return (
            [(Value("x", k), c) for k, c in self.x]
            + [(Value("m", k, channel), c) for (k, channel), c in self.m]
            + [(Value("z", j), c) for j, c in self.z]
        )


class Table(Protocol):
    """What the executor knows of a plan: its rows and noises, and that it keeps a run that is stopped."""

    @property
    def rows(self) -> tuple[Row, ...]: ...
    @property
    def noises(self) -> tuple[NoiseKey, ...]: ...
    def stopped(self, position: int, form: str, values: dict[Value, Any]) -> Any: ...


def last_uses(rows: Sequence[Row]) -> dict[Value, int]:
    """The last row that uses each value; the result is used after the last row."""
    last = {source: r for r, row in enumerate(rows) for source, _ in row.terms()}
    last[Value("x", len(rows) - 1)] = len(rows)
    return last


def carried_states(rows: Sequence[Row]) -> list[tuple[int, ...]]:
    """For every row, the earlier ones whose states later rows are made of: the run goes on in these too."""
    last, out = last_uses(rows), []
    open_: list[int] = []
    for r in range(len(rows)):
        open_ = [k for k in open_ if last[Value("x", k)] > r]
        out.append(tuple(open_))
        open_ += [r] if Value("x", r) in last else []
    return out


def check_rows(rows: Sequence[Row], noises: Sequence[NoiseKey]) -> None:
    """Raise `DifftoolError` unless every row refers to earlier rows, evaluated where asked, with finite numbers."""
    if not rows or rows[0].x or rows[0].m or rows[0].z:
        raise DifftoolError("a plan begins with the input state, a row without terms")
    for r, row in enumerate(rows):
        if r and not (row.x or row.m or row.z):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has no terms: it is made of nothing of this run; a sampler "
                f"keeps all state in local variables"
            )
        if row.request is not None and not isinstance(row.request, Request):
            raise DifftoolError(
                f"row {r} of the plan asks for {row.request!r}, expected a Request, or None"
            )
        if (
            row.kind not in get_args(Kind)
            or type(row.index) is not int
            or not 0 <= row.index <= MOST_STEPS
        ):
            kinds = ", ".join(get_args(Kind))
            raise DifftoolError(
                f"row {r} of the plan is a {row.kind!r} row of {row.index!r}; kinds are {kinds}"
            )
        t, alpha, sigma = row.point
        if not _is_point(row.point):
            raise DifftoolError(
                f"row {r} of the plan stands at no point: t={t}, alpha={alpha}, sigma={sigma}"
            )
        if row.channels and sigma == 0:
            raise DifftoolError(
                f"row {r} of the plan is evaluated at sigma = 0, where there is nothing to estimate"
            )
        target = None if row.request is None else row.request.to
        if target is not None and not _is_point(target):
            raise DifftoolError(f"row {r} of the plan asks for the way to no point: {target}")
        for k, _ in row.x:
            if not 0 <= k < r:
                raise DifftoolError(
                    f"row {r} of the plan refers to the state of row {k}; only earlier rows exist"
                )
        for (k, c), _ in row.m:
            if not (0 <= k < r and 0 <= c < rows[k].channels):
                raise DifftoolError(
                    f"row {r} of the plan refers to output {c} of row {k}, which is not evaluated so"
                )
        for j, _ in row.z:
            if not 0 <= j < len(noises):
                raise DifftoolError(
                    f"row {r} of the plan refers to noise {j}; there are {len(noises)}"
                )
        terms = row.terms()
        if len({source for source, _ in terms}) < len(terms):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has two terms of the same value"
            )
        if not all(abs(c) < HUGE for _, c in terms):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has a coefficient that is not finite and below {HUGE:g}"
            )
    if rows[-1].request is not None:
        raise DifftoolError("a plan ends with its result, a row that is not evaluated")


def _is_point(p: Point) -> bool:
    """Whether its numbers are those of some point of some schedule."""
    return (
        math.isfinite(p.t)
        and p.alpha >= 0
        and p.sigma >= 0
        and 1 / HUGE < p.alpha + p.sigma < HUGE
    )
