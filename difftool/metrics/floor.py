"""A figure of a set of samples beside what chance leaves of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

SETS = 5  # of exact samples, for the floor


@dataclass(frozen=True)
class Distance:
    """A figure of a set of samples; the mean and the standard deviation of what sets of as many exact samples get."""

    value: float
    floor: float
    scatter: float

    @classmethod
    def beside(cls, value: float, exact: Sequence[float]) -> Self:
        """The figure beside those of at least two sets of exact samples."""
        return cls(value, statistics.fmean(exact), statistics.stdev(exact))
