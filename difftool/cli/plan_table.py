"""A plan as a table on the console."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from difftool.plan import Plan, Row


def print_plan(plan: Plan, figures: dict[str, str], limit: int, written: str | None) -> None:
    """The rows (at most `limit`, half from each end; 0: all) and the figures."""
    console = Console()
    title = f"{plan.name}: x = sum A x_k + sum B m_k + sum C z_j, m_k the model at row k"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("row", "kind", "t", "alpha", "sigma"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for column in ("A", "B", "C"):
        table.add_column(column)
    shown = _shown(len(plan.rows), limit)
    for before, r in zip([-1, *shown], shown, strict=False):
        if r != before + 1:
            table.add_row("...")
        table.add_row(*_cells(r, plan.rows[r]))
    console.print(table)
    console.print()
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in {**figures, **({"written": written} if written else {})}.items():
        facts.add_row(f"[bold]{name}", value)
    console.print(facts)


def _shown(count: int, limit: int) -> list[int]:
    if limit <= 0 or count <= limit:
        return list(range(count))
    half = max(limit // 2, 1)
    return [*range(half), *range(count - half, count)]


def _cells(r: int, row: Row) -> list[str]:
    point = [f"{v:.5g}" for v in row.point]
    a = "  ".join(f"{c:+.5f} x{k}" for k, c in row.x) or ("input" if r == 0 else "")
    b = "  ".join(f"{c:+.5f} m{k}" + (f".{channel}" if channel else "") for (k, channel), c in row.m)
    z = "  ".join(f"{c:+.5f} z{j}" for j, c in row.z)
    kind = row.kind if row.channels else f"{row.kind} *"
    return [str(r), kind, *point, a, b, z]
