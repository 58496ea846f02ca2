"""Text from outside, before it becomes a name."""

from __future__ import annotations

import re
from typing import Any

NAME = re.compile(
    r"[\w.-]{1,80}"
)  # what can stand in a spec, and in a file name, without quotes


def is_name(text: Any) -> bool:
    """Whether it is text that is safe as a name: letters, digits, dot, underscore and hyphen."""
    return isinstance(text, str) and NAME.fullmatch(text) is not None and text.strip(".") != ""
