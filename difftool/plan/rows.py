"""The rows of a plan: a sampler on a path, as a frozen table of float64 numbers.

    x_r = sum_k A[r,k] x_k + sum_{k,c} B[r,k,c] m_{k,c} + sum_j C[r,j] z_j,      m_k = model(x_k, point of row k)

with k < r throughout. Row 0 is the input state, filled by the caller; the last row is the
result. Most rows are evaluated (their m_k exists) and hold their request (`difftool.request`:
x0 alone, or more outputs, a named condition, a target); a row that is not evaluated is a
derived register. The z_j are independent unit normals. One z may appear in several rows, and
each has the key by which its numbers are drawn.

Kinds of rows: `grid` (the state at a point of the path, one per point), `stage` (an
intermediate state or a trial within a step), `corrector` (the state of a grid point after its
evaluation), `register` (any other stored value). `index` is the row's grid point; for other
kinds than `grid`, the one it started from.
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
    """One row of a plan.

    `x`, `m` and `z` hold (k, coefficient), ((k, channel), coefficient) and (j, coefficient).
    """

    point: Point
    kind: Kind
    index: int
    request: Request | None  # None if the row is not evaluated
    x: tuple[tuple[int, float], ...] = ()
    m: tuple[tuple[tuple[int, int], float], ...] = ()
    z: tuple[tuple[int, float], ...] = ()

    @property
    def channels(self) -> int:
        """The number of outputs of the model at this row; 0 if it is not evaluated."""
        if self.request is None:
            return 0
        return len(self.request.answers)

    @property
    def plain(self) -> bool:
        """Whether the row is evaluated, for x0 alone."""
        return self.request == PLAIN

    def terms(self) -> list[tuple[Value, float]]:
        """All terms as (source, coefficient): states, answers, noises."""
        return (
            [(Value("x", k), c) for k, c in self.x]
            + [(Value("m", k, channel), c) for (k, channel), c in self.m]
            + [(Value("z", j), c) for j, c in self.z]
        )


class Table(Protocol):
    """What the executor needs of a plan: rows, noises, and a constructor for saved states."""

    @property
    def rows(self) -> tuple[Row, ...]: ...
    @property
    def noises(self) -> tuple[NoiseKey, ...]: ...
    def stopped(self, position: int, form: str, values: dict[Value, Any]) -> Any: ...


def last_uses(rows: Sequence[Row]) -> dict[Value, int]:
    """The last row that uses each value; the result counts as used after the last row."""
    last = {source: r for r, row in enumerate(rows) for source, _ in row.terms()}
    last[Value("x", len(rows) - 1)] = len(rows)
    return last


def carried_states(rows: Sequence[Row]) -> list[tuple[int, ...]]:
    """For every row, the earlier rows whose states later rows still use."""
    last, out = last_uses(rows), []
    open_: list[int] = []
    for r in range(len(rows)):
        open_ = [k for k in open_ if last[Value("x", k)] > r]
        out.append(tuple(open_))
        open_ += [r] if Value("x", r) in last else []
    return out


def check_rows(rows: Sequence[Row], noises: Sequence[NoiseKey]) -> None:
    """Raise `DifftoolError` unless all rows are valid: finite, and using only earlier rows."""
    if not rows or rows[0].x or rows[0].m or rows[0].z:
        raise DifftoolError("a plan must begin with the input state, a row without terms")
    for r, row in enumerate(rows):
        if r and not (row.x or row.m or row.z):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has no terms: it does not depend on this run; a sampler must "
                f"keep all its state in local variables"
            )
        if row.request is not None and not isinstance(row.request, Request):
            raise DifftoolError(
                f"row {r} of the plan asks for {row.request!r}, expected a Request or None"
            )
        if (
            row.kind not in get_args(Kind)
            or type(row.index) is not int
            or not 0 <= row.index <= MOST_STEPS
        ):
            kinds = ", ".join(get_args(Kind))
            raise DifftoolError(
                f"row {r} of the plan has kind {row.kind!r} and index {row.index!r}; kinds are {kinds}"
            )
        t, alpha, sigma = row.point
        if not _is_point(row.point):
            raise DifftoolError(
                f"row {r} of the plan has an invalid point: t={t}, alpha={alpha}, sigma={sigma}"
            )
        if row.channels and sigma == 0:
            raise DifftoolError(
                f"row {r} of the plan is evaluated at sigma = 0, where x0 is already known"
            )
        target = None if row.request is None else row.request.to
        if target is not None and not _is_point(target):
            raise DifftoolError(f"row {r} of the plan has an invalid target point: {target}")
        for k, _ in row.x:
            if not 0 <= k < r:
                raise DifftoolError(
                    f"row {r} of the plan refers to the state of row {k}; only earlier rows exist"
                )
        for (k, c), _ in row.m:
            if not (0 <= k < r and 0 <= c < rows[k].channels):
                raise DifftoolError(
                    f"row {r} of the plan refers to output {c} of row {k}, which does not exist"
                )
        for j, _ in row.z:
            if not 0 <= j < len(noises):
                raise DifftoolError(
                    f"row {r} of the plan refers to noise {j}; the plan has {len(noises)}"
                )
        terms = row.terms()
        if len({source for source, _ in terms}) < len(terms):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has two terms for the same value"
            )
        if not all(abs(c) < HUGE for _, c in terms):
            raise DifftoolError(
                f"row {r} of the plan (t={row.point.t:g}) has a coefficient that is not finite or not below {HUGE:g}"
            )
    if rows[-1].request is not None:
        raise DifftoolError("a plan must end with its result, a row that is not evaluated")


def _is_point(p: Point) -> bool:
    """Whether the numbers are possible for a point of a schedule."""
    return (
        math.isfinite(p.t)
        and p.alpha >= 0
        and p.sigma >= 0
        and 1 / HUGE < p.alpha + p.sigma < HUGE
    )
