"""Words on a console: columns, facts and docstrings, at any width. Nothing here is read as rich markup."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED = 1000  # columns of what is no terminal: one line for each row
PROSE = 100  # columns that a person reads with ease
BLANK = "\N{NO-BREAK SPACE}"
# in formulas
BOUND = re.compile(
    r" (?=(?:[=+*/<>-]|[<>]=) )|(?<=[ (][=+*/<>-]) |(?<=[ (][<>]=) |(?<=\d) (?=[a-z(])"
)


def console() -> Console:
    """Standard output; lines are not cut for a reader that is no terminal (unless COLUMNS says so)."""
    free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=PIPED if free else None, highlight=False, emoji=False)


def print_title(text: str, rest: str = "") -> None:
    """A line in bold, and the rest of it."""
    console().print(Text.assemble((text, "bold"), rest), soft_wrap=True)


def print_columns(
    rows: Iterable[Sequence[str | Text]], heads: Sequence[str], right: Sequence[str] = ()
) -> None:
    """Rows under their heads (those in `right` to the right); cells wrap in their columns, short columns do not."""
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
    # no padding at the end
    out.file.write(re.sub(r" +((?:\x1b\[0m)?)$", r"\1", capture.get(), flags=re.MULTILINE))


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values in two columns; a word is never cut, so that the path of a file stays in one piece."""
    out = console()
    indent = max(map(len, facts), default=0) + 2
    for name, value in facts.items():
        lines = _wrap(value, max(out.width - indent, 20))
        text = Text.assemble((name.ljust(indent), "bold"), f"\n{' ' * indent}".join(lines))
        out.print(text, soft_wrap=True)


def print_text(text: str) -> None:
    """A docstring: prose is filled anew, formulas and lists keep their lines."""
    out = console()
    width = min(out.width, PROSE)
    out.print(
        Text("\n\n".join(fill(block, width) for block in text.split("\n\n"))), soft_wrap=True
    )


def fill(block: str, width: int) -> str:
    """One paragraph of a docstring at another width.

    Lines with wide gaps in them are formulas (several in a line: they part at the gaps); an indented line goes on
    with the one above it, and its paragraph is a list; all else is prose.
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
    """A line of formulas, as it is if it fits, else one formula to a line."""
    if len(line) <= width:
        return [line]
    margin = line[: len(line) - len(line.lstrip())]
    parts = re.split(r"(?<=[,;]) {2,}", line.strip())
    return [piece for part in parts for piece in _wrap(margin + part, width, margin + "    ")]


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """The text in lines; a formula breaks only if it is longer than a line, a word never."""
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
