"""Draws the layers of the package in docs/design.md, from the graph of its imports.

    python docs/layers.py            # writes the picture
    python docs/layers.py --check    # fails if it is not that of today's imports

An arrow goes from a room of the package to one that it imports; one that follows from others is left out. A floor holds
the rooms that import nothing above it.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import grimp

from difftool.outputs.markdown import markdown_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- layers: python docs/layers.py -->\n", "<!-- /layers -->\n"


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports."""
    graph = grimp.build_graph("difftool")
    rooms = sorted(graph.find_children("difftool"))
    found: dict[str, set[str]] = {}
    for room in rooms:
        others = [other for other in rooms if other != room]
        used = [
            other
            for other in others
            if graph.direct_import_exists(importer=room, imported=other, as_packages=True)
        ]
        found[room.partition(".")[2]] = {other.partition(".")[2] for other in used}
    return found


def reached(room: str, arrows: dict[str, set[str]]) -> set[str]:
    """All rooms below a room."""
    return arrows[room].union(*(reached(below, arrows) for below in arrows[room]))


def floors(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The rooms from the top floor to the ground."""
    height: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in height:
            height[room] = 1 + max(map(of, arrows[room]), default=-1)
        return height[room]

    top = max(map(of, arrows))
    return [[room for room in arrows if height[room] == h] for h in range(top, -1, -1)]


def what(room: str) -> str:
    """The first line of its docstring."""
    place = ROOT / "difftool" / room
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return text.splitlines()[0].rstrip(".")


def picture() -> str:
    """The floors as a table, and the arrows that follow from no others."""
    arrows = imports()
    rows: list[list[str]] = []
    for floor, rooms in enumerate(reversed(floors(arrows))):
        rows[:0] = [[str(floor), f"`{room}`", what(room)] for room in rooms]
    lines = [markdown_table(("floor", "room", "what it holds"), rows)]
    lines += ["", "```mermaid", "flowchart TD"]
    for room, below in arrows.items():
        implied = set().union(*(reached(other, arrows) for other in below))
        lines += [f"    {room} --> {other}" for other in sorted(below - implied)]
    return "\n".join([*lines, "```", ""])


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    new = picture()
    if "--check" not in sys.argv:
        PAGE.write_text(f"{before}{BEGIN}{new}{END}{after}", encoding="utf-8")
        return 0
    if old != new:
        print("the picture in docs/design.md is not that of the imports: python docs/layers.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
