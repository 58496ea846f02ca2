"""Forms of a plan: the quantity as which the model's answers are kept between rows.

The table is in terms of x0. Substituting m_k = p x_k + q u_k puts it in terms of u, and the
executor chooses among

    x0    u = x0                                   p = 0,          q = 1
    eps   u = (x_k - alpha x0) / sigma             p = 1 / alpha,  q = -sigma / alpha
    flow  u = eps - x0                             p = 1 / (alpha + sigma),  q = -sigma / (alpha + sigma)
    raw   u = the network's output, x0 = skip x_k + out u

the one with the fewest array operations, then the fewest registers. Evaluations that ask for
more than x0, for another condition or for a target are not substituted. Terms that cancel in
the substitution leave rounding residue, which is dropped.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from difftool.plan.rows import Row, Table

Form = Literal["x0", "eps", "flow", "raw"]
Pair = tuple[float, float]

RESIDUE = 1e-13  # relative to the sum of the magnitudes that add up to a coefficient


@dataclass(frozen=True)
class Formed:
    """A plan in one form: its rewritten rows, and the conversions u = a x + b answer."""

    form: Form
    rows: tuple[Row, ...]
    make: Mapping[int, Pair]  # by row: (a, b); (0, 1) if the answer is u itself
    pairs: Mapping[int, Pair] = field(default_factory=dict)  # by row: (p, q) of x0 = p x + q u

    @property
    def key(self) -> str:
        """The name of the form; for `raw`, with a checksum of the network's parametrization."""
        if self.form != "raw":
            return self.form
        return f"raw-{zlib.crc32(repr([(k, f'{p:.6g}', f'{q:.6g}') for k, (p, q) in self.pairs.items()]).encode()):08x}"

    @property
    def operations(self) -> int:
        """Array operations of the whole run, without evaluations and noise."""
        rows = sum(
            len(row.x) + len(row.m) + len(row.z) - (row.x[:1] == ((r - 1, 1.0),))
            for r, row in enumerate(self.rows)
        )
        return rows + sum(2 - (a == 0) for a, b in self.make.values() if (a, b) != (0.0, 1.0))


def forms(plan: Table, affine: Mapping[int, Pair] | None) -> list[Formed]:
    """The possible forms of a plan.

    affine: (skip, out) of x0 at each plain row; None if the answer is x0.
    """
    evaluated = [k for k, row in enumerate(plan.rows) if row.channels]
    single = all(plan.rows[k].plain for k in evaluated)
    plain = dict.fromkeys(evaluated, (0.0, 1.0))
    out = [Formed("x0", plan.rows, {**plain, **(affine or {})})]
    if affine:
        out.append(Formed("raw", _substitute(plan.rows, {**plain, **affine}), plain, affine))
    points = {k: plan.rows[k].point for k in evaluated}
    scales: dict[Form, dict[int, float]] = {
        "eps": {k: p.alpha for k, p in points.items()},
        "flow": {k: p.alpha + p.sigma for k, p in points.items()},
    }
    for form, scale in scales.items():
        if single and all(scale.values()):
            pairs = {k: (1 / scale[k], -p.sigma / scale[k]) for k, p in points.items()}
            make = {k: _conversion(*pairs[k], *(affine or plain)[k]) for k in evaluated}
            out.append(Formed(form, _substitute(plan.rows, pairs), make))
    return out


def _conversion(p: float, q: float, skip: float, out: float) -> Pair:
    """(a, b) of u = a x + b answer, for x0 = p x + q u = skip x + out answer."""
    a, b = (skip - p) / q, out / q
    return (0.0 if abs(skip - p) <= RESIDUE * (abs(skip) + abs(p)) else a), (
        1.0 if abs(b - 1) <= RESIDUE else b
    )


def _substitute(rows: Sequence[Row], pairs: Mapping[int, Pair]) -> tuple[Row, ...]:
    """The rows with channel 0 of every m_k replaced by p x_k + q u_k."""
    out = []
    for row in rows:
        x, size = dict(row.x), {k: abs(c) for k, c in row.x}
        m = {}
        for (k, channel), c in row.m:
            if channel == 0:
                p, q = pairs[k]
            else:
                p, q = (0.0, 1.0)
            x[k] = x.get(k, 0.0) + c * p
            size[k] = size.get(k, 0.0) + abs(c * p)
            m[k, channel] = c * q
        kept = tuple((k, c) for k, c in sorted(x.items()) if abs(c) > RESIDUE * size[k])
        out.append(replace(row, x=kept, m=tuple(sorted((key, c) for key, c in m.items() if c))))
    return tuple(out)
