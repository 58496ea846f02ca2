"""Plans as JSON-able values, for files of plans, saved runs and recipes.

The request of a row is written, as `answers`, `condition` and `to`, if it is not x0 alone. A
row without these keys asks for as many outputs as its `channels`: x0, or x0 and the learned
variance. This is all that version 1 can express; other plans are written as version 2, so that
an older difftool rejects them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from difftool.errors import DifftoolError
from difftool.noise import NoiseKey
from difftool.plan.rows import Row
from difftool.request import PLAIN, WITH_VARIANCE, Request
from difftool.schedules.base import Point

VERSION = 1  # of written files, if this version can express the plan
NEWEST = 2


def table_to_dict(rows: Sequence[Row], noises: Sequence[NoiseKey], name: str) -> dict[str, Any]:
    """A plan as JSON-able values (an infinite noise level is null)."""
    listed = [
        {
            "point": list(row.point), "kind": row.kind, "index": row.index, "channels": row.channels,
            **_asked(row.request),
            "x": [list(t) for t in row.x], "m": [[*key, c] for key, c in row.m], "z": [list(t) for t in row.z],
        }
        for row in rows
    ]  # fmt: skip
    keys = [{"call": n.call, "interval": _finite(n.interval)} for n in noises]
    return {
        "format": "difftool-plan",
        "version": VERSION if all(row.request in OLD for row in rows) else NEWEST,
        "name": name,
        "noises": keys,
        "rows": listed,
    }


def table_from_dict(
    data: Any, origin: Any
) -> tuple[tuple[Row, ...], tuple[NoiseKey, ...], str]:
    """The inverse of `table_to_dict`; `DifftoolError` if incomplete or of a newer version."""
    check_version(data, "difftool-plan", origin)
    try:
        rows = tuple(
            Row(
                Point(*map(float, r["point"])), r["kind"], _whole(r["index"]), _request(i, r),
                tuple((_whole(k), float(c)) for k, c in r["x"]),
                tuple(((_whole(k), _whole(channel)), float(c)) for k, channel, c in r["m"]),
                tuple((_whole(j), float(c)) for j, c in r["z"]),
            )
            for i, r in enumerate(data["rows"])
        )  # fmt: skip
        noises = tuple(
            NoiseKey(_whole(n["call"]), _infinite(n["interval"])) for n in data["noises"]
        )
        return rows, noises, str(data["name"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DifftoolError(f"{origin} is not a complete plan: {error!r}") from None


def check_version(data: Any, kind: str, origin: Any) -> None:
    """Raise `DifftoolError` unless data is a dictionary of that format and a known version."""
    if not isinstance(data, dict) or data.get("format") != kind:
        raise DifftoolError(f"{origin} is not a {kind} file")
    version = data.get("version")
    if not isinstance(version, int) or version > NEWEST:
        raise DifftoolError(
            f"{origin} has format version {version}, but this difftool reads up to {NEWEST}; update difftool"
        )


OLD = (None, PLAIN, WITH_VARIANCE)  # the requests of version 1, by number of channels


def _asked(request: Request | None) -> dict[str, Any]:
    """The request of a row as JSON-able values, empty for x0 alone."""
    out: dict[str, Any] = {}
    if request is None:
        return out
    if request.answers != PLAIN.answers:
        out["answers"] = list(request.answers)
    if request.condition is not None:
        out["condition"] = request.condition
    if request.to is not None:
        out["to"] = list(request.to)
    return out


def _request(r: int, row: dict[str, Any]) -> Request | None:
    """The request of row r; `DifftoolError` if it is not a valid one."""
    channels = _whole(row["channels"])
    if not row.keys() & {"answers", "condition", "to"}:
        if not 0 <= channels < len(OLD):
            raise DifftoolError(
                f"row {r} of the plan has {channels} outputs without names, expected 0 to {len(OLD) - 1}"
            )
        return OLD[channels]
    answers, to = row.get("answers", list(PLAIN.answers)), row.get("to")
    if not isinstance(answers, list) or len(answers) != channels:
        raise DifftoolError(
            f"row {r} of the plan has {channels} outputs, expected as many as its answers {answers!r}"
        )
    target = None if to is None else Point(*map(float, to))
    return Request(tuple(answers), row.get("condition"), target)


def _whole(value: Any) -> int:
    """The value, if it is a whole number; `ValueError` for anything else."""
    if type(value) is not int:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _finite(interval: tuple[float, float] | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [u if math.isfinite(u) else None for u in interval]


def _infinite(interval: list[float | None] | None) -> tuple[float, float] | None:
    if interval is None:
        return None
    low, high = (math.inf if u is None else float(u) for u in interval)
    return low, high
