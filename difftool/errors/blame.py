"""Whose code an error came from, and the error in one line."""

from __future__ import annotations

import traceback
from importlib.util import find_spec
from pathlib import Path

OURS = str(Path(__file__).parents[1])


def place_of(error: BaseException) -> str:
    """File and line of the last code in a traceback that is not difftool's or torch's; empty if there is none."""
    known = [OURS, "<"]
    torch = find_spec("torch")
    if torch is not None and torch.origin is not None:
        known.append(str(Path(torch.origin).parent))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(tuple(known)):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return ""


def line_of(error: BaseException) -> str:
    """The kind and text of an error, and where it came from, in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if len(text) > 300:
        text = f"{text[:297]}..."
    place = place_of(error)
    if place:
        return f"{text} ({place})"
    return text
