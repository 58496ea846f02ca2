"""Plans as JSON-able values, for the files of plans, of stopped runs and of recipes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from difftool.errors import DifftoolError
from difftool.noise import NoiseKey
from difftool.plan.rows import Row
from difftool.schedules.base import Point

VERSION = 1


def table_to_dict(rows: Sequence[Row], noises: Sequence[NoiseKey], name: str) -> dict[str, Any]:
    """A plan as JSON-able values (an infinite noise level is null)."""
    listed = [
        {
            "point": list(row.point), "kind": row.kind, "index": row.index, "channels": row.channels,
            "x": [list(t) for t in row.x], "m": [[*key, c] for key, c in row.m], "z": [list(t) for t in row.z],
        }
        for row in rows
    ]  # fmt: skip
    keys = [{"call": n.call, "interval": _finite(n.interval)} for n in noises]
    return {
        "format": "difftool-plan",
        "version": VERSION,
        "name": name,
        "noises": keys,
        "rows": listed,
    }


def table_from_dict(
    data: Any, origin: Any
) -> tuple[tuple[Row, ...], tuple[NoiseKey, ...], str]:
    """The inverse of `table_to_dict`; `DifftoolError` for values that are no whole plan of a version known here."""
    check_version(data, "difftool-plan", origin)
    try:
        rows = tuple(
            Row(
                Point(*map(float, r["point"])), r["kind"], _whole(r["index"]), _whole(r["channels"]),
                tuple((_whole(k), float(c)) for k, c in r["x"]),
                tuple(((_whole(k), _whole(channel)), float(c)) for k, channel, c in r["m"]),
                tuple((_whole(j), float(c)) for j, c in r["z"]),
            )
            for r in data["rows"]
        )  # fmt: skip
        noises = tuple(
            NoiseKey(_whole(n["call"]), _infinite(n["interval"])) for n in data["noises"]
        )
        return rows, noises, str(data["name"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DifftoolError(f"{origin} is not a whole plan: {error!r}") from None


def check_version(data: Any, kind: str, origin: Any) -> None:
    """Raise `DifftoolError` unless data is a dictionary of that format, of this version or an older one."""
    if not isinstance(data, dict) or data.get("format") != kind:
        raise DifftoolError(f"{origin} is not a {kind} file")
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise DifftoolError(
            f"{origin} has format version {version}, this difftool reads up to {VERSION}; update it"
        )


def _whole(value: Any) -> int:
    """The whole number that the file holds; `ValueError` for anything else."""
    if type(value) is not int:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _finite(interval: tuple[float, float] | None) -> list[float | None] | None:
    return None if interval is None else [u if math.isfinite(u) else None for u in interval]


def _infinite(interval: list[float | None] | None) -> tuple[float, float] | None:
    if interval is None:
        return None
    low, high = (math.inf if u is None else float(u) for u in interval)
    return low, high
