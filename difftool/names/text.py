"""The text of a spec, `name:key=value,key=value`, to a name with options and back; what they mean is in `specs`.

What stands in single or double quotes is taken as it is: a colon, comma, equals sign, blank or the other quote.
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
    given: dict[str, str] = {}
    for part in _split(rest[0], ",") if rest else []:
        key, *value = _split(part, "=", most=1)
        key = key.strip().replace("-", "_")
        if not value or not key:
            raise DifftoolError(
                f"{part.strip()!r} in {spec!r} is not key=value; lists are a+b+c, and values with : , or = are quoted"
            )
        if key in given:
            raise DifftoolError(f"{spec!r} gives {key} twice")
        given[key] = _unquote(value[0].strip())
    return name, given


def write(name: str, options: Mapping[str, str]) -> str:
    """The spec that `parse` reads as that name with those options."""
    parts = [f"{key}={_quote(text)}" for key, text in options.items()]
    return _quote(name) + (":" + ",".join(parts) if parts else "")


def _split(text: str, mark: str, most: int = -1) -> list[str]:
    """Split at a mark outside quotes."""
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
        raise DifftoolError(f"{text!r} has a quote that is not closed")
    return [*parts, text[begin:]]


def _unquote(text: str) -> str:
    """The text without its quotes, wherever they stand."""
    return re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda m: m[1] if m[2] is None else m[2], text)


def _quote(text: str) -> str:
    """The text such that `_unquote` gives it back: quoted where it has to be, piecewise if it has both quotes."""
    if not re.search(r"[\s:,='\"]", text):
        return text
    return "".join(
        f"'{part}'" if '"' in part else f'"{part}"' for part in re.findall(r"[^']+|'+", text)
    )
