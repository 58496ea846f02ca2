"""Empirical model statistics for DPM-Solver-v3: three values of a model at each half-log-SNR.

They are stored as JSON:

    {"format": "difftool-statistics", "version": 1, "half_log_snr": [..], "l": [..], "s": [..], "b": [..]}

with half_log_snr = log(alpha / sigma) rising. Between the points they are interpolated by
cubics; beyond the first and the last they are constant. `difftool.study.ems` and `difftool
statistics` compute them.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self

from difftool.errors import DifftoolError
from difftool.files.reading import parse_json, read_text
from difftool.files.writing import writing

FORMAT, VERSION = "difftool-statistics", 1
NAMES = ("half_log_snr", "l", "s", "b")


class Curve:
    """A function through known values: cubic between its knots, constant beyond them.

    The slopes at the knots come from differences. The slope has no jump, so that a method of
    order 3 keeps its order across the knots.
    """

    def __init__(self, knots: Sequence[float], values: Sequence[float]):
        self.knots, self.values = knots, values
        h = [b - a for a, b in pairwise(knots)]
        rise = [(b - a) / step for (a, b), step in zip(pairwise(values), h, strict=True)]
        inner = [
            (q * a + p * b) / (p + q)
            for (p, q), (a, b) in zip(pairwise(h), pairwise(rise), strict=True)
        ]
        self._slopes = [0.0, *inner, 0.0]
        ends = zip(h, pairwise(values), pairwise(self._slopes), strict=False)
        areas = [
            step * (a + b) / 2 + step * step * (m - n) / 12 for step, (a, b), (m, n) in ends
        ]
        self._areas = [0.0, *accumulate(areas)]

    def __call__(self, u: float) -> float:
        i, part, h = self._place(u)
        if h == 0:
            return self.values[i]
        a, b, m, n = self._ends(i, h)
        return a + part * (m + part * (3 * (b - a) - 2 * m - n + part * (m + n - 2 * (b - a))))

    def integral(self, a: float, b: float) -> float:
        """The exact integral from a to b."""
        return self._from_first(b) - self._from_first(a)

    def _from_first(self, u: float) -> float:
        i, part, h = self._place(u)
        if h == 0:
            return self._areas[i] + (u - self.knots[i]) * self.values[i]
        a, b, m, n = self._ends(i, h)
        cubic, quartic = (3 * (b - a) - 2 * m - n) / 3, (m + n - 2 * (b - a)) / 4
        return self._areas[i] + h * part * (
            a + part * (m / 2 + part * (cubic + part * quartic))
        )

    def _place(self, u: float) -> tuple[int, float, float]:
        """The knot below u, the fraction of the way to the next knot, and the knots' distance.

        The last two are 0 beyond the ends.
        """
        i = bisect_right(self.knots, u) - 1
        if i < 0 or i == len(self.knots) - 1:
            return max(i, 0), 0.0, 0.0
        h = self.knots[i + 1] - self.knots[i]
        return i, (u - self.knots[i]) / h, h

    def _ends(self, i: int, h: float) -> tuple[float, float, float, float]:
        """Values and slopes at both ends of a piece, its length scaled to 1."""
        return self.values[i], self.values[i + 1], h * self._slopes[i], h * self._slopes[i + 1]


@dataclass(frozen=True, repr=False)
class Statistics:
    """The statistics l, s and b of a model at rising half-log-SNRs.

    Four lists of the same length, at least 1.

    l: the mean over elements of sigma d eps / d x: 1 in pure noise, and 0 where x is clean (for
        most data).
    s, b: the best fit of df/dlambda = s f + b, for f = (sigma eps - l x) / alpha along the
        probability flow.

    Raises `DifftoolError` for lists of different lengths, numbers that are not finite, and
    half-log-SNRs that do not rise.
    """

    half_log_snr: tuple[float, ...] = (0.0,)
    l: tuple[float, ...] = (1.0,)  # noqa: E741
    s: tuple[float, ...] = (0.0,)
    b: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        lists = [_numbers(name, getattr(self, name)) for name in NAMES]
        for name, values in zip(NAMES, lists, strict=True):
            object.__setattr__(self, name, values)
            if len(values) != len(lists[0]) or not values:
                raise DifftoolError(
                    f"statistics must have as many {name} as half_log_snr, at least 1, got {len(values)}"
                )
        if any(b <= a for a, b in pairwise(self.half_log_snr)):
            raise DifftoolError("the half_log_snr of statistics must rise")

    def __repr__(self) -> str:
        first, last = self.half_log_snr[0], self.half_log_snr[-1]
        return (
            f"Statistics({len(self.half_log_snr)} points, half-log-snr {first:g} to {last:g})"
        )

    @cached_property
    def curves(self) -> tuple[Curve, Curve, Curve]:
        """l, s and b as functions of half-log-SNR."""
        return (
            Curve(self.half_log_snr, self.l),
            Curve(self.half_log_snr, self.s),
            Curve(self.half_log_snr, self.b),
        )

    @property
    def affine(self) -> bool:
        """Whether b = 0, so that a step adds no constant."""
        return not any(self.b)

    @classmethod
    def load(cls, file: str | Path) -> Self:
        """Read statistics from a JSON file; `DifftoolError` if it has none or is unreadable."""
        try:
            data = parse_json(read_text(file))
        except ValueError:
            raise DifftoolError(
                f"{file} is not valid JSON; create statistics with `difftool statistics`"
            ) from None
        if (
            not isinstance(data, dict)
            or data.get("format") != FORMAT
            or not set(NAMES) <= set(data)
        ):
            raise DifftoolError(
                f"{file} holds no statistics; create them with `difftool statistics`"
            )
        if data.get("version") != VERSION:
            raise DifftoolError(
                f"{file} has version {data.get('version')}, this difftool reads {VERSION}; update difftool"
            )
        return cls(*(data[name] for name in NAMES))

    def save(self, file: str | Path, overwrite: bool = True) -> None:
        """Write the statistics to a JSON file; `DifftoolError` if that fails."""
        data = {
            "format": FORMAT,
            "version": VERSION,
            **{name: getattr(self, name) for name in NAMES},
        }
        with writing(file, overwrite) as temporary:
            temporary.write_text(json.dumps(data) + "\n")


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise DifftoolError(
            f"the {name} of statistics must be a list of numbers, got {values!r:.80}"
        ) from None
    if not all(map(math.isfinite, numbers)):
        raise DifftoolError(f"the {name} of statistics must be finite")
    return numbers
