"""Writes the pages of this folder that are generated."""

from __future__ import annotations

import sys
from pathlib import Path

from difftool.checks.table import lines, markdown
from difftool.names.translate import page

if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "names.md").write_text(page(), encoding="utf-8")
    sys.path.insert(0, str(folder.parent / "benchmarks"))
    import choosing

    (folder / "choosing.md").write_text(choosing.page(), encoding="utf-8")
    table = lines()
    (folder / "samplers.md").write_text(markdown(table), encoding="utf-8")
    worst = max(table, key=lambda line: line.worst)
    print(f"{len(table)} samplers; furthest from its claim: {worst.name}, by {worst.worst:.2f}")
