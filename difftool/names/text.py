"""Parsing and writing of specs, `name:key=value,key=value`; `specs` gives them their meaning.

Text in single or double quotes is taken literally: colons, commas, equals signs, blanks and the
other kind of quote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from difftool.errors import DifftoolError


def parse(spec: str) -> tuple[str, dict[str, str]]:
    """(name, options as text) of a spec; `DifftoolError` if it is not one."""
    head, *rest = _split(spec, ":", most=1)
    name = _unquote(head.strip())
    if not name:
        raise DifftoolError(f"{spec!r} has no name; write name or name:key=value,key=value")
    options: dict[str, str] = {}
    for part in _split(rest[0], ",") if rest else []:
        key, *value = _split(part, "=", most=1)
        key = key.strip().replace("-", "_")
        if not value or not key:
            raise DifftoolError(
                f"{part.strip()!r} in {spec!r} is not key=value; "
                "write lists as a+b+c, and put values with : , or = in quotes"
            )
        if key in options:
            raise DifftoolError(f"{spec!r} gives {key} twice")
        options[key] = _unquote(value[0].strip())
    return name, options


def write(name: str, options: Mapping[str, str]) -> str:
    """The spec that `parse` reads as that name with those options."""
    parts = [f"{key}={_quote(text)}" for key, text in options.items()]
    return _quote(name) + (":" + ",".join(parts) if parts else "")


def _split(text: str, mark: str, most: int = -1) -> list[str]:
    """Split at a separator outside quotes."""
    parts, quote, begin = [], "", 0
    for i, c in enumerate(text):
        if quote:
            if c == quote:
                quote = ""
        elif c in "'\"":
            quote = c
        elif c == mark and most != 0:
            parts.append(text[begin:i])
            begin, most = i + 1, most - 1
    if quote:
        raise DifftoolError(f"{text!r} has an unclosed quote")
    return [*parts, text[begin:]]


def _unquote(text: str) -> str:
    """The text with all quotes removed."""
    return re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda m: m[1] if m[2] is None else m[2], text)


def _quote(text: str) -> str:
    """The inverse of `_unquote`: quoted only if needed, piecewise if it has both quotes."""
    if not re.search(r"[\s:,='\"]", text):
        return text
    return "".join(
        f"'{part}'" if '"' in part else f'"{part}"' for part in re.findall(r"[^']+|'+", text)
    )
