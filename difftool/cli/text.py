"""Console output: columns, facts and docstrings, at any width, without rich markup."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED = 1000  # columns if stdout is not a terminal: one line per row
PROSE = 100  # columns that are comfortable to read
BLANK = "\N{NO-BREAK SPACE}"
# spaces inside formulas, where no line should break
BOUND = re.compile(
    r" (?=(?:[=+*/<>-]|[<>]=) )|(?<=[ (][=+*/<>-]) |(?<=[ (][<>]=) |(?<=\d) (?=[a-z(])"
)


def console() -> Console:
    """Standard output; without a terminal, lines are not wrapped unless COLUMNS is set."""
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPED if free else None, highlight=False, emoji=False)


def print_title(text: str, rest: str = "") -> None:
    """Print one line: a title in bold, then the rest."""
    console().print(Text.assemble((text, "bold"), rest), soft_wrap=True)


def print_columns(
    rows: Iterable[Sequence[str | Text]], heads: Sequence[str], right: Sequence[str] = ()
) -> None:
    """Print rows under headings, right-aligned for those in `right`; only wide columns wrap."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    for i, head in enumerate(heads):
        width = max((row[i].cell_len for row in cells), default=0)
        table.add_column(
            Text(head),
            justify="right" if head in right else "left",
            no_wrap=width <= 20,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*row)
    out = console()
    with out.capture() as capture:
        out.print(table)
    # no trailing spaces
    out.file.write(re.sub(r" +((?:\x1b\[0m)?)$", r"\1", capture.get(), flags=re.MULTILINE))


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values in two columns; words are never cut, so file paths stay whole."""
    out = console()
    indent = max(map(len, facts), default=0) + 2
    for name, value in facts.items():
        lines = _wrap(value, max(out.width - indent, 20))
        text = Text.assemble((name.ljust(indent), "bold"), f"\n{' ' * indent}".join(lines))
        out.print(text, soft_wrap=True)


def print_text(text: str) -> None:
    """Print a docstring: prose is rewrapped, formulas and lists keep their lines."""
    out = console()
    width = min(out.width, PROSE)
    out.print(
        Text("\n\n".join(fill(block, width) for block in text.split("\n\n"))), soft_wrap=True
    )


def fill(block: str, width: int) -> str:
    """One paragraph of a docstring at another width.

    Lines with wide gaps are formulas (several on one line are separated by the gaps). An
    indented line continues the one above it, and its paragraph is a list. Everything else is
    prose.
    """
    lines = block.split("\n")
    if any(re.search(r"\S {2,}\S", line) for line in lines):
        return "\n".join(part for line in lines for part in _part(line, width))
    if lines[0].startswith(" "):
        return "\n".join(part for line in lines for part in _wrap(line, width, "    "))
    if any(line.startswith(" ") for line in lines):
        items = re.sub(r"\n +", " ", block).split("\n")
        return "\n".join(part for item in items for part in _wrap(item, width, "    "))
    return "\n".join(_wrap(" ".join(lines), width))


def _part(line: str, width: int) -> list[str]:
    """A line of formulas as it is if it fits, else one formula per line."""
    if len(line) <= width:
        return [line]
    margin = line[: len(line) - len(line.lstrip())]
    parts = re.split(r"(?<=[,;]) {2,}", line.strip())
    return [piece for part in parts for piece in _wrap(margin + part, width, margin + "    ")]


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """The text as lines; a formula breaks only if it is longer than a line, a word never."""
    width = max(width, 20)
    for choice in (BOUND.sub(BLANK, text), text):
        lines = textwrap.wrap(
            choice,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        if all(len(line) <= width for line in lines):
            break
    return [line.replace(BLANK, " ") for line in lines] or [""]
