"""Text from outside, before it becomes a name or reaches a terminal."""

from __future__ import annotations

import re
from typing import Any

LONGEST = 80  # characters of outside text in a message
NAME = re.compile(
    r"[\w.-]{1,80}"
)  # what can stand in a spec, and in a file name, without quotes


def is_name(text: Any) -> bool:
    """Whether it is text that is safe as a name: letters, digits, dot, underscore and hyphen."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None and text.strip(".") != ""


def printable(text: str, most: int = LONGEST) -> str:
    """The text as a terminal may show it: control characters as escapes, cut to that many."""
    if len(text) > most:
        text = text[: most - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
