"""User-specified times or noise levels, as an option or in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from difftool.errors import DifftoolError
from difftool.files.reading import parse_json, read_text
from difftool.grids.base import Grid
from difftool.grids.entries import time_of_entry
from difftool.schedules.base import Schedule


@dataclass(frozen=True)
class Explicit(Grid):
    """The given times, decreasing or increasing: `explicit:times=1+0.5+0`.

    `steps` must be the number of times minus one.

    Options: `times`, at least two; `what`, their meaning: t; level for noise levels sigma /
    alpha (>= 0), the largest of which is lowered to the schedule's range if necessary; or entry
    for indices i of the schedule's table, t = (i + 1) / M (-1 for t = 0). `start` and `end`, if
    given, must be the first and the last time. Raises `DifftoolError` for fewer than two times,
    and for values that are not numbers.
    """

    times: tuple[float, ...] = ()
    what: Literal["t", "level", "entry"] = "t"

    name = "explicit"
    refines = False
    reference = "given by the user"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "times", tuple(float(t) for t in self.times))
        except (TypeError, ValueError):
            raise DifftoolError(
                f"an explicit grid takes times (numbers), got {self.times!r}"
            ) from None
        if len(self.times) < 2:
            raise DifftoolError(
                f"an explicit grid takes at least two times (times=1+0.5+0), got {len(self.times)}"
            )
        if self.what not in ("t", "level", "entry"):
            raise DifftoolError(
                f"an explicit grid takes what=t, what=level or what=entry, got {self.what!r}"
            )
        if self.what == "level" and not all(level >= 0 for level in self.times):
            bad = next(level for level in self.times if not level >= 0)
            raise DifftoolError(
                f"an explicit grid takes noise levels >= 0 with what=level, got {bad:g}"
            )

    @property
    def own_steps(self) -> int:
        return len(self.times) - 1

    def __call__(self, schedule: Schedule, steps: int) -> tuple[float, ...]:
        self._check_steps(steps)
        if self.what == "level":
            times = self._times_at_levels(schedule)
        else:
            times = self.times
        if self.what == "entry":
            times = tuple(time_of_entry(schedule, schedule.entries, i) for i in self.times)
        for name, asked, has in (("start", self.start, times[0]), ("end", self.end, times[-1])):
            if asked is not None and asked != has:
                raise DifftoolError(
                    f"this explicit grid's {name} is {has:g}, got {name}={asked:g}"
                )
        return times

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return list(self(schedule, steps))

    def starting(self, t: float) -> Grid:
        return self

    def _times_at_levels(self, schedule: Schedule) -> tuple[float, ...]:
        top = float(schedule.level(schedule.domain[1]))
        above = sum(level >= top for level in self.times)
        if above > 1:
            raise DifftoolError(
                f"this explicit grid has {above} noise levels at or above {top:g}, the schedule's largest; keep "
                f"only one of them"
            )
        return tuple(
            schedule.domain[1] if level >= top else schedule.t_at_level(level)
            for level in self.times
        )


def from_file(
    path: Path,
    what: Literal["t", "level", "entry"] = "t",
    start: float | None = None,
    end: float | None = None,
) -> Explicit:
    """The times or noise levels in a text or JSON file, as an explicit grid.

    One number per line (blank lines and # comments are skipped), or a JSON list of numbers: at
    least two, decreasing or increasing.

    Options: `path`; `what`, the meaning of the numbers, as in `explicit`; `start` and `end`, if
    given, must be the first and the last time. Raises `DifftoolError` for a file that cannot be
    read and for other content.
    """
    text = read_text(path)
    if text.lstrip().startswith(("[", "{")):
        read = _from_json
    else:
        read = _from_lines
    numbers = read(path, text)
    if len(numbers) < 2:
        raise DifftoolError(
            f"the grid file {path} must have at least two numbers, got {len(numbers)}"
        )
    return Explicit(times=tuple(numbers), what=what, start=start, end=end)


def _from_json(path: Path, text: str) -> list[float]:
    try:
        values: Any = parse_json(text)
    except ValueError as error:
        raise DifftoolError(
            f"the grid file {path} is not a JSON list of numbers: {error}"
        ) from None
    if not isinstance(values, list):
        raise DifftoolError(
            f"the grid file {path} must be a JSON list of numbers, got a JSON object"
        )
    return [_number(path, f"entry {i}", value) for i, value in enumerate(values)]


def _from_lines(path: Path, text: str) -> list[float]:
    lines = [(i, line.split("#")[0].strip()) for i, line in enumerate(text.splitlines(), 1)]
    return [_number(path, f"line {i}", line) for i, line in lines if line]


def _number(path: Path, where: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            number = math.nan
        else:
            number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        shown = repr(value)
        if len(shown) >= 40:
            shown = shown[:36] + " ..."
        raise DifftoolError(f"{where} of the grid file {path} is {shown}, not a finite number")
    return number
