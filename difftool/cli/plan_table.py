"""A plan as a table on the console."""

from __future__ import annotations

from difftool.cli.text import print_columns, print_facts, print_title
from difftool.plan import Plan, Row
from difftool.request import Request

HEADS = ("row", "kind", "t", "alpha", "sigma", "A", "B", "C")


def print_plan(plan: Plan, facts: dict[str, str], limit: int) -> None:
    """Print the rows (at most `limit`, half from each end; 0: all) and the figures."""
    shown = _shown(len(plan.rows), limit)
    cells = []
    for before, r in zip([-1, *shown], shown, strict=False):
        if r != before + 1:
            cells.append(["..."] + [""] * (len(HEADS) - 1))
        cells.append(_cells(r, plan.rows[r]))
    print_title(plan.name, "  x = sum A x_k + sum B m_k + sum C z_j, m_k the model at row k")
    print_columns(cells, HEADS, right=("row", "t", "alpha", "sigma"))
    if not all(row.channels for row in plan.rows):
        print("* no evaluation here")
    for request, rows in _asked(plan).items():
        print(f"requested {request}: rows {_ranges(rows)}")
    print()
    print_facts(facts)


def _asked(plan: Plan) -> dict[Request, list[int]]:
    """The rows that request more than x0, by request."""
    out: dict[Request, list[int]] = {}
    for r, row in enumerate(plan.rows):
        if row.request is not None and not row.plain:
            out.setdefault(row.request, []).append(r)
    return out


def _ranges(rows: list[int]) -> str:
    """Increasing numbers as text, consecutive ones as a range: 0-3, 5."""
    runs: list[list[int]] = []
    for r in rows:
        if runs and r == runs[-1][-1] + 1:
            runs[-1].append(r)
        else:
            runs.append([r])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _shown(count: int, limit: int) -> list[int]:
    if limit <= 0 or count <= limit:
        return list(range(count))
    half = max(limit // 2, 1)
    return [*range(half), *range(count - half, count)]


def _cells(r: int, row: Row) -> list[str]:
    point = [f"{v:.5g}" for v in row.point]
    a = "  ".join(f"{c:+.5f} x{k}" for k, c in row.x) or ("input" if r == 0 else "")
    b = "  ".join(
        f"{c:+.5f} m{k}" + (f".{channel}" if channel else "") for (k, channel), c in row.m
    )
    z = "  ".join(f"{c:+.5f} z{j}" for j, c in row.z)
    kind: str = row.kind
    if not row.channels:
        kind += " *"
    return [str(r), kind, *point, a, b, z]
